"""The reversible 5/3 low-pass of JPEG 2000, and the bias under which no resolution level leaves 16 bits.

A level of an HTJ2K stream is an iterated low-pass of the image. It under- and overshoots, and a decoder wraps or clips
what leaves the 16 bits of the codestream. Adding a constant to an image adds the same constant to every level, exactly
(each lifting step is x + floor(differences / n)), so the bias alone decides whether a level fits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CODED_MAX = 65_535
CENTRE = 32_768

# The iterated low-pass has an L1 norm of at most 1.7146 in one dimension, 2.9398 in two (mirroring at the border only
# folds taps together), so a level of an image centred at c with range R lies in c +- 1.47 R. Rounding adds less than
# 2.5 * 2.94 per level, under 40 for five, and under 130 through the colour transform. 1.47 * 22,000 + 130 < 32,768.
SAFE_RANGE = 22_000


def low_pass(image: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
    """One 5/3 low-pass along `axis`, n samples to ceil(n / 2) (ISO/IEC 15444-1 F.4.8.1, origin 0, mirrored border)."""
    x = np.moveaxis(image, axis, 0)
    n = x.shape[0]
    if n == 1:
        return image
    even, odd = x[0::2], x[1::2]
    right = even[1:] if n % 2 else np.concatenate([even[1:], even[-1:]])  # x[2i + 2]; mirrored where n is even
    high = odd - ((even[: len(odd)] + right) >> 1)
    before = np.concatenate([high[:1], high])[: len(even)]  # d[i - 1]; mirrored at the start
    after = high if n % 2 == 0 else np.concatenate([high, high[-1:]])
    return np.moveaxis(even + ((before + after + 2) >> 2), 0, axis)


def _to_yuv(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """The reversible colour transform (ISO/IEC 15444-1 G.2), (rows, cols, 3)."""
    r, g, b = image[..., 0], image[..., 1], image[..., 2]
    return np.stack([(r + 2 * g + b) >> 2, b - g, r - g], axis=-1)


def _to_rgb(image: NDArray[np.int64]) -> NDArray[np.int64]:
    y, u, v = image[..., 0], image[..., 1], image[..., 2]
    g = y - ((u + v) >> 2)
    return np.stack([v + g, g, u + g], axis=-1)


def iterate_levels(stored: NDArray[np.generic], levels: int) -> Iterator[NDArray[np.int64]]:
    """Levels 1..`levels` of an image as the codec computes them, in unbounded integers (stored units, no bias).

    Args:
        stored: integers, (rows, cols) or (rows, cols, 3); colour goes through the reversible colour transform.
    """
    colour = stored.ndim == 3
    plane = stored.astype(np.int64)
    plane = _to_yuv(plane) if colour else plane
    for _ in range(levels):
        plane = low_pass(low_pass(plane, 0), 1)  # columns first: the order changes the rounding
        yield _to_rgb(plane) if colour else plane


def choose_bias(stored: NDArray[np.generic], levels: int) -> tuple[int, int]:
    """The bias that keeps the image, and as many of its levels as possible, inside 0..65535.

    Args:
        stored: integers whose range is at most 65,535.
        levels: how many levels are wanted at most.

    Returns:
        (bias, safe): stored + bias fits 16 bits, and so does every value of levels 1..safe.

    Raises:
        ValueError: the range of the values is above 65,535.
    """
    low, high = int(stored.min()), int(stored.max())
    if high - low > CODED_MAX:
        raise ValueError(f"values from {low} to {high} do not fit 16 bits")
    safe = levels
    if high - low > SAFE_RANGE:
        safe = 0
        for level in iterate_levels(stored, levels):
            lower, upper = min(low, int(level.min())), max(high, int(level.max()))
            if upper - lower > CODED_MAX:
                break
            low, high, safe = lower, upper, safe + 1
    if high - low == CODED_MAX:
        return -low, safe  # the only one that fits
    return CENTRE - (low + high + 1) // 2, safe
