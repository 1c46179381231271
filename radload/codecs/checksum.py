"""CRC-32C (Castagnoli, RFC 3720 appendix B.4): the one defence against a flipped byte, which HTJ2K decodes in silence."""

from __future__ import annotations

from collections.abc import Sequence

import google_crc32c
import numpy as np

from radload.codecs.encoded import BytesLike

_POLYNOMIAL = 0x82F63B78  # reflected, RFC 3720 appendix B.4


def extend(crc: int, data: BytesLike) -> int:
    """CRC-32C of what gave `crc` followed by `data`; start with 0. Copies nothing."""
    # The C function takes bytes or an array, but no memoryview and no bytearray.
    buffer = data if isinstance(data, bytes) else np.frombuffer(data, np.uint8)
    return int(google_crc32c.extend(crc, buffer))


def crc32c(data: BytesLike) -> int:
    """CRC-32C of `data`, 0..2**32-1."""
    return extend(0, data)


def combine(first: int, second: int, length: int) -> int:
    """CRC-32C of two pieces one after the other, from that of each; `length`: bytes of the second.

    Over GF(2) the first one is multiplied by x to the power of 8 * length, modulo the polynomial: Mark Adler's crc32_combine of zlib.
    """
    power, factor, bits = 1 << 31, 1 << 30, 8 * length  # x**0 and x**1: the first coefficient is the highest bit
    while bits:
        if bits & 1:
            power = _product(power, factor)
        factor = _product(factor, factor)
        bits >>= 1
    return _product(first, power) ^ second


def _product(a: int, b: int) -> int:
    """Of two polynomials modulo that of CRC-32C, all three reflected."""
    product = 0
    for place in range(31, -1, -1):
        if a >> place & 1:
            product ^= b
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def prefix_crcs(data: BytesLike, ends: Sequence[int]) -> tuple[int, ...]:
    """CRC-32C of the first `ends[i]` bytes for every i, in one pass over the data.

    Args:
        ends: numbers of bytes, in any order, each at most len(data).

    Raises:
        ValueError: an end lies outside the data.
    """
    view = memoryview(data)
    crc, start, found = 0, 0, dict[int, int]()
    for end in sorted(set(ends)):
        if not 0 <= end <= len(view):
            raise ValueError(f"a prefix of {end} bytes was asked of {len(view)} bytes")
        crc = extend(crc, view[start:end])
        found[end], start = crc, end
    return tuple(found[end] for end in ends)
