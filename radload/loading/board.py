"""Plans where forked processes can read them: memory that was shared before the fork, and never leaves these processes."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import RECORD
from radload.kernels.prepare import SAMPLE, WINDOW
from radload.loading.job import Job
from radload.loading.planning.plan import BatchPlan
from radload.loading.ring import MAP_NORESERVE

TABLES = 16 << 20  # bytes of look-up tables that fit on a board; a few batches have more
_ALIGN = 64
_INTEGER, _REAL = np.dtype("<i8"), np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class Posted:
    """What stands on a board: all that is needed to read it. Plain numbers, for a message."""

    id: int
    epoch: int
    slot: int
    board: int
    draws: int
    slices: int
    channels: int
    tables: tuple[tuple[int, int], ...]  # per view: where its entries start, and how many

    @classmethod
    def of(cls, values: list[Any]) -> Posted:
        """From its fields, as JSON gives them back."""
        id, epoch, slot, board, draws, slices, channels, tables = values
        where = tuple((int(start), int(count)) for start, count in tables)
        return cls(id, epoch, slot, board, draws, slices, channels, where)


class Boards:
    """Room for the plans of a few batches.

    Args:
        count: boards; draws, slices, views, channels: of the largest batch, of a draw, of a decode, of a slice. Memory is taken as it is
            written.
    """

    def __init__(self, count: int, draws: int, slices: int, views: int, channels: int) -> None:
        fields = _fields(draws, slices, views, channels)
        self._size = sum(_aligned(dtype.itemsize * int(np.prod(shape))) for dtype, shape in fields) + TABLES
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        self._memory = np.frombuffer(mmap.mmap(-1, count * self._size, flags), np.uint8)

    def write(self, board: int, job: Job) -> Posted | None:
        """Copy a batch's plan to a board; None where its tables are too large."""
        plan = job.plan
        views = (plan, *plan.further)
        pools = {id(view.tables): view.tables for view in views}
        if sum(_aligned(pool.nbytes) for pool in pools.values()) > TABLES:
            return None
        starts, end = {}, 0
        for name, pool in pools.items():
            starts[name], end = end, end + _aligned(pool.nbytes) // 4
        where = tuple((starts[id(view.tables)], len(view.tables)) for view in views)
        posted = Posted(job.id, job.epoch, job.slot, board, len(job.places), plan.slices, plan.windows.shape[1], where)
        arrays, tables = self._arrays(posted)
        values: list[NDArray[Any]] = [job.places, job.positions, plan.rows, plan.records, plan.levels, plan.pivot]
        for view in views:
            values += [view.samples, view.windows]
        for array, value in zip(arrays, values, strict=True):
            array[...] = value
        for name, pool in pools.items():
            tables[starts[name] : starts[name] + len(pool)] = pool
        return posted

    def read(self, posted: Posted, arrays: dict[str, NDArray[Any]]) -> Job:
        """The batch on a board, without a copy: for as long as the board is its own. arrays: of its slot."""
        found, tables = self._arrays(posted)
        places, positions, rows, records, levels, pivot, *views = found
        pools = {
            where: tables[where[0] : where[0] + where[1]] for where in posted.tables
        }  # views that share one go on doing so
        plans = [
            BatchPlan(rows, records, levels, pivot, samples, windows, pools[where], posted.slices)
            for samples, windows, where in zip(views[::2], views[1::2], posted.tables, strict=True)
        ]
        plan = replace(plans[0], further=tuple(plans[1:]))
        return Job(posted.id, posted.epoch, plan, places, positions, posted.slot, arrays, len(places))

    def _arrays(self, posted: Posted) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
        found, at = [], posted.board * self._size
        for dtype, shape in _fields(posted.draws, posted.slices, len(posted.tables), posted.channels):
            length = dtype.itemsize * int(np.prod(shape))
            found.append(self._memory[at : at + length].view(dtype).reshape(shape))
            at += _aligned(length)
        return found, self._memory[at : at + TABLES].view("<f4")


def _fields(draws: int, slices: int, views: int, channels: int) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
    entries = draws * slices
    found: list[tuple[np.dtype[Any], tuple[int, ...]]] = [(_INTEGER, (draws,)), (_INTEGER, (draws,))]
    found += [(_INTEGER, (entries,)), (RECORD, (entries,)), (_INTEGER, (entries,)), (_REAL, (entries,))]
    for _ in range(views):
        found += [(SAMPLE, (entries,)), (WINDOW, (entries, channels))]
    return found


def _aligned(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN
