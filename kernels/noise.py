"""Gamma and noise on a rendered sample (Numba, GIL released): reference.render's last steps, in place, only where they are asked for.

Rendered values carry mean and deviation already; what is done to y is done to (value - shift) / scale. Logarithm, power, sine and cosine
are polynomials without a call, so that LLVM can vectorise the loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from radload.kernels.jit import Array, Record, checksum, entry, float32_at, jit
from radload.kernels.philox import MULTIPLIERS, ROUNDS, WEYL
from radload.kernels.prepare import CURVED, NOISY
from radload.kernels.rows import HALF, ONE, ZERO, exp2

TWO = np.float32(2)
ROOT2 = np.float32(math.sqrt(2))
EXPONENT, MANTISSA, UNIT = np.int32(127), np.int32(0x7FFFFF), np.int32(0x3F800000)
# log2(m) = 2 / ln 2 * (s + s**3 / 3 + ...), s = (m - 1) / (m + 1), m in [1 / sqrt(2), sqrt(2)]; the first term left out is 4e-10 of it.
L1, L3, L5, L7, L9 = (np.float32(2 / math.log(2) / k) for k in (1, 3, 5, 7, 9))
LN2 = np.float32(math.log(2))
SMALLEST, LEAST = np.float32(np.finfo(np.float32).tiny), np.float32(-126)  # and its logarithm
# sine and cosine of 2 pi t, |t| <= 1/8, by their series; the first terms left out are 2e-9 and 2e-8 at the ends.
S1, S3, S5, S7, S9 = (np.float32((-1) ** (k // 2) * (2 * math.pi) ** k / math.factorial(k)) for k in (1, 3, 5, 7, 9))
C2, C4, C6, C8 = (np.float32((-1) ** (k // 2) * (2 * math.pi) ** k / math.factorial(k)) for k in (2, 4, 6, 8))
STEP24 = np.float32(2.0**-24)
QUARTER, FOUR = np.float32(0.25), np.float32(4)
M0, M1 = (np.uint64(m) for m in MULTIPLIERS)
W0, W1 = (np.uint64(w) for w in WEYL)
LOW, BITS32, BITS9, BITS8 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(9), np.uint64(8)
BLOCKS = 256  # of four numbers, made at once


@jit
def _log2(x: Any) -> Any:
    """log2 of a normal float32 above 0, to 2e-7 of itself near 1."""
    bits = np.float32(x).view(np.int32)
    m = np.int32((bits & MANTISSA) | UNIT).view(np.float32)  # in [1, 2)
    e = np.float32((bits >> 23) - EXPONENT)
    high = m > ROOT2
    m = m * HALF if high else m
    e = e + ONE if high else e
    s = (m - ONE) / (m + ONE)
    z = s * s
    return e + s * (L1 + z * (L3 + z * (L5 + z * (L7 + z * L9))))


@jit
def _power(gamma: np.float32, scale: np.float32, shift: np.float32, out: Array) -> None:
    """y = clip(y, 0, 1) ** gamma for the y of out (n,) = y * scale + shift."""
    inverse = ONE / scale
    for i in range(out.size):
        y = min(max((out[i] - shift) * inverse, ZERO), ONE)
        power = exp2(max(gamma * _log2(max(y, SMALLEST)), LEAST))
        out[i] = (power if y > ZERO else ZERO) * scale + shift


@jit
def _radius(word: Any) -> Any:
    """sqrt(-2 ln u) of a random word's upper 23 bits; float32."""
    u = (TWO * np.float32(np.int32(word >> BITS9)) + ONE) * STEP24
    return np.sqrt(max(-TWO * LN2 * _log2(u), ZERO))


@jit
def _circle(word: Any) -> Any:
    """Cosine and sine of a random word's upper 24 bits as a part of a turn; float32."""
    t = np.float32(np.int32(word >> BITS8)) * STEP24
    quarter = np.floor(t * FOUR + HALF)
    r = t - quarter * QUARTER
    z = r * r
    sine = r * (S1 + z * (S3 + z * (S5 + z * (S7 + z * S9))))
    cosine = ONE + z * (C2 + z * (C4 + z * (C6 + z * C8)))
    q = np.int32(quarter) & 3
    x, y = (sine, cosine) if q & 1 else (cosine, sine)
    return (-x if q == 1 or q == 2 else x), (-y if q >= 2 else y)


@jit
def _normals(low: int, high: int, first: int, target: Array) -> None:
    """Numbers 4 * first and on of philox.normals; target (n,) float32, n a multiple of 4."""
    for i in range(target.size // 4):
        c0, c1, c2, c3 = np.uint64(first + i), np.uint64(0), np.uint64(0), np.uint64(0)
        k0, k1 = np.uint64(low), np.uint64(high)
        for _ in range(ROUNDS):
            p0, p1 = c0 * M0, c2 * M1
            c0, c1, c2, c3 = (p1 >> BITS32) ^ c1 ^ k0, p1 & LOW, (p0 >> BITS32) ^ c3 ^ k1, p0 & LOW
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
        radius, (x, y) = _radius(c0), _circle(c1)
        target[4 * i], target[4 * i + 1] = radius * x, radius * y
        radius, (x, y) = _radius(c2), _circle(c3)
        target[4 * i + 2], target[4 * i + 3] = radius * x, radius * y


def _compile(version: int) -> Callable[..., None]:
    """The compiled part's one entry; see jit.entry for `version`."""

    @entry
    def finish_all(samples: Record, norm: Array, out: Array, numbers: Array) -> None:
        """All samples of a call: samples (N,) SAMPLE; norm (C, 2); out (N, C, pixels) float32; numbers (4 * BLOCKS,) float32."""
        if version < 0:  # never: it makes `version` part of the cache's key
            return
        planes, pixels = out.shape[1], out.shape[2]
        results = numba.carray(float32_at(out.ctypes.data), out.shape)  # without an owner, as in cpu.py
        made = numba.carray(float32_at(numbers.ctypes.data), numbers.shape)
        for n in range(len(samples)):
            s = samples[n]
            if s.effects & CURVED != 0:
                for c in range(planes):
                    _power(s.gamma, norm[c, 0], norm[c, 1], results[n, c])
            if s.effects & NOISY != 0:
                for start in range(0, pixels, made.size):
                    _normals(s.key_low, s.key_high, start // 4, made)
                    count = min(made.size, pixels - start)
                    for c in range(planes):
                        factor, part = s.noise * norm[c, 0], results[n, c, start : start + count]
                        for i in range(count):
                            part[i] += factor * made[i]

    return finish_all


_finish_all = _compile(checksum("noise", "lanes", "rows", "philox"))


def finish(samples: Record, norm: Array, out: Array) -> None:
    """Gamma and noise of samples (N,) SAMPLE, where their `effects` say so, in out (N, C, height, width) float32, C-contiguous.

    norm: (C, 2) float32 from prepare.normalisation, which out was rendered with. All contiguous and writeable; the caller has checked them.
    """
    _finish_all(samples, norm, out.reshape(*out.shape[:2], -1), np.empty(4 * BLOCKS, np.float32))
