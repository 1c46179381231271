"""A shuffle that reads in runs, for disks and object stores that dislike random reads: sampler "blocks".

The split is cut into runs of consecutive samples, and the runs are shuffled into one long list. Cursors stand at equal distances
in that list, and a round of draws takes one sample from each of them. So a reader meets every run as a sequence, and two samples of a
run hardly ever meet in a batch: one series fills whole runs, and a window that is merely shuffled would give them together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radload.loading.order.permutation import Permutation
from radload.loading.order.random import VIEW_RUNS, stand_in, words

BLOCK = 32  # samples of a run: one read instead of 32
ROUND = 4  # global batches that a round fills, so that steps that follow each other draw from other runs


@dataclass(frozen=True, slots=True)
class Blocks:
    """Every sample once per epoch, in runs of `block` samples of which `runs` are open at once.

    Cursors are as many as `runs`, and each walks a piece of 1 / `runs` of the shuffled list, from a place of its own, so that they do
    not all come to a new run together. Where runs begin is another place in each epoch. A stand-in is any sample of the split.

    Attributes:
        samples: in the split; seed: of the run.
        block: samples of a run; runs: draws of a round. In a batch of up to `runs` draws two are of one run only where pieces share it.
    """

    samples: int
    seed: int
    block: int
    runs: int

    def elements(self, epoch: int, positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        return self._elements_of(epoch, self._places(epoch, positions))

    def stretches(
        self, epoch: int, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(element, samples of its run from it on, number of the run) drawn at `positions` (n,), each (n,).

        Samples that wrap around the end of the split are not counted; numbers are unique within the epoch.
        """
        places = self._places(epoch, positions)
        elements = self._elements_of(epoch, places)
        run, inside = np.divmod(places, self.block)
        left = np.minimum(self.block - inside, self.samples - places)
        return elements, np.minimum(left, self.samples - elements), run

    def _places(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places in the shuffled list of runs, at which the cursors stand at `positions` (n,)."""
        cursors = min(self.runs, self.samples)
        step, cursor = np.divmod(positions, cursors)
        short, longer = divmod(self.samples, cursors)  # the first `longer` pieces have one sample more, drawn last
        # Pieces may be shorter than a run, so cursors that are drawn together must not stand in neighbouring ones.
        piece, late = cursor.copy(), cursor >= longer
        for part, first, count in ((~late, 0, longer), (late, longer, cursors - longer)):
            if part.any():
                piece[part] = first + Permutation(count, self.seed, epoch).at(cursor[part] - first)
        length = short + (piece < longer)
        begin = _below(words(self.seed, epoch, piece + 1, VIEW_RUNS, 2), length)
        return np.asarray(piece * short + np.minimum(piece, longer) + (step + begin) % length, np.int64)

    def _elements_of(self, epoch: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        full = self.samples // self.block
        run, inside = np.divmod(places, self.block)
        whole = run < full
        if full:
            run[whole] = Permutation(full, self.seed, epoch).at(run[whole])
        shift = _below(words(self.seed, epoch, np.zeros(1, np.int64), VIEW_RUNS, 2), np.array([self.samples]))
        return np.asarray((run * self.block + inside + shift[0]) % self.samples, np.int64)

    def stand_in(self, epoch: int, position: int, length: int, attempt: int) -> int:
        return stand_in(self.seed, epoch, position, attempt, self.samples)


def _below(drawn: NDArray[np.uint64], bound: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) numbers in [0, bound), from (n, 2) words of 32 bits and bounds (n,) of up to 2**48: the bias is below bound / 2**64."""
    number = drawn[:, 0] << np.uint64(32) | drawn[:, 1]
    return np.asarray(number % bound.astype(np.uint64), np.uint64).astype(np.int64)
