"""Table 1: who and what is in each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radload.cohort.counts import COLUMNS, SMALLEST, Counts, Members
from radload.dataset import Dataset
from radload.dataset.schema import SPLITS, Flag
from radload.inspect.summary import rows_of_class

UNKNOWN = "unknown"
MAX_LEVELS = 30  # of a variable; the rest is put together as "other"
OTHER = "other"


@dataclass(frozen=True, slots=True)
class CountRow:
    """A level of a variable ("Modality", "CT"), counted per split."""

    variable: str
    level: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class Quartiles:
    """A number, over series: per split (q1, median, q3) and series that have it, or None (none, or too few patients)."""

    variable: str
    values: tuple[tuple[float, float, float, int] | None, ...]


@dataclass(frozen=True, slots=True)
class TableOne:
    """Rows in order. `classes` are those of the label set in use."""

    rows: tuple[CountRow, ...]
    quartiles: tuple[Quartiles, ...]
    classes: tuple[CountRow, ...]


def table_one(dataset: Dataset, members: Members, exact: bool) -> TableOne:
    """Count, from the index alone."""
    table = dataset.index.table("series")
    modality = names_of(table.column("modality").to_pylist())
    everybody = np.ones(len(modality), np.bool_)
    known = np.asarray(dataset.index.table("patients").column("known").to_numpy(), np.bool_)
    rows = [
        CountRow("All", "", members.count(everybody, exact)),
        CountRow("Patient", "unknown (a study or file stands for one)", members.count(~known[members.patient], exact)),
        *_levels("Modality", modality, members, exact, everybody),
        *_levels("Manufacturer", names_of(table.column("manufacturer").to_pylist()), members, exact, everybody),
        *_levels(
            "Field strength", _tesla(table.column("field_strength").to_pylist()), members, exact, modality == "MR"
        ),
    ]
    spacing = np.asarray(table.column("slice_spacing").to_numpy(), np.float64)
    quartiles = (
        _quartiles("Slice spacing, mm", spacing, members, exact),
        _quartiles("Pixel spacing (rows), mm", _pixel_spacing(dataset), members, exact),
    )
    return TableOne(tuple(rows), quartiles, tuple(_classes(dataset, members, exact)))


def names_of(texts: Sequence[str | None]) -> NDArray[np.str_]:
    """(series,) names; spellings that differ in case or white space only become the most frequent of them, none becomes UNKNOWN."""
    clean = [" ".join((text or UNKNOWN).split()) or UNKNOWN for text in texts]
    spelling = {UNKNOWN: UNKNOWN}
    for text, _ in sorted(Counter(clean).items(), key=lambda item: (-item[1], item[0])):
        spelling.setdefault(text.casefold(), text)
    return np.array([spelling[text.casefold()] for text in clean], np.str_)


def by_frequency(names: NDArray[np.str_], members: Members) -> list[str]:
    """Different names, those with most samples first, UNKNOWN last."""
    found, code = np.unique(names, return_inverse=True)
    samples = np.bincount(code, members.samples, len(found))
    order = sorted(range(len(found)), key=lambda i: (found[i] == UNKNOWN, -samples[i], found[i]))
    return [str(found[i]) for i in order]


def samples_of_class(dataset: Dataset, code: int) -> NDArray[np.int64]:
    """(series,) samples of a class in each series."""
    series = dataset.index.records["series"][rows_of_class(dataset, code)]
    return np.bincount(series, minlength=len(dataset.index.series))


def _levels(
    variable: str, names: NDArray[np.str_], members: Members, exact: bool, among: NDArray[np.bool_]
) -> list[CountRow]:
    levels = [name for name in by_frequency(names, members) if (among & (names == name)).any()]
    shown = levels if len(levels) <= MAX_LEVELS else levels[: MAX_LEVELS - 1]
    rows = [CountRow(variable, name, members.count(among & (names == name), exact)) for name in shown]
    if len(levels) > len(shown):
        rows.append(CountRow(variable, OTHER, members.count(among & ~np.isin(names, shown), exact)))
    return rows


def _tesla(values: Sequence[float | None]) -> NDArray[np.str_]:
    return np.array([UNKNOWN if value is None else f"{round(value, 1):g} T" for value in values], np.str_)


def _pixel_spacing(dataset: Dataset) -> NDArray[np.float64]:
    """(series,) millimetres between the rows of the first sample; NaN where unknown or only a ratio."""
    first = dataset.index.records[dataset.index.series["first_row"]]
    ratio = (first["flags"] & int(Flag.RATIO)) != 0
    return np.where(ratio, np.nan, first["spacing_row"].astype(np.float64))


def _quartiles(variable: str, values: NDArray[np.float64], members: Members, exact: bool) -> Quartiles:
    known = np.isfinite(values)
    found: list[tuple[float, float, float, int] | None] = []
    for code in range(len(COLUMNS)):
        mine = known if code == len(SPLITS) else known & (members.split == code)
        few = len(np.unique(members.patient[mine])) < SMALLEST
        if not mine.any() or (few and not exact):
            found.append(None)
            continue
        low, middle, high = np.percentile(values[mine], (25, 50, 75))
        found.append((float(low), float(middle), float(high), int(mine.sum())))
    return Quartiles(variable, tuple(found))


def _classes(dataset: Dataset, members: Members, exact: bool) -> list[CountRow]:
    labels = dataset.labels
    if labels is None:
        return []
    rows, labelled = [], np.zeros(len(members.samples), np.int64)
    for code, name in enumerate(labels.classes):
        samples = samples_of_class(dataset, code)
        labelled += samples
        rows.append(CountRow("Class", name, members.count(samples > 0, exact, samples)))
    if labels.task == "single" and (labelled < members.samples).any():
        left = members.samples - labelled
        rows.append(CountRow("Class", "no label", members.count(left > 0, exact, left)))
    return rows
