"""Asking for whole runs of samples before they are read, for sampler "blocks": one large read where each sample was one."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.shards import ShardFiles
from radload.loading.blocks import Blocks

_REMEMBERED = 2  # times the runs that are open at once


class ReadAhead:
    """Tells the system which runs come next. What it does not know costs time, never a pixel.

    Args:
        first: row of the index where the split begins.
    """

    def __init__(self, files: ShardFiles, index: Index, first: int, blocks: Blocks) -> None:
        self._files, self._index, self._first, self._blocks = files, index, first, blocks
        self._known: OrderedDict[tuple[int, int], range] = OrderedDict()  # (epoch, run): elements last asked for

    def ask(self, epoch: int, positions: NDArray[np.int64]) -> int:
        """Ask for what is left of the runs drawn at `positions` (n,), each once. Returns how many ranges that were."""
        ranges = 0
        for element, count, run in zip(*(a.tolist() for a in self._blocks.stretches(epoch, positions)), strict=True):
            if element in self._known.get((epoch, run), ()):  # a run may be met in its middle first, or wrap around
                continue
            self._known[epoch, run] = range(element, element + count)
            ranges += self._ask(self._first + element, count)
        while len(self._known) > _REMEMBERED * self._blocks.runs:
            self._known.popitem(last=False)
        return ranges

    def _ask(self, row: int, count: int) -> int:
        """Samples from `row` of the index on lie one after the other, in one shard or a few."""
        records = self._index.records[row : row + count]
        shards = records["shard"]
        bounds = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), count]
        for start, stop in zip(bounds, bounds[1:], strict=False):
            begin = int(records["offset"][start])
            end = int(records["offset"][stop - 1]) + int(records["length"][stop - 1])
            self._files.will_need(int(shards[start]), begin, end - begin)
        return len(bounds) - 1
