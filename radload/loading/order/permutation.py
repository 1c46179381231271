"""A keyed bijection on [0, n): a shuffled list of which nothing is stored.

Any position is computed alone, so a run resumes or moves to another number of ranks by counting. Construction: an
alternating Feistel network over the smallest power of two that holds n (at least 64), followed by cycle walking, which
leaves the bijection on [0, n) (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). The round
function is SplitMix64's finaliser (Steele et al. 2014).
The order is part of the interface: a run that resumes needs the same one, so a test holds its values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
_MIN_BITS = 6  # tiny domains have few Feistel permutations; walking out of 64 costs little
_SORTED = 32  # domains up to this size are shuffled by sorting: three balls in a network of 64 are measurably unfair
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _mix(x: int) -> int:
    """SplitMix64's finaliser, a bijection on 64 bits."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser of every element; unsigned arithmetic wraps."""
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
        bits = np.uint64(max((self.n - 1).bit_length(), _MIN_BITS))
        if self.n > 1:
            todo = np.arange(flat.size)
            while todo.size:  # a value outside [0, n) is permuted again; cycles lead back inside
                moved = _network(found[todo], self._keys, bits)
                found[todo] = moved
                todo = todo[moved >= self.n]
        return found.astype(np.int64).reshape(np.shape(positions))


def permuted(
    n: NDArray[np.int64], seed: int, group: NDArray[np.int64], turn: NDArray[np.int64], at: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Many small permutations at once: element `at` of permutation `turn` of `group`, which has `n` elements; all arrays (m,).

    One group's turns are independent bijections on [0, n). Keys are functions of (seed, group, turn).
    """
    state = mixed(np.uint64(_mix((seed + _GOLDEN) & _MASK)) + group.astype(np.uint64) * np.uint64(_GOLDEN))
    state = mixed(state + turn.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(1))
    found = np.array(at, np.int64)
    small = n <= _SORTED
    if small.any():
        found[small] = _by_sorting(n[small], state[small], found[small])
    if not small.all():
        found[~small] = _by_walking(n[~small].astype(np.uint64), state[~small], found[~small].astype(np.uint64))
    return found


def _keys(state: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """(m, count) numbers from `state` (m,): SplitMix64's sequence."""
    steps = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN))[None, :]
    return mixed(state[:, None] + steps)


def _by_sorting(n: NDArray[np.int64], state: NDArray[np.uint64], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Elements in order of random keys; O(_SORTED) each."""
    keys = _keys(state, int(n.max()))
    keys[np.arange(keys.shape[1]) >= n[:, None]] = _MASK  # behind all others
    return np.argsort(keys, axis=1, kind="stable")[np.arange(len(at)), at]


def _by_walking(n: NDArray[np.uint64], state: NDArray[np.uint64], at: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The network and cycle walking of `Permutation`, with keys and a size of its own for each element."""
    keys = _keys(state, ROUNDS).T  # (ROUNDS, m)
    bits = np.frexp((n - np.uint64(1)).astype(np.float64))[1].astype(np.uint64)
    todo = np.arange(len(at))
    while todo.size:
        moved = _network(at[todo], keys[:, todo], bits[todo])
        at[todo] = moved
        todo = todo[moved >= n[todo]]
    return at.astype(np.int64)


def _network(
    x: NDArray[np.uint64], keys: Sequence[int] | NDArray[np.uint64], bits: np.uint64 | NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """The Feistel network on numbers of `bits`; `keys` has one entry per round, or a row with one per number."""
    one = np.uint64(1)
    low_bits = bits >> one
    low_mask, high_mask = (one << low_bits) - one, (one << (bits - low_bits)) - one
    low, high = x & low_mask, x >> low_bits
    for i in range(ROUNDS):  # each round changes one half by a function of the other: invertible
        key = np.asarray(keys[i], np.uint64)
        if i % 2:
            high = high ^ (mixed(low + key) & high_mask)
        else:
            low = low ^ (mixed(high + key) & low_mask)
    return (high << low_bits) | low
