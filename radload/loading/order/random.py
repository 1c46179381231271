"""Random numbers as a function of (seed, epoch, position, view): no state, so no worker, rank or resume can change them.

Philox (see kernels.philox): the counter holds what is drawn for, the key holds the seed. A draw gets the same numbers on
whatever machine, and another draw of the same sample others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radload.kernels.philox import philox

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

VIEW_REPLACEMENT = 0xFFFF  # the view under which a stand-in for a damaged sample is drawn
VIEW_BLOCK = 0xFFFE  # the one under which a block of classes is shuffled; its positions are blocks
VIEW_RUNS = (
    0xFFFD  # the one of blocks.Blocks: where the cuts lie (position 0), and where cursor i begins (position i + 1)
)


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


def uniform(drawn: NDArray[np.uint64]) -> NDArray[np.float64]:
    """`words` as numbers in the open interval (0, 1), steps of 2**-32."""
    return np.asarray((drawn + 0.5) * 2.0**-32, np.float64)


def stand_in(seed: int, epoch: int, position: int, attempt: int, n: int) -> int:
    """Element of [0, n) that replaces a damaged sample at `position`: a fixed function of the draw and the attempt."""
    drawn = words(seed, epoch, np.array([position], np.int64), VIEW_REPLACEMENT, 2 * attempt + 2)[0, -2:]
    return (int(drawn[0]) << 32 | int(drawn[1])) * n >> 64
