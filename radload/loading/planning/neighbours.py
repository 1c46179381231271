"""Slices beside a slice as its channels (2.5D): which ones they are, and which draws have all of them.

Neighbours are of the drawn slice's own stack (see dataset.stacks), by index or by millimetres along the normal. They share crop,
flip and random numbers with it, since all of that is keyed by the draw.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.stacks import SAME_PLACE, Stacks, find_stacks
from radload.errors import UsageError

REPEAT, SKIP = "repeat", "skip"
EDGES = (REPEAT, SKIP)
MAX_NEIGHBOURS = 32
MIN_SPACING, MAX_SPACING = 0.001, 1000.0  # millimetres
_KEPT = 1 << 14  # series whose neighbours are remembered: 6 kB for 1,000 slices with one neighbour
_TIE = 1e-6  # millimetres: two slices as near as each other, up to rounding
_SCAN = 1 << 18  # rows looked at in one go

_log = logging.getLogger("radload")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What was asked for.

    Attributes:
        count: slices on each side. spacing: millimetres from one to the next; None: by index.
        edges: "repeat" the last slice of the stack, or "skip" draws that lack a neighbour.
    """

    count: int = 0
    spacing: float | None = None
    edges: str = REPEAT

    @property
    def slices(self) -> int:
        """Slices of a draw, itself among them."""
        return 2 * self.count + 1

    @property
    def skips(self) -> bool:
        """Whether draws are left out."""
        return self.count > 0 and self.edges == SKIP

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Neighbours:
        """What `as_dict` wrote."""
        return cls(**content)


def check_neighbours(count: int, spacing: float | None, edges: str, sampler: str) -> Neighbours:
    """The neighbours that arguments of `Loader` ask for; sampler: by name. Raises UsageError for what cannot be used."""
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_NEIGHBOURS:
        raise UsageError(f"neighbours={count!r} cannot be used: give 0 to {MAX_NEIGHBOURS} slices on each side")
    if edges not in EDGES:
        raise UsageError(f"neighbour_edges={edges!r} is unknown: choose one of {', '.join(map(repr, EDGES))}")
    if spacing is not None:
        known = isinstance(spacing, int | float) and math.isfinite(spacing)
        if not known or not MIN_SPACING <= spacing <= MAX_SPACING:
            raise UsageError(
                f"neighbour_spacing={spacing!r} cannot be used: give millimetres, {MIN_SPACING} to {MAX_SPACING:.0f}, "
                "or None for neighbours by index"
            )
        spacing = float(spacing)
    if count == 0 and (spacing is not None or edges != REPEAT):
        asked = f"neighbour_edges={edges!r}" if spacing is None else f"neighbour_spacing={spacing}"
        raise UsageError(f"{asked} says nothing without neighbours: give neighbours=1 or more")
    found = Neighbours(count, spacing, edges)
    if found.skips and sampler != "uniform":
        raise UsageError(
            f'neighbour_edges="skip" leaves draws out, which sampler={sampler!r} does not know of: give "repeat", or no sampler'
        )
    return found


def beside(stacks: Stacks, wanted: Neighbours) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Neighbours of each row of whole series, (n, slices), from before to after, counted as `stacks` counts; and who has all, (n,).

    By index: rows in order. By millimetres: the slice nearest to the distance; it is missing where the distance lies beyond the
    end of the stack by half of it or more. Slices without a position go by index. What is missing is the last of the stack.
    """
    n = len(stacks.number)
    row = np.arange(n)
    first, last = stacks.bounds()
    offsets = np.arange(-wanted.count, wanted.count + 1)
    plain = row[:, None] + offsets
    found = plain.clip(first[:, None], last[:, None])
    complete = (plain == found).all(axis=1)
    if wanted.spacing is None or not n:
        return found, complete
    known = np.isfinite(stacks.along)
    along = np.where(known, stacks.along, 0.0)
    # One growing coordinate over all stacks: a target between two of them is clipped to its own.
    base = np.cumsum(np.where(row == first, np.append(0.0, along[:-1]), 0.0)) + stacks.number
    place = along + base
    for column, offset in enumerate(offsets):
        if offset == 0:
            continue
        target = place + offset * wanted.spacing
        after = np.searchsorted(place, target).clip(first, last)
        before = (after - 1).clip(first, last)
        miss = np.abs(place[[before, after]] - target)
        nearer = np.abs(before - row) < np.abs(after - row)
        tie = np.abs(miss[0] - miss[1]) < _TIE
        nearest = np.where(np.where(tie, nearer, miss[0] < miss[1]), before, after)
        found[:, column] = np.where(known, nearest, found[:, column])
    reach = wanted.count * wanted.spacing
    allowed = wanted.spacing / 2 - min(SAME_PLACE, wanted.spacing / 4)  # at half of it exactly, rounding would decide
    room = (along - reach > -allowed) & (along + reach < along[last] + allowed)
    return found, np.where(known, room, complete)


class Beside:
    """Finds the neighbours of rows of one data set. Safe to share between threads."""

    def __init__(self, index: Index, wanted: Neighbours) -> None:
        self._index, self._wanted = index, wanted
        self._series = lru_cache(_KEPT)(self._read)

    def _read(self, series: int) -> NDArray[np.integer]:
        """(count, slices) neighbours of a series' rows, counted from its first."""
        first, count = (int(self._index.series[series][name]) for name in ("first_row", "count"))
        found = beside(find_stacks(self._index, range(first, first + count)), self._wanted)[0]
        return found.astype(np.uint16 if count <= 1 << 16 else np.int64)

    def rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the index (n,) with their neighbours, (n, slices)."""
        series = self._index.records["series"][rows]
        first = self._index.series["first_row"][series].astype(np.int64)
        found = np.empty((len(rows), self._wanted.slices), np.int64)
        for i, number in enumerate(series.tolist()):
            found[i] = self._series(number)[rows[i] - first[i]] + first[i]
        return found


@dataclass(frozen=True, slots=True)
class Runs:
    """Rows of the index that are drawn, where that is not all of a split, as runs of consecutive rows.

    Attributes:
        first: (runs,) first row of each. ends: (runs,) rows in it and those before it.
    """

    first: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, element: int) -> int:
        """Row of an element."""
        if not 0 <= element < len(self):
            raise IndexError(f"element {element} of {len(self)}")
        return int(self.rows(np.array([element]))[0])

    def rows(self, elements: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of elements (n,)."""
        run = np.searchsorted(self.ends, elements, side="right")
        return np.asarray(self.first[run] + elements - np.append(0, self.ends[:-1])[run], np.int64)


Drawn = range | Runs


def rows_of(drawn: Drawn, elements: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the index of elements (n,) of what is drawn."""
    return drawn.rows(elements) if isinstance(drawn, Runs) else elements + drawn.start


def drawn_rows(index: Index, rows: range, wanted: Neighbours) -> Drawn:
    """Rows of a split that are drawn: all, or those that have all their neighbours. The latter looks at every row once.

    Raises:
        UsageError: none has.
    """
    if not wanted.skips:
        return rows
    starts = index.series["first_row"]
    low, high = np.searchsorted(starts, np.array([rows.start, rows.stop], np.uint64))
    bounds = np.append(starts[int(low) : int(high)].astype(np.int64), rows.stop)
    firsts, counts = [], []
    at = 0
    while at < len(bounds) - 1:  # whole series, about _SCAN rows at a time
        stop = max(at + 1, int(np.searchsorted(bounds, bounds[at] + _SCAN, side="right")) - 1)
        complete = beside(find_stacks(index, range(int(bounds[at]), int(bounds[stop]))), wanted)[1]
        edges = np.flatnonzero(np.diff(complete, prepend=False, append=False)).reshape(-1, 2)
        firsts.append(edges[:, 0] + bounds[at])
        counts.append(edges[:, 1] - edges[:, 0])
        at = stop
    if not sum(c.sum() for c in counts):
        raise UsageError(
            f'no sample has {wanted.count} neighbours on both sides, and neighbour_edges="skip" leaves out all others: '
            'give "repeat", or fewer neighbours'
        )
    return Runs(np.concatenate(firsts), np.cumsum(np.concatenate(counts)))


def tell_unplaced(index: Index, rows: range) -> None:
    """Say in the log how many series of a split no distance is known of: their neighbours go by index."""
    starts = index.series["first_row"]
    low, high = (int(i) for i in np.searchsorted(starts, np.array([rows.start, rows.stop], np.uint64)))
    several = index.series["count"][low:high] > 1
    unknown = index.table("series").column("slice_spacing").slice(low, high - low).is_null().to_numpy() & several
    if unknown.any():
        _log.warning(
            "%d of %d series with several slices have no slice positions in millimetres: their neighbours go by index",
            unknown.sum(),
            several.sum(),
        )
