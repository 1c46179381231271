"""Which scanners a class comes from: a class from one scanner can be told by the scanner, and a network will."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radload.cohort.counts import SMALLEST, Count, Members
from radload.cohort.table_one import UNKNOWN, by_frequency, names_of, samples_of_class
from radload.dataset import Dataset

ONE_SCANNER: Final = 0.9  # share of a class's samples from one manufacturer or model, from which on a warning stands
_KINDS: Final = ("manufacturer", "model")


@dataclass(frozen=True, slots=True)
class ScannerRow:
    """A class on one manufacturer ("manufacturer") or one model of it ("model"): counts in all splits, share of the class's samples."""

    name: str
    kind: str
    scanner: str
    count: Count
    share: float


@dataclass(frozen=True, slots=True)
class Scanners:
    """Rows in order of classes, and warnings."""

    rows: tuple[ScannerRow, ...]
    warnings: tuple[str, ...]


def class_by_scanner(dataset: Dataset, members: Members, exact: bool) -> Scanners:
    """Count the label set in use; without one there are no rows."""
    if dataset.labels is None:
        return Scanners((), ())
    table = dataset.index.table("series")
    maker = names_of(table.column("manufacturer").to_pylist())
    model = names_of(table.column("model").to_pylist())
    both = np.array([f"{a} {b}" if b != UNKNOWN else UNKNOWN for a, b in zip(maker, model, strict=True)], np.str_)
    rows: list[ScannerRow] = []
    warnings: list[str] = []
    for code, name in enumerate(dataset.labels.classes):
        samples = samples_of_class(dataset, code)
        for kind, scanner in zip(_KINDS, (maker, both), strict=True):
            mine = _rows(name, kind, scanner, samples, members, exact)
            rows += mine
            warnings += _warning(mine, _share_of_all(scanner, members))
    return Scanners(tuple(rows), tuple(warnings))


def _rows(
    name: str, kind: str, scanner: NDArray[np.str_], samples: NDArray[np.int64], members: Members, exact: bool
) -> list[ScannerRow]:
    total = int(samples.sum())
    rows = []
    for one in by_frequency(scanner, members):
        chosen = (scanner == one) & (samples > 0)
        if chosen.any():
            count = members.count(chosen, exact, samples)[-1]
            rows.append(ScannerRow(name, kind, one, count, int(samples[chosen].sum()) / total))
    return rows


def _share_of_all(scanner: NDArray[np.str_], members: Members) -> dict[str, float]:
    found, code = np.unique(scanner, return_inverse=True)
    samples = np.bincount(code, members.samples, len(found))
    return {str(name): float(count / samples.sum()) for name, count in zip(found, samples, strict=True)}


def _warning(rows: list[ScannerRow], of_all: dict[str, float]) -> list[str]:
    """Of a class and a kind; classes of few patients say nothing about scanners."""
    if sum(row.count.patients for row in rows) < SMALLEST:
        return []
    return [
        f"{row.share:.0%} of the samples of class {row.name!r} come from one {row.kind}, {row.scanner} "
        f"({of_all[row.scanner]:.0%} of all samples): a network can tell the class by its scanner."
        for row in rows
        if row.share >= ONE_SCANNER and row.scanner != UNKNOWN
    ]
