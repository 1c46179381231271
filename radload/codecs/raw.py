"""Raw members (KEY.npy): NumPy format 1.0, little-endian, C order, every stored dtype.

The reader takes exactly what the writer makes: no pickle, no Fortran order, no other byte order, no other version.
Format: numpy.lib.format ("Format Version 1.0").
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from radload.codecs import checksum
from radload.codecs.encoded import MAX_SIDE, BytesLike, Encoded, check_shape, dtype_code
from radload.dataset.schema import STORED_DTYPES, Codec
from radload.errors import CorruptSample

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNMENT = 64  # the data start at a multiple of this
_HEADER = re.compile(
    rb"\{'descr': '([<|][uif][1248])', 'fortran_order': False, 'shape': \(([1-9]\d{0,4}), ([1-9]\d{0,4})(?:, (3))?\), \} *\n"
)


def _descr(code: str) -> str:
    return ("|" if code.endswith("1") else "<") + code


_DTYPES = {_descr(code).encode(): np.dtype(_descr(code)) for code in STORED_DTYPES}


def encode(stored: NDArray[np.generic]) -> Encoded:
    """One image as a `.npy` file; the dtype is kept, the bytes become little-endian and C-ordered.

    Args:
        stored: (rows, cols) or (rows, cols, 3) of one of STORED_DTYPES, in any byte order.

    Raises:
        ValueError: another shape or dtype.
    """
    check_shape(stored.shape)
    descr = _descr(dtype_code(stored.dtype))
    values = np.ascontiguousarray(stored, dtype=descr)
    data = b"".join([_head(descr, stored.shape), values.data])
    return Encoded(data, Codec.RAW, 0, 0, (), (checksum.crc32c(data),), 0)


def decode(data: BytesLike) -> NDArray[np.generic]:
    """The stored image of a `.npy` member: an array on the same memory as `data`, nothing is copied.

    Raises:
        CorruptSample: the bytes are not what `encode` writes.
    """
    view = memoryview(data).cast("B")
    start = len(_MAGIC) + 2 + int.from_bytes(view[len(_MAGIC) : len(_MAGIC) + 2], "little")
    dtype, shape, expected = _layout(bytes(view[:start]))
    if len(view) != expected:
        raise CorruptSample(f"the raw member has {len(view)} bytes where its header asks for {expected}: it is damaged")
    return np.frombuffer(view, dtype, offset=start).reshape(shape)


def decode_as(data: BytesLike, shape: tuple[int, ...], code: str) -> NDArray[np.generic] | None:
    """As `decode`, for a member that should hold `shape` of STORED_DTYPES' `code`; None where it begins or ends otherwise."""
    head, dtype, length = _begin(shape, code)
    if len(data) != length or data[: len(head)] != head:
        return None
    return np.frombuffer(data, dtype, offset=len(head)).reshape(shape)


@lru_cache(maxsize=4096)
def _begin(shape: tuple[int, ...], code: str) -> tuple[bytes, np.dtype[np.generic], int]:
    """The bytes before the first value of a member, its type, and its length."""
    dtype = _DTYPES[_descr(code).encode()]
    head = _head(_descr(code), shape)
    return head, dtype, len(head) + dtype.itemsize * math.prod(shape)


def _head(descr: str, shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    used = len(_MAGIC) + 2 + len(header) + 1
    header += b" " * (-used % _ALIGNMENT) + b"\n"
    return b"".join([_MAGIC, len(header).to_bytes(2, "little"), header])


@lru_cache(maxsize=4096)  # a data set has few types and image sizes
def _layout(head: bytes) -> tuple[np.dtype[np.generic], tuple[int, ...], int]:
    """Type, shape and length of a member from its bytes up to the first value. Raises CorruptSample."""
    if head[: len(_MAGIC)] != _MAGIC:
        raise CorruptSample("the raw member does not start as a .npy file of version 1.0: it is damaged")
    match = _HEADER.fullmatch(head[len(_MAGIC) + 2 :])
    dtype = _DTYPES.get(match[1]) if match else None
    if match is None or dtype is None:
        raise CorruptSample("the raw member has a .npy header that radload does not write: it is damaged")
    shape = tuple(int(side) for side in match.groups()[1:] if side is not None)
    if max(shape) > MAX_SIDE:
        raise CorruptSample(f"the raw member has a side above {MAX_SIDE}: it is damaged")
    return dtype, shape, len(head) + dtype.itemsize * math.prod(shape)
