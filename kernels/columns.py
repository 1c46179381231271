"""The horizontal pass of the CPU kernel: 16 rows at once, one in each lane, so that no tap has to be gathered. Compiled, GIL released.

A block of 16 blended rows is transposed, every output column is a weighted sum of whole vectors, and the sums are transposed back.
"""

from __future__ import annotations

import numba
import numpy as np

from radload.kernels.jit import Array, float32_at, jit
from radload.kernels.lanes import (
    LANES,
    fetch,
    transpose,
    transpose_scaled,
    transpose_streamed,
    weigh1,
    weigh2,
    weigh3,
    weigh4,
    weigh5,
    weigh_any,
)


@jit
def padded(n: int) -> int:
    """n, up to a multiple of LANES."""
    return (n + LANES - 1) // LANES * LANES


@jit
def room(inner: int, width: int) -> int:
    """Elements of working memory that `resample` takes for rows of `inner` values to `width` outputs."""
    return LANES * (padded(inner) + padded(width) + LANES)


@jit
def resample(
    block: int, inner: int, first: Array, weight: Array, count: int, width: int, work: int, target: int, step: int
) -> None:
    """LANES rows of `inner` values at address `block` (padded(inner) apart) to columns of sums at `work`.

    first (width,) uint32, weight flat [o * count + k]: see taps.fill. What the rows hold behind `inner` does not matter.
    `target`, `step`: as for `store`, whose cache lines are asked for meanwhile, one per column.
    """
    stride = padded(inner)
    sums = work
    turned = work + 4 * LANES * (padded(width) + LANES)
    for i in range(0, stride, LANES):
        transpose(block + 4 * i, stride, turned + 4 * LANES * i, LANES)
    factors = weight.ctypes.data
    if count == 1:
        for o in range(width):
            fetch(target + 4 * (step * (o % LANES) + o // LANES * LANES))
            weigh1(turned + 4 * LANES * np.int64(first[o]), factors + 4 * o, sums + 4 * LANES * o)
    elif count == 2:
        for o in range(width):
            fetch(target + 4 * (step * (o % LANES) + o // LANES * LANES))
            weigh2(turned + 4 * LANES * np.int64(first[o]), factors + 8 * o, sums + 4 * LANES * o)
    elif count == 3:
        for o in range(width):
            fetch(target + 4 * (step * (o % LANES) + o // LANES * LANES))
            weigh3(turned + 4 * LANES * np.int64(first[o]), factors + 12 * o, sums + 4 * LANES * o)
    elif count == 4:
        for o in range(width):
            fetch(target + 4 * (step * (o % LANES) + o // LANES * LANES))
            weigh4(turned + 4 * LANES * np.int64(first[o]), factors + 16 * o, sums + 4 * LANES * o)
    elif count == 5:
        for o in range(width):
            fetch(target + 4 * (step * (o % LANES) + o // LANES * LANES))
            weigh5(turned + 4 * LANES * np.int64(first[o]), factors + 20 * o, sums + 4 * LANES * o)
    else:
        for o in range(width):
            weigh_any(turned + 4 * LANES * np.int64(first[o]), factors + 4 * count * o, sums + 4 * LANES * o, count)


@jit
def streams(target: int, width: int) -> bool:
    """Whether rows of `width` at address `target` are whole cache lines, as `store` needs them to write past the caches."""
    return bool(target % (4 * LANES) == 0 and width % LANES == 0)


@jit
def store(
    work: int, rows: int, scale: np.float32, shift: np.float32, target: int, step: int, width: int, streamed: bool
) -> None:
    """What `resample` left at `work`, times scale, plus shift: its first `rows` rows to address `target`, `step` elements apart.

    streamed: past the caches, where all rows are there; see `streams`.
    """
    whole = width - width % LANES if rows == LANES else 0
    if streamed:
        for o in range(0, whole, LANES):
            transpose_streamed(work + 4 * LANES * o, LANES, target + 4 * o, step, scale, shift)
    else:
        for o in range(0, whole, LANES):
            transpose_scaled(work + 4 * LANES * o, LANES, target + 4 * o, step, scale, shift)
    if whole == width:
        return
    corner = work + 4 * LANES * padded(width)  # what does not fill a square goes through one
    for o in range(whole, width, LANES):
        transpose_scaled(work + 4 * LANES * o, LANES, corner, LANES, scale, shift)
        square = numba.carray(float32_at(corner), (LANES, LANES))
        for r in range(rows):
            row = numba.carray(float32_at(target + 4 * (step * r + o)), (LANES,))
            for k in range(min(LANES, width - o)):
                row[k] = square[r, k]
