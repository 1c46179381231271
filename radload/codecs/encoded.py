"""What every codec returns to the packer, and the names of its members."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from radload.dataset.schema import STORED_DTYPES, Codec

BytesLike: TypeAlias = bytes | bytearray | memoryview

EXTENSIONS = MappingProxyType({Codec.RAW: "npy", Codec.HTJ2K: "j2c"})  # a member is called KEY.<extension>
MAX_VALUES = 100_000_000  # of an image: what sources.limits lets in
MAX_SIDE = 65_535  # rows and columns are 16-bit numbers in the index


@dataclass(frozen=True, slots=True)
class Encoded:
    """One image as the bytes of a member, and what the index must say about them.

    Attributes:
        data: the member.
        codec: what `data` is.
        bias: coded = stored + bias (HTJ2K); 0 for raw.
        levels: resolution levels below the full one that `data` holds (0 for raw).
        level_end: [k-1]: bytes from the member's start that level k (1 / 2**k) needs; `levels` entries.
        level_crc: [0]: CRC-32C of `data`; [k]: of its first level_end[k-1] bytes; `levels` + 1 entries.
        safe_levels: levels 1..safe_levels may stand in for the image; 0 where only the full image may be used.
    """

    data: bytes
    codec: Codec
    bias: int
    levels: int
    level_end: tuple[int, ...]
    level_crc: tuple[int, ...]
    safe_levels: int


def dtype_code(dtype: np.dtype[np.generic]) -> str:
    """The name of a stored dtype as in STORED_DTYPES ("u2", "f4", …), whatever its byte order.

    Raises:
        ValueError: the shards hold no values of this type.
    """
    code = f"{dtype.kind}{dtype.itemsize}"
    if code not in STORED_DTYPES:
        raise ValueError(f"pixels of type {dtype} cannot be stored; convert them to one of {', '.join(STORED_DTYPES)}")
    return code


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse what is no image.

    Raises:
        ValueError: the shape is not (rows, cols) or (rows, cols, 3) with sides of 1..65535 pixels.
    """
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
        raise ValueError(f"an array of shape {shape} cannot be stored: it is not (rows, cols) or (rows, cols, 3)")
    if not (1 <= shape[0] <= MAX_SIDE and 1 <= shape[1] <= MAX_SIDE):
        raise ValueError(f"an image of {shape[0]} x {shape[1]} pixels cannot be stored: sides are 1 to {MAX_SIDE}")
