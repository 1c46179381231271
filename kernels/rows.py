"""What the CPU kernel does to one row: window it, blend rows vertically; and to what no row reaches.

Compiled, GIL released.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from radload.kernels.jit import Array, Record, float32_at, int16_at, jit, uint8_at, uint16_at
from radload.kernels.lanes import LANES, ramp_int16, ramp_uint8, ramp_uint16
from radload.kernels.prepare import FLIP_HORIZONTAL, FLIP_VERTICAL, RAMP, SIGMOID

UINT8, UINT16, INT16, FLOAT32 = 0, 1, 2, 3  # codes of the source's dtype
ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
LARGEST = np.float32(np.finfo(np.float32).max)
LOG2E = np.float32(1 / math.log(2))
# 2**r = sum of EXP2[k] * r**k on [-0.5, 0.5]: the exponential series in r * ln 2; the first term left out is 5e-9.
E1, E2, E3, E4, E5, E6, E7 = (np.float32(math.log(2) ** k / math.factorial(k)) for k in range(1, 8))


@jit
def twin(windows: Record, c: int) -> int:
    """The first plane whose window equals that of plane c."""
    w = windows[c]
    for b in range(c):
        v = windows[b]
        if v.x0 == w.x0 and v.gain == w.gain and v.offset == w.offset and v.kind == w.kind:  # noqa: SIM102
            if v.start == w.start and v.entries == w.entries:
                return b
    return c


@jit
def exp2(z: Any) -> Any:
    """2**z, float32, |z| <= 126, without a call so that LLVM can vectorise it."""
    n = np.floor(z + HALF)
    r = z - n
    power = ONE + r * (E1 + r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * E7))))))
    return power * np.int32((np.int32(n) + 127) << 23).view(np.float32)  # 2**n, from its bits


@jit
def _sigmoid(t: Any) -> Any:
    """1 / (1 + exp(-t)), float32; |t| above 30 is 0 or 1 to float32."""
    return ONE / (ONE + exp2(min(max(-t, np.float32(-30)), np.float32(30)) * LOG2E))


@jit
def _keep(x: Any, first: Any, last: Any) -> Any:
    """False where a coded value is padding, NaN or infinite."""
    return ((x < first) | (x > last)) & (abs(x) <= LARGEST)


@jit
def _window(
    source: Array, floating: bool, window: Record, first: np.float32, last: np.float32, tables: Array, target: Array
) -> None:
    """source (n,) any dtype -> target (n,) float32 in [0, 1]; window: one WINDOW; first, last: padding range."""
    x0, gain, offset = window.x0, window.gain, window.offset
    if window.kind == RAMP and first > last and not floating:  # the common case: no padding, integers
        for i in range(target.size):
            target[i] = min(max((np.float32(source[i]) - x0) * gain + offset, ZERO), ONE)
    elif window.kind == RAMP:
        for i in range(target.size):
            x = np.float32(source[i])
            y = min(max((x - x0) * gain + offset, ZERO), ONE)
            target[i] = y if _keep(x, first, last) else ZERO
    elif window.kind == SIGMOID:
        for i in range(target.size):
            x = np.float32(source[i])
            target[i] = _sigmoid((x - x0) * gain + offset) if _keep(x, first, last) else ZERO
    else:
        start, end = window.start, np.float32(window.entries - 1)
        for i in range(target.size):
            x = np.float32(source[i])
            at = np.rint(x) - x0
            at = at if at > ZERO else ZERO  # NaN too
            at = at if at < end else end
            entry = tables[min(start + np.int64(at), tables.size - 1)]
            target[i] = entry * gain + offset if _keep(x, first, last) else ZERO


@jit
def window_row(
    address: int,
    dtype: int,
    begin: int,
    window: Record,
    first: np.float32,
    last: np.float32,
    tables: Array,
    target: Array,
) -> None:
    """Windows target.size values from element `begin` of the source at `address` (dtype: a code above) into target."""
    end = begin + target.size
    if window.kind == RAMP and dtype != FLOAT32:  # whole vectors of the common case; what is left goes the general way
        whole = target.size // LANES
        x0, gain, offset = window.x0, window.gain, window.offset
        if dtype == UINT16:
            ramp_uint16(address + 2 * begin, target.ctypes.data, whole, x0, gain, offset, first, last)
        elif dtype == INT16:
            ramp_int16(address + 2 * begin, target.ctypes.data, whole, x0, gain, offset, first, last)
        else:
            ramp_uint8(address + begin, target.ctypes.data, whole, x0, gain, offset, first, last)
        if target.size == whole * LANES:
            return
        begin, target = begin + whole * LANES, target[whole * LANES :]
    if dtype == UINT16:
        _window(numba.carray(uint16_at(address), (end,))[begin:], False, window, first, last, tables, target)
    elif dtype == INT16:
        _window(numba.carray(int16_at(address), (end,))[begin:], False, window, first, last, tables, target)
    elif dtype == UINT8:
        _window(numba.carray(uint8_at(address), (end,))[begin:], False, window, first, last, tables, target)
    else:
        _window(numba.carray(float32_at(address), (end,))[begin:], True, window, first, last, tables, target)


@jit
def blend(ring: Array, y: int, weight: Array, count: int, add: bool, target: Array) -> None:
    """target (n,) = or += sum over k < count (at most 5) of weight[k] * row y + k; ring (slots, n) holds row r at r % slots."""
    slots = ring.shape[0]
    a = ring[y % slots]
    if add:
        if count == 4:
            b, c, d = ring[(y + 1) % slots], ring[(y + 2) % slots], ring[(y + 3) % slots]
            v, w, p, q = weight[0], weight[1], weight[2], weight[3]
            for i in range(target.size):
                target[i] += v * a[i] + w * b[i] + p * c[i] + q * d[i]
        else:
            for k in range(count):
                a, v = ring[(y + k) % slots], weight[k]
                for i in range(target.size):
                    target[i] += v * a[i]
        return
    v = weight[0]
    if count == 1:
        for i in range(target.size):
            target[i] = v * a[i]
        return
    b, w = ring[(y + 1) % slots], weight[1]
    if count == 2:
        for i in range(target.size):
            target[i] = v * a[i] + w * b[i]
        return
    c, p = ring[(y + 2) % slots], weight[2]
    if count == 3:
        for i in range(target.size):
            target[i] = v * a[i] + w * b[i] + p * c[i]
        return
    d, q = ring[(y + 3) % slots], weight[3]
    if count == 4:
        for i in range(target.size):
            target[i] = v * a[i] + w * b[i] + p * c[i] + q * d[i]
        return
    e, u = ring[(y + 4) % slots], weight[4]
    for i in range(target.size):
        target[i] = v * a[i] + w * b[i] + p * c[i] + q * d[i] + u * e[i]


@jit
def floor_outside(sample: Record, norm: Array, out: Array) -> None:
    """Writes y = 0 wherever an output lies outside the image; out (C, height, width)."""
    planes, height, width = out.shape
    row_first, row_end = sample.row_first, min(sample.row_end, height)
    col_first, col_end = sample.col_first, min(sample.col_end, width)
    if sample.flip & FLIP_VERTICAL != 0:
        row_first, row_end = height - row_end, height - row_first
    if sample.flip & FLIP_HORIZONTAL != 0:
        col_first, col_end = width - col_end, width - col_first
    for c in range(planes):
        floor = norm[c, 1]
        out[c, :row_first] = floor
        out[c, row_end:] = floor
        for o in range(row_first, row_end):
            out[c, o, :col_first] = floor
            out[c, o, col_end:] = floor
