"""The table of a cache: buckets of one page, 102 slots each, where a slot says what an image is and where it lies.

A slot has a checksum of its own, so one that is being written while it is read counts as absent.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs import checksum

PAGE = 4096
_KEY = struct.Struct("<QdB")  # row + 1 (0: a free slot), pivot, level
_SLOT = struct.Struct(
    "<QdBBHHHQII"
)  # the key; code of the type, rows, cols, 0; from the start, CRC-32C of the pixels; of the slot
SLOT_SIZE = _SLOT.size
_SLOTS = PAGE // SLOT_SIZE
_TYPES = ("|u1", "<u2", "<i2", "<f4")
_CODES = {np.dtype(name): code for code, name in enumerate(_TYPES)}
_TYPICAL = (
    16 << 10
)  # bytes per image that the table has two slots for; smaller ones may fill it before the budget is used
_FEWEST = 16  # buckets


@dataclass(frozen=True, slots=True)
class Kept:
    """An image: type, (rows, cols), where it begins, CRC-32C of its bytes."""

    dtype: str
    shape: tuple[int, int]
    offset: int
    crc: int


def buckets(limit: int) -> int:
    """Buckets of a cache of `limit` bytes."""
    return max(_FEWEST, -(-2 * (limit // _TYPICAL) // _SLOTS))


def key(row: int, level: int, pivot: float) -> bytes:
    """How a slot begins."""
    return _KEY.pack(row + 1, pivot + 0.0, level)


def bucket(of: bytes, count: int) -> int:
    """Which of `count` buckets a key belongs to."""
    return zlib.crc32(of) % count


def slot(of: bytes, pixels: NDArray[Any], offset: int, crc: int) -> bytes:
    """The slot of an image."""
    content = _SLOT.pack(*_KEY.unpack(of), _CODES[pixels.dtype], *pixels.shape, 0, offset, crc, 0)[:-4]
    return content + checksum.crc32c(content).to_bytes(4, "little")


def read(page: bytes, of: bytes) -> Kept | None:
    """What a bucket's page says of a key; None where that is nothing, or not whole."""
    at = find(page, of)
    if at < 0:
        return None
    *_, code, rows, cols, _, offset, crc, own = _SLOT.unpack_from(page, at)
    if checksum.crc32c(page[at : at + SLOT_SIZE - 4]) != own:
        return None
    return Kept(_TYPES[code], (rows, cols), offset, crc)


def find(page: bytes, of: bytes) -> int:
    """Where a bucket's slot with this key starts; -1: nowhere."""
    at = page.find(of)
    while at >= 0 and (at % SLOT_SIZE or at >= _SLOTS * SLOT_SIZE):
        at = page.find(of, at + 1)
    return at


def free(page: bytes) -> int:
    """Where a bucket's first free slot starts; -1: nowhere."""
    for at in range(0, min(len(page), _SLOTS * SLOT_SIZE), SLOT_SIZE):
        if page[at : at + 8] == b"\0\0\0\0\0\0\0\0":
            return at
    return -1
