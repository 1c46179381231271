"""Reading and decoding the draws of a piece that are as most are, with what is to be known of all of them looked up first.

A slice of 512 x 512 goes through a core's cache as it is read and as it is rendered, and drives out whatever is there: Python that runs
between two slices takes more than twice its time. So little is left to do there. What is out of the ordinary is the reader's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs import htj2k, raw
from radload.codecs.codestream import level_shape
from radload.dataset.schema import STORED_DTYPES, Codec
from radload.dataset.shards import Extent, ShardFiles
from radload.loading.buffers import Buffers
from radload.loading.decode import AS_THEY_ARE, SAMPLE_ERRORS
from radload.loading.planning.plan import BatchPlan

_RAW, _HTJ2K = int(Codec.RAW), int(Codec.HTJ2K)
_STREAM = "htj2k"  # where others have the code of their type
_FIELDS = (
    "shard",
    "offset",
    "length",
    "rows",
    "cols",
    "channels",
    "codec",
    "dtype",
    "levels",
    "level_end",
    "level_crc",
)

Pixels = NDArray[Any]


def contents(files: ShardFiles, plan: BatchPlan, entries: range, buffers: Buffers) -> Iterator[Pixels | None]:
    """Of each of a plan's entries what `decode.decode_level` gives, in `buffers`: until the next; None: the reader must look.

    The reader must where a sample is damaged or cannot be read, and for colour and types that the kernels do not take.
    """
    records = plan.records[entries.start : entries.stop]
    levels = plan.levels[entries.start : entries.stop].tolist()
    columns: list[list[Any]] = [records[name].tolist() for name in _FIELDS]
    wanted: list[Extent | None] = []
    kinds: list[tuple[tuple[int, int], int, str]] = []
    for level, shard, offset, length, rows, cols, channels, codec, dtype, most, ends, crcs in zip(
        levels, *columns, strict=True
    ):
        plain = channels == 1 and shard < len(files.names) and dtype < len(STORED_DTYPES) and 0 <= level <= most
        code = _STREAM if codec == _HTJ2K else STORED_DTYPES[dtype] if plain and codec == _RAW else ""
        if plain and (code == _STREAM or code in AS_THEY_ARE):
            wanted.append(Extent(shard, offset, length if level == 0 else ends[level - 1], crcs[level]))
        else:
            wanted.append(None)
        kinds.append(((rows, cols), level, code))
    for data, (shape, level, code) in zip(files.read_each(buffers.coded, wanted), kinds, strict=True):
        found: Pixels | None = None
        if data is not None:
            try:
                if code == _STREAM:
                    out = buffers.pixels(level_shape(shape, level), np.uint16)
                    found = htj2k.decode(data, level, out, shape=shape)
                else:
                    found = raw.decode_as(data, shape, code)
            except SAMPLE_ERRORS:
                found = None
        yield found
