"""The order of samples as arithmetic: what stands at position p of epoch e is a pure function of (seed, e, p, the data set).

An epoch is a sequence of draws that a sampler defines (see sampling.py); a step takes the next global batch of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError
from radload.loading.order.homes import home, share_out
from radload.loading.order.sampling import Sampler, Uniform


@dataclass(frozen=True, slots=True)
class Order:
    """Which samples of a split a rank gets, step by step.

    A global batch is `batch_size * world_size` consecutive positions of the epoch's draws (0, 1, 2, … without
    `shuffle`), of which rank r takes the r-th slice: N ranks with batches of B see what one rank sees with batches of N * B.

    Attributes:
        samples: draws of an epoch: the samples of the split, or what the sampler says.
        batch_size: of one rank.
        drop_last: leave out the positions that fill no global batch (others in each epoch); otherwise the last one is padded.
        sampler: of shuffled epochs; None: `Uniform`. Only what it draws with `drop_last` is defined by its docstring.
        homes: which rank takes which draws of a global batch follows `homes.share_out` (with `shuffle` and `drop_last` only).
    """

    samples: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True
    sampler: Sampler | None = None
    homes: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size} cannot be used: give 1 or more")
        if not 0 <= self.rank < self.world_size:
            raise UsageError(
                f"rank={self.rank} of world_size={self.world_size} does not exist: ranks are 0 to world_size - 1"
            )
        if self.homes and not (self.shuffle and self.drop_last):
            raise ValueError(
                "homes go with shuffle and drop_last: otherwise a rank draws the same samples in each epoch anyway"
            )
        if not -(1 << 63) <= self.seed < 1 << 63:
            raise UsageError(f"seed={self.seed} cannot be used: give a 64-bit integer")

    @property
    def global_batch(self) -> int:
        """Samples per step over all ranks."""
        return self.batch_size * self.world_size

    @property
    def steps(self) -> int:
        """Steps per epoch, the same on every rank."""
        full, rest = divmod(self.samples, self.global_batch)
        return full if self.drop_last or not rest else full + 1

    @property
    def length(self) -> int:
        """Draws of an epoch that are delivered, over all ranks."""
        return min(self.samples, self.steps * self.global_batch)

    def positions(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """This rank's positions at a step, (batch_size,), and which of them exist (all but padding at the end); without `homes`."""
        positions, valid = self._positions(range(step, step + 1))
        return positions[0], valid[0]

    def draws(self, epoch: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """(positions, elements of the split, valid) of this rank's batch, each (batch_size,); elements are -1 for padding."""
        positions, elements, valid = self.draws_of(epoch, range(step, step + 1))
        return positions[0], elements[0], valid[0]

    def draws_of(self, epoch: int, steps: range) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """As `draws`, of steps that follow each other: each (steps, batch_size). One call costs little more than one step."""
        if self.homes:
            return self._at_home(epoch, steps)
        positions, valid = self._positions(steps)
        elements = np.full(positions.shape, -1, np.int64)
        there = positions[valid]
        elements[valid] = self._rule().elements(epoch, there, self.length) if self.shuffle and there.size else there
        return positions, elements, valid

    def _positions(self, steps: range) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        self._check(steps)
        firsts = np.arange(steps.start, steps.stop, dtype=np.int64) * self.global_batch + self.rank * self.batch_size
        positions = firsts[:, None] + np.arange(self.batch_size, dtype=np.int64)
        return positions, positions < self.samples

    def _at_home(self, epoch: int, steps: range) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        self._check(steps)
        shape = len(steps), self.global_batch
        first = steps.start * self.global_batch
        positions = np.arange(first, first + len(steps) * self.global_batch, dtype=np.int64)
        elements = self._rule().elements(epoch, positions, self.length).reshape(shape)
        mine = np.stack([share_out(each, self.world_size) == self.rank for each in elements])
        ours = len(steps), self.batch_size
        return positions.reshape(shape)[mine].reshape(ours), elements[mine].reshape(ours), np.ones(ours, np.bool_)

    def _check(self, steps: range) -> None:
        if not 0 <= steps.start < steps.stop <= self.steps or steps.step != 1:
            raise IndexError(f"step {steps.stop - 1} of {self.steps}")

    def own(self, elements: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which elements this rank should keep, where it keeps any: with `homes` its own, else whatever it draws."""
        return home(elements, self.world_size) == self.rank if self.homes else np.ones(len(elements), np.bool_)

    def stand_in(self, epoch: int, position: int, attempt: int) -> int:
        """Element of the split that replaces a damaged one drawn at `position`: a fixed function of the draw and the attempt."""
        return self._rule().stand_in(epoch, position, self.length, attempt)

    def _rule(self) -> Sampler:
        return self.sampler or Uniform(self.samples, self.seed)

    def as_dict(self) -> dict[str, Any]:
        """All arguments but the sampler, as JSON-able values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "sampler"}
