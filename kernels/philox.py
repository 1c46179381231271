"""Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and normal numbers from it, in NumPy.

A counter goes in, random words come out: no state, so no thread, rank or order of work can change them. `normals` is the definition of
the noise that the fast kernels add; the compiled forms are in noise.py and fused_effects.h.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox(counter: NDArray[np.uint64], key: tuple[int, int]) -> NDArray[np.uint64]:
    """Philox 4x32 with ten rounds: (..., 4) words of 32 bits (held in uint64) to as many random ones."""
    m0, m1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
    c0, c1, c2, c3 = (counter[..., i] for i in range(4))
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0), p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)


def normals(key: tuple[int, int], count: int) -> NDArray[np.float64]:
    """(count,) normal numbers of mean 0 and deviation 1 under a key of two 32-bit words; the first of them do not depend on `count`.

    Number i comes from the words of counter (i // 4, 0, 0, 0) by Box and Muller (1958): words 0 and 1 give numbers 0 and 1, words 2
    and 3 numbers 2 and 3. u = (2 * (word >> 9) + 1) / 2**24 and the angle, (word >> 8) / 2**24 turns, are exact in float32 too, so a
    float32 kernel loses digits only in logarithm, sine and cosine. The largest number is 5.77.
    """
    counter = np.zeros((-(-count // 4), 4), np.uint64)
    counter[:, 0] = np.arange(len(counter), dtype=np.uint64)
    words = philox(counter, key).reshape(-1, 2, 2)  # (blocks, pairs, 2)
    u = (2.0 * (words[..., 0] >> np.uint64(9)) + 1.0) * 2.0**-24
    angle = (words[..., 1] >> np.uint64(8)) * (2.0**-24 * 2.0 * np.pi)
    radius = np.sqrt(-2.0 * np.log(u))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1).reshape(-1)[:count]
