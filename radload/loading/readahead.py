"""Asking for runs of samples before they are read, for sampler "blocks": storage gets them as one sequence, in order.

What is asked for is what the draw that meets the run needs of its own sample: the bytes of a resolution level, or all. Another
sample of the run may need more, which is read when its time comes.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.shards import ShardFiles
from radload.loading.order.blocks import Blocks

_REMEMBERED = 2  # times the runs that are open at once
_GAP = 1 << 16  # bytes: up to here it is cheaper to read what lies between two ranges than to ask twice


class ReadAhead:
    """Tells the system which runs come next. What it does not know costs time, never a pixel.

    Args:
        first: row of the index where the split begins.
    """

    def __init__(self, files: ShardFiles, index: Index, first: int, blocks: Blocks) -> None:
        self._files, self._index, self._first, self._blocks = files, index, first, blocks
        self._known: OrderedDict[tuple[int, int], range] = OrderedDict()  # (epoch, run): elements last asked for

    def ask(self, epoch: int, positions: NDArray[np.int64], levels: NDArray[np.int64]) -> int:
        """Ask for what is left of the runs drawn at `positions` (n,), each once, up to `levels` (n,). Returns the number of ranges."""
        ranges = 0
        stretches = (a.tolist() for a in self._blocks.stretches(epoch, positions))
        for element, count, run, level in zip(*stretches, levels.tolist(), strict=True):
            if element in self._known.get((epoch, run), ()):  # a run may be met in its middle first, or wrap around
                continue
            self._known[epoch, run] = range(element, element + count)
            ranges += self._ask(self._first + element, count, level)
        while len(self._known) > _REMEMBERED * self._blocks.runs:
            self._known.popitem(last=False)
        return ranges

    def _ask(self, row: int, count: int, level: int) -> int:
        """Samples from `row` of the index on lie one after the other, in one shard or a few."""
        records = self._index.records[row : row + count]
        shards, begins = records["shard"], records["offset"].astype(np.int64)
        cut = records["level_end"][:, level - 1] if level else records["length"]
        ends = begins + np.where(records["levels"] >= level, cut, records["length"])
        apart = (np.diff(shards.astype(np.int64)) != 0) | (begins[1:] - ends[:-1] > _GAP)
        bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), count]
        for start, stop in pairwise(bounds):
            self._files.will_need(int(shards[start]), int(begins[start]), int(ends[stop - 1] - begins[start]))
        return len(bounds) - 1
