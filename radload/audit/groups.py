"""Groups of equal values in long arrays, by sorting: no Python object per row. 10^7 rows take seconds and some 32 bytes each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of two members or more. Group g has `members[starts[g]:starts[g + 1]]`, ascending; groups come in order of their first.

    Attributes:
        members: (m,) int64, positions in the array that was grouped; starts: (groups + 1,) int64.
    """

    members: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        for first, last in zip(self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            yield self.members[first:last]

    def firsts(self) -> NDArray[np.int64]:
        """(groups,) the first member of each."""
        return self.members[self.starts[:-1]]

    def take(self, chosen: NDArray[np.bool_]) -> Groups:
        """The groups for which `chosen`, (groups,), is true."""
        sizes = np.diff(self.starts)
        starts = np.zeros(int(chosen.sum()) + 1, np.int64)
        np.cumsum(sizes[chosen], out=starts[1:])
        return Groups(self.members[np.repeat(chosen, sizes)], starts)

    def differ(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """(groups,) where `values`, one per row that was grouped, are not all equal within the group."""
        if not len(self):
            return np.zeros(0, np.bool_)
        mine, starts = values[self.members], self.starts[:-1]
        return np.asarray(np.minimum.reduceat(mine, starts) != np.maximum.reduceat(mine, starts))

    def differ_where_known(self, values: NDArray[Any], task: str) -> NDArray[np.bool_]:
        """Like `differ` for labels: -1 (single) and NaN (multi, (rows, classes): any class) say nothing."""
        if not len(self):
            return np.zeros(0, np.bool_)
        mine, starts = values[self.members], self.starts[:-1]
        if task == "multi":
            least = np.fmin.reduceat(mine, starts, axis=0)
            return np.asarray((least < np.fmax.reduceat(mine, starts, axis=0)).any(axis=1))
        least = np.minimum.reduceat(np.where(mine < 0, np.iinfo(np.int32).max, mine), starts)
        return np.asarray(least < np.maximum.reduceat(mine, starts))


def equal_rows(values: NDArray[np.uint64]) -> Groups:
    """Rows of `values`, (rows, 2), that are equal.

    One sort by the first column; only rows that share it are compared in full (of 128-bit hashes these are the equal ones).
    """
    first = np.ascontiguousarray(values[:, 0])
    order = np.argsort(first)
    first = first[order]
    same = first[1:] == first[:-1]
    some = np.zeros(len(first), np.bool_)
    some[1:] |= same
    some[:-1] |= same
    rows = order[some]
    del order, first, same, some
    rows = rows[np.lexsort((rows, values[rows, 1], values[rows, 0]))]
    new = np.ones(len(rows) + 1, np.bool_)
    new[1:-1] = (values[rows[1:]] != values[rows[:-1]]).any(axis=1)
    bounds = np.flatnonzero(new)
    sizes = np.diff(bounds)
    keep = sizes > 1
    found = Groups(rows, bounds).take(keep)
    return _by_first(found)


def _by_first(groups: Groups) -> Groups:
    turn = np.argsort(groups.firsts(), kind="stable")
    sizes = np.diff(groups.starts)[turn]
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    shift = np.repeat(groups.starts[:-1][turn] - starts[:-1], sizes)
    return Groups(groups.members[np.arange(len(shift)) + shift], starts)
