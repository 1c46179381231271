"""Random numbers as a function of (seed, epoch, position, view): no state, so no worker, rank or resume can change them.

Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the counter holds what is drawn
for, the key holds the seed. A draw gets the same numbers on whatever machine, and another draw of the same sample others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

VIEW_REPLACEMENT = 0xFFFF  # the view under which a stand-in for a damaged sample is drawn
VIEW_BLOCK = 0xFFFE  # the one under which a block of classes is shuffled; its positions are blocks
VIEW_RUNS = (
    0xFFFD  # the one of blocks.Blocks: where the cuts lie (position 0), and where cursor i begins (position i + 1)
)


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Philox 4x32 with ten rounds: (..., 4) words of 32 bits (held in uint64) to as many random ones."""
    c0, c1, c2, c3 = (counter[..., i] for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)


def words(seed: int, epoch: int, positions: NDArray[np.int64], view: int, count: int) -> NDArray[np.uint64]:
    """(positions, count) random 32-bit words, held in uint64.

    Args:
        seed: 64 bits; epoch: 32 bits; positions: (n,), not negative; view: 0..65535; count: up to 262,144.
    """
    blocks = -(-count // 4)
    position = np.asarray(positions, np.int64).astype(np.uint64)
    counter = np.empty((len(position), blocks, 4), np.uint64)
    counter[..., 0] = (position & _LOW)[:, None]
    counter[..., 1] = (position >> _SHIFT)[:, None]
    counter[..., 2] = np.uint64(epoch & 0xFFFFFFFF)
    counter[..., 3] = np.arange(blocks, dtype=np.uint64) + np.uint64((view & 0xFFFF) << 16)
    drawn = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    return drawn.reshape(len(position), blocks * 4)[:, :count]


def uniform(seed: int, epoch: int, positions: NDArray[np.int64], view: int, count: int) -> NDArray[np.float64]:
    """(positions, count) numbers in the open interval (0, 1), steps of 2**-32; arguments as for `words`."""
    return np.asarray((words(seed, epoch, positions, view, count) + 0.5) * 2.0**-32, np.float64)


def stand_in(seed: int, epoch: int, position: int, attempt: int, n: int) -> int:
    """Element of [0, n) that replaces a damaged sample at `position`: a fixed function of the draw and the attempt."""
    drawn = words(seed, epoch, np.array([position], np.int64), VIEW_REPLACEMENT, 2 * attempt + 2)[0, -2:]
    return (int(drawn[0]) << 32 | int(drawn[1])) * n >> 64
