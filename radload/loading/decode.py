"""The bytes of a sample to what the kernels take: a contiguous (h, w) array of coded values at a resolution level."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs import htj2k, raw
from radload.codecs.codestream import level_shape
from radload.codecs.encoded import BytesLike
from radload.dataset.schema import STORED_DTYPES, Codec
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample, FormatError
from radload.kernels.prepare import luma
from radload.loading.buffers import Buffers

_HTJ2K, _CODECS = int(Codec.HTJ2K), (int(Codec.RAW), int(Codec.HTJ2K))  # an enum's members take longer to look up
AS_THEY_ARE = ("u1", "u2", "i2", "f4")
_DTYPES = {code: np.dtype("<" + code) for code in STORED_DTYPES}

# What one bad sample may raise; anything else is a defect of the program and ends the run.
SAMPLE_ERRORS = (CorruptSample, FormatError, OSError)


def level_bytes(files: ShardFiles, record: np.void, level: int, buffers: Buffers | None = None) -> BytesLike:
    """The member's bytes up to a level, their CRC-32C checked; in `buffers`, where there are any, until the next is read.

    Raises:
        CorruptSample: checksum, length, or a codec that does not exist. FormatError: the shard cannot be opened.
    """
    if record["codec"] not in _CODECS or record["shard"] >= len(files.names):
        raise CorruptSample(
            f"sample {int(record['key'])} has a record that makes no sense: restore the index from a copy, or pack again"
        )
    return files.read(record, level) if buffers is None else files.read_into(buffers.coded, record, level)


def decode_level(
    data: BytesLike, record: np.void, level: int, pivot: float, buffers: Buffers | None = None
) -> NDArray[Any]:
    """Coded values (h, w) of a sample at a level: uint8, uint16, int16 or float32, C-contiguous.

    They may lie in `data` or `buffers`, and then last until these are used again.

    Colour becomes luma (kernels.prepare.luma) before any window; luma, and types that the kernels do not take, become
    float32 of value - pivot.

    Raises:
        CorruptSample: the bytes are not those that the record describes.
    """
    shape: tuple[int, ...] = (int(record["rows"]), int(record["cols"]))
    if record["channels"] != 1:
        shape = (*shape, int(record["channels"]))
    if record["codec"] == _HTJ2K:
        out = None if buffers is None else buffers.pixels(level_shape(shape, level), np.uint16)
        coded: NDArray[Any] = htj2k.decode(data, level, out, shape=shape)
    else:
        coded = raw.decode(data)
        code = STORED_DTYPES[record["dtype"]]
        if coded.shape != shape or coded.dtype != _DTYPES[code]:
            raise CorruptSample(
                f"the raw member holds {coded.dtype} {coded.shape}, the index says {code} {shape}: "
                "the shard and its index do not belong together; pack the source again"
            )
        if code not in AS_THEY_ARE and coded.ndim == 2:
            coded = (coded.astype(np.float64) - pivot).astype(np.float32)
    return luma(coded, pivot) if coded.ndim == 3 else coded
