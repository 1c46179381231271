"""CRC-32C (Castagnoli, RFC 3720 appendix B.4): the one defence against a flipped byte, which HTJ2K decodes in silence."""

from __future__ import annotations

from collections.abc import Sequence

import google_crc32c
import numpy as np

from radload.codecs.encoded import BytesLike


def extend(crc: int, data: BytesLike) -> int:
    """CRC-32C of what gave `crc` followed by `data`; start with 0. Copies nothing."""
    # The C function takes bytes or an array, but no memoryview and no bytearray.
    buffer = data if isinstance(data, bytes) else np.frombuffer(data, np.uint8)
    return int(google_crc32c.extend(crc, buffer))


def crc32c(data: BytesLike) -> int:
    """CRC-32C of `data`, 0..2**32-1."""
    return extend(0, data)


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
