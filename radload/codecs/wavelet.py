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

# Over five levels the iterated low-pass has an L1 norm of 1.7067 in one dimension, 2.9128 in two (mirroring at the
# border only folds taps together), so a level of an image with centre c and range R lies in c +- 1.4564 R. Rounding adds
# less than 2.5 * 2.92 per level: under 40 for five, under 130 through the colour transform, and a range of 22,000
# reaches 1.4564 * 22,000 + 130 = 32,171 < 32,768 on either side.
SAFE_RANGE = 22_000


def low_pass(image: NDArray[np.int32], axis: int) -> NDArray[np.int32]:
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


def _to_yuv(image: NDArray[np.int32]) -> NDArray[np.int32]:
    """The reversible colour transform (ISO/IEC 15444-1 G.2), (rows, cols, 3)."""
    r, g, b = image[..., 0], image[..., 1], image[..., 2]
    return np.stack([(r + 2 * g + b) >> 2, b - g, r - g], axis=-1)


def _to_rgb(image: NDArray[np.int32]) -> NDArray[np.int32]:
    y, u, v = image[..., 0], image[..., 1], image[..., 2]
    g = y - ((u + v) >> 2)
    return np.stack([v + g, g, u + g], axis=-1)


def iterate_levels(image: NDArray[np.int32], levels: int) -> Iterator[NDArray[np.int32]]:
    """Levels 1..`levels` of an image as the codec computes them, in integers that cannot wrap.

    Args:
        image: values within +-2**28, (rows, cols) or (rows, cols, 3); colour goes through the colour transform.
    """
    colour = image.ndim == 3
    plane = _to_yuv(image) if colour else image
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
    minimum = int(stored.min())
    low, high = 0, int(stored.max()) - minimum  # counted from the minimum, as all that follows
    if high > CODED_MAX:
        raise ValueError(f"values from {minimum} to {minimum + high} do not fit 16 bits")
    safe = levels
    if high > SAFE_RANGE and levels:
        safe = 0
        # Exact in arithmetic modulo 2**16, because the differences lie in 0..65535.
        image = (stored.astype(np.uint16) - np.uint16(minimum & 0xFFFF)).astype(np.int32)
        for level in iterate_levels(image, levels):
            lower, upper = min(low, int(level.min())), max(high, int(level.max()))
            if upper - lower > CODED_MAX:
                break
            low, high, safe = lower, upper, safe + 1
    # Centred; where the whole of 16 bits is taken this is 0 - low, the only one that fits.
    return CENTRE - (low + high + 1) // 2 - minimum, safe
