"""Generated slices that compress like a chest CT."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SERIES, SLICES, SIDE = 12, 50, 512


def ct_like(count: int, seed: int) -> list[NDArray[np.int16]]:
    """Slices of a body in air, stored as HU + 1024 in 12 bits, with noise of 35 HU: about 2.4 : 1 in HTJ2K, as a chest CT."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 35, (2 * SIDE, 2 * SIDE)).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE - 0.5
    found = []
    for i in range(count):
        hu = np.full((SIDE, SIDE), -1000, np.float32)
        hu[(x / 0.45) ** 2 + (y / 0.35) ** 2 < 1] = 40
        for side in (-1, 1):
            hu[((x - side * 0.2) / 0.14) ** 2 + ((y + 0.02) / (0.12 + 0.1 * i / count)) ** 2 < 1] = -850
        hu[(x / 0.05) ** 2 + ((y - 0.24) / 0.06) ** 2 < 1] = 700
        top, left = rng.integers(0, SIDE, 2)
        hu += noise[top : top + SIDE, left : left + SIDE]
        found.append((hu + 1024).clip(0, 4095).astype(np.int16))
    return found
