"""Counts of patients, studies, series and samples per split, and how small ones are hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.dataset.schema import SPLITS

COLUMNS: Final = (*SPLITS, "all")
SMALLEST: Final = 5  # patients that a count must stand for, to be shown


@dataclass(frozen=True, slots=True)
class Count:
    """Of one group in one split. `hidden`: fewer than SMALLEST patients; `partly`: its splits would give a hidden one away."""

    patients: int
    studies: int
    series: int
    samples: int
    hidden: bool = False
    partly: bool = False

    @property
    def patients_text(self) -> str:
        """For people and CSV files; of a total that would give a hidden split away, the least that it can be."""
        if self.hidden:
            return f"<{SMALLEST}"
        return f"≥{self.patients:,}" if self.partly else f"{self.patients:,}"

    def text(self, name: str) -> str:
        """A number ("patients", "studies", "series", "samples"), or "" where it would say how few patients there are."""
        if name == "patients":
            return self.patients_text
        return "" if self.hidden or (self.partly and name != "samples") else f"{getattr(self, name):,}"


Counts = tuple[Count, ...]  # in order of COLUMNS


@dataclass(frozen=True)
class Members:
    """What the series of a data set belong to; arrays of (series,)."""

    split: NDArray[np.int64]
    patient: NDArray[np.int64]
    study: NDArray[np.int64]
    samples: NDArray[np.int64]

    def count(self, chosen: NDArray[np.bool_], exact: bool, samples: NDArray[np.int64] | None = None) -> Counts:
        """Count the series for which `chosen` is true.

        Args:
            exact: show small counts too.
            samples: (series,) of the group's samples in each; None: all.
        """
        of_series = self.samples if samples is None else samples
        found = []
        for code in (*range(len(SPLITS)), None):
            mine = chosen if code is None else chosen & (self.split == code)
            found.append(
                Count(
                    len(np.unique(self.patient[mine])),
                    len(np.unique(self.study[mine])),
                    int(mine.sum()),
                    int(of_series[mine].sum()),
                )
            )
        return tuple(found) if exact else hide(tuple(found))


def members(dataset: Dataset) -> Members:
    """Read them from the index."""
    series = dataset.index.series
    split = np.zeros(len(series), np.int64)
    for code, name in enumerate(SPLITS):
        span = dataset.index.ranges[name]
        split[(series["first_row"] >= span.start) & (series["first_row"] < span.stop)] = code
    columns = (np.asarray(series[name], np.int64) for name in ("patient", "study", "count"))
    return Members(split, *columns)


def hide(counts: Counts) -> Counts:
    """Mark counts of fewer than SMALLEST patients, and a total over hidden splits: the difference would give them away.

    Two hidden splits are no safer than one: totals of 2 and of 8 have one solution.
    """
    marked = [Count(c.patients, c.studies, c.series, c.samples, 0 < c.patients < SMALLEST) for c in counts]
    *splits, total = marked
    if any(count.hidden for count in splits) and not total.hidden:
        least = sum(1 if count.hidden else count.patients for count in splits)
        marked[-1] = Count(max(least, SMALLEST), total.studies, total.series, total.samples, partly=True)
    return tuple(marked)


def patients_text(patients: int, exact: bool) -> str:
    """A number of patients that stands alone."""
    return f"<{SMALLEST}" if 0 < patients < SMALLEST and not exact else f"{patients:,}"
