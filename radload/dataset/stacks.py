"""Which slices of a series lie in one stack, and where along it: read from the index, whose rows are in order of position.

A stack is a run of rows with one orientation and one phase (docs/geometry.md). The index names neither, but both show: the
orientation turns, or the position along the normal, which grows from row to row, falls back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index

SAME_NORMAL = 0.98  # cosine between normals of neighbours, as when the series was packed
SAME_PLACE = 0.01  # millimetres
SAME_SPACING = 0.01  # relative difference of pixel spacings up to which pixels lie on pixels

_NEXT, _LAST = [1, 2, 0], [2, 0, 1]


@dataclass(frozen=True, slots=True)
class Stacks:
    """The stacks of whole series.

    Attributes:
        number: (n,) of the stack that each row belongs to, ascending from 0.
        along: (n,) millimetres along the normal from the first slice of the stack, never falling; NaN where neither positions nor the
            series' slice spacing are known.
    """

    number: NDArray[np.int64]
    along: NDArray[np.float64]

    def bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First row of each row's stack and its last, (n,) each, counted as `number` is."""
        starts = np.flatnonzero(np.diff(self.number, prepend=-1))
        lasts = np.append(starts[1:], len(self.number)) - 1
        return starts[self.number], lasts[self.number]


def find_stacks(index: Index, rows: range) -> Stacks:
    """The stacks of rows of the index, which must be whole series.

    Neighbouring rows are in one stack where they are of one series, size and pixel spacing (to 1 %), their normals agree to 11
    degrees and the position goes on in the direction that most steps have. Slices at one place are in one stack unless the series
    has phases, which may have no more to tell them apart. Rows without a position follow one another in one stack.
    """
    records = index.records[rows.start : rows.stop]
    series = records["series"].astype(np.int64)
    position, direction = (vectors(index, f"image_{name}", rows) for name in ("position", "orientation"))
    one, other = direction[:, :3], direction[:, 3:]
    normal = one[:, _NEXT] * other[:, _LAST] - one[:, _LAST] * other[:, _NEXT]  # numpy.cross takes three times as long
    with np.errstate(invalid="ignore", divide="ignore"):
        normal /= np.sqrt((normal * normal).sum(axis=1, keepdims=True))
    known = np.asarray(np.isfinite(position).all(axis=1) & np.isfinite(normal).all(axis=1))
    both: NDArray[np.bool_] = known[1:] & known[:-1]
    same: NDArray[np.bool_] = (series[1:] == series[:-1]) & (known[1:] == known[:-1])
    for name in ("rows", "cols"):
        same &= records[name][1:] == records[name][:-1]
    for name in ("spacing_row", "spacing_col"):
        size, before = records[name][1:], records[name][:-1]
        close = np.abs(size - before) <= SAME_SPACING * np.abs(before)
        same &= close | (np.isnan(size) & np.isnan(before))
    same &= ~both | ((normal[1:] * normal[:-1]).sum(axis=1) > SAME_NORMAL)
    step = np.where(both, ((position[1:] - position[:-1]) * normal[:-1]).sum(axis=1), 0.0)
    moves = np.where(np.abs(step) < SAME_PLACE, 0.0, np.sign(step))
    run = np.cumsum(~same)  # of the second row of each pair; a pair that is joined has one run
    falls = np.bincount(run, np.where(same, moves, 0.0), minlength=1) < 0  # a NIfTI volume may grow against its normal
    forward = step * np.where(falls, -1.0, 1.0)[run] if len(run) else step
    first, stop = (int(series[0]), int(series[-1]) + 1) if len(series) else (0, 0)
    table = index.table("series").slice(first, stop - first)
    phases = _numbers(table.column("phases"), 0)[series - first]
    joined = same & ~(both & ((forward <= -SAME_PLACE) | ((moves == 0) & (phases[:-1] > 1))))
    number = np.concatenate([np.zeros(min(len(records), 1), np.int64), np.cumsum(~joined)])
    if not known.all():  # a NIfTI volume without orientation still has a distance
        apart = _numbers(table.column("slice_spacing"), np.nan)[series - first]
        position_in_series = _numbers(index.table("samples").column("position").slice(rows.start, len(rows)), 0)
        forward = np.where(both, forward, np.diff(position_in_series) * np.nan_to_num(apart[1:]))
        known |= np.isfinite(apart)
    total = np.concatenate([np.zeros(min(len(records), 1)), np.cumsum(np.where(joined, np.maximum(forward, 0.0), 0.0))])
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    return Stacks(number, np.where(known, total - total[starts][number], np.nan))


def vectors(index: Index, name: str, rows: range) -> NDArray[np.float64]:
    """A column of vectors of samples.arrow as (rows, length) float64, NaN where unknown."""
    column = index.table("samples").column(name).slice(rows.start, len(rows))
    lists: Any = column.combine_chunks()
    found = np.full((len(rows), column.type.list_size), np.nan)
    there = lists.is_valid().to_numpy(zero_copy_only=False)
    found[there] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    return found


def _numbers(column: Any, unknown: float) -> NDArray[np.float64]:
    """A column of numbers, `unknown` where null."""
    numbers = column.cast("float64").to_numpy()
    return np.where(np.isnan(numbers), unknown, numbers)
