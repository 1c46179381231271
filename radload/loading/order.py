"""The order of samples as arithmetic: what stands at position p of epoch e is a pure function of (seed, e, p, n).

A keyed bijection on [0, n) replaces a shuffled list: nothing is stored, any position is computed alone, and a run resumes
or moves to another number of ranks by counting. Construction: an alternating Feistel network over the smallest power of
two that holds n (at least 64), followed by cycle walking, which leaves the bijection on [0, n) (Black and Rogaway,
"Ciphers with Arbitrary Finite Domains", CT-RSA 2002). The round function is SplitMix64's finaliser (Steele et al. 2014).
The order is part of the interface: a run that resumes needs the same one, so a test holds its values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError

ROUNDS = 8
_MIN_BITS = 6  # tiny domains have few Feistel permutations; walking out of 64 costs little
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _mix(x: int) -> int:
    """SplitMix64's finaliser, a bijection on 64 bits."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _mix_array(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`_mix` of every element; unsigned arithmetic wraps."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Permutation:
    """A bijection on [0, n), another one for every (seed, epoch). O(1) memory.

    Args:
        n: 1 to 2**48.
        seed, epoch: any integers of up to 64 bits.
    """

    n: int
    seed: int
    epoch: int
    _keys: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.n <= 1 << 48:
            raise ValueError(f"a permutation of {self.n} elements was asked for; 1 to 2**48 are possible")
        state = _mix((_mix((self.seed + _GOLDEN) & _MASK) + self.epoch * _GOLDEN + 1) & _MASK)
        keys = tuple(_mix((state + (i + 1) * _GOLDEN) & _MASK) for i in range(ROUNDS))
        object.__setattr__(self, "_keys", keys)

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Elements at `positions` (each in [0, n)), same shape.

        Raises:
            IndexError: a position is outside.
        """
        flat = np.asarray(positions, np.int64).ravel()
        if flat.size and (flat.min() < 0 or flat.max() >= self.n):
            raise IndexError(f"positions {flat.min()} to {flat.max()} of a permutation of {self.n}")
        found = flat.astype(np.uint64)
        if self.n > 1:
            todo = np.arange(flat.size)
            while todo.size:  # a value outside [0, n) is permuted again; cycles lead back inside
                moved = self._network(found[todo])
                found[todo] = moved
                todo = todo[moved >= self.n]
        return found.astype(np.int64).reshape(np.shape(positions))

    def _network(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        bits = max((self.n - 1).bit_length(), _MIN_BITS)
        low_bits = np.uint64(bits // 2)
        low_mask, high_mask = np.uint64((1 << (bits // 2)) - 1), np.uint64((1 << (bits - bits // 2)) - 1)
        low, high = x & low_mask, x >> low_bits
        for i, key in enumerate(self._keys):  # each round changes one half by a function of the other: invertible
            if i % 2:
                high = high ^ (_mix_array(low + np.uint64(key)) & high_mask)
            else:
                low = low ^ (_mix_array(high + np.uint64(key)) & low_mask)
        return (high << low_bits) | low


@dataclass(frozen=True, slots=True)
class Order:
    """Which samples of a split a rank gets, step by step.

    A global batch is `batch_size * world_size` consecutive positions of the epoch's permutation (of 0, 1, 2, … without
    `shuffle`), of which rank r takes the r-th slice: N ranks with batches of B see what one rank sees with batches of N * B.

    Attributes:
        samples: in the split.
        batch_size: of one rank.
        drop_last: leave out the positions that fill no global batch (others in each epoch); otherwise the last one is padded.
    """

    samples: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    seed: int = 0
    shuffle: bool = True
    drop_last: bool = True

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size} cannot be used: give 1 or more")
        if not 0 <= self.rank < self.world_size:
            raise UsageError(
                f"rank={self.rank} of world_size={self.world_size} does not exist: ranks are 0 to world_size - 1"
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

    def positions(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """This rank's positions at a step, (batch_size,), and which of them exist (all but padding at the end)."""
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of {self.steps}")
        first = step * self.global_batch + self.rank * self.batch_size
        positions = np.arange(first, first + self.batch_size, dtype=np.int64)
        return positions, positions < self.samples

    def draws(self, epoch: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """(positions, elements of the split, valid) of this rank's batch, each (batch_size,); elements are -1 for padding."""
        positions, valid = self.positions(step)
        elements = np.full(self.batch_size, -1, np.int64)
        there = positions[valid]
        elements[valid] = (
            Permutation(self.samples, self.seed, epoch).at(there) if self.shuffle and there.size else there
        )
        return positions, elements, valid
