"""One image to the bytes of a member and back, whichever codec holds it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from radload.codecs import htj2k, raw
from radload.codecs.encoded import BytesLike, Encoded, check_shape, dtype_code
from radload.dataset.schema import Codec
from radload.errors import CorruptSample

CodecName: TypeAlias = Literal["htj2k", "raw"]


def encode(
    stored: NDArray[np.generic],
    codec: CodecName = "htj2k",
    *,
    averaging: bool = True,
    padding: tuple[int, int] | None = None,
) -> Encoded:
    """Encode one image; `Encoded.codec` says how, because what HTJ2K cannot hold exactly becomes raw.

    Args:
        stored: (rows, cols) or (rows, cols, 3) of one of STORED_DTYPES.
        codec: "raw", or "htj2k" wherever the values are integers that span at most 65,535.
        averaging, padding: see `htj2k.encode`.

    Raises:
        ValueError: no image, a dtype that shards do not hold, or an unknown codec.
    """
    if codec not in ("htj2k", "raw"):
        raise ValueError(f"{codec!r} is no codec; choose 'htj2k' or 'raw'")
    check_shape(stored.shape)
    dtype_code(stored.dtype)
    if codec == "htj2k" and htj2k.can_hold(stored):
        return htj2k.encode(stored, averaging=averaging, padding=padding)
    return raw.encode(stored)


def decode_stored(
    data: BytesLike,
    codec: Codec,
    *,
    bias: int,
    dtype: DTypeLike,
    shape: tuple[int, ...],
    out: NDArray[np.uint16] | None = None,
) -> NDArray[np.generic]:
    """The exact stored image of a whole member; may be a read-only view of `data` (raw), or lie in `out` (HTJ2K).

    Args:
        codec, bias, dtype, shape: as the index has them; shape is (rows, cols) or (rows, cols, 3).
        out: C-contiguous array of `shape` that may be written to.

    Raises:
        CorruptSample: the bytes are damaged, or not those that the index describes.
        ValueError: `out` does not fit.
    """
    if codec == Codec.HTJ2K:
        return htj2k.decode_stored(data, bias, dtype, shape, out)
    stored = raw.decode(data)
    if stored.shape != shape or dtype_code(stored.dtype) != dtype_code(np.dtype(dtype)):
        raise CorruptSample(
            f"the raw member holds {stored.dtype} {stored.shape}, the index says {np.dtype(dtype)} {shape}: "
            "the shard and its index do not belong together; pack the source again"
        )
    return stored


def decode_mask(data: BytesLike, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """The labels of a KEY.mask.npy, uint8 or uint16; a read-only view of `data`.

    Args:
        shape: (rows, cols) of the sample.

    Raises:
        CorruptSample: the bytes are damaged, or of another shape or type.
    """
    labels = raw.decode(data)
    if labels.shape != shape or dtype_code(labels.dtype) not in ("u1", "u2"):
        raise CorruptSample(
            f"the mask holds {labels.dtype} {labels.shape} where the sample is {shape}: "
            "the shard and its index do not belong together; pack the source again"
        )
    return labels
