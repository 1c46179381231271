"""Voxels of a NIfTI file, block by block, so that a long series of volumes never lies in memory as a whole.

A block is what one slice is cut from without reading anything twice: a plane where slices are cut along the last axis, else a volume.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from radload.sources.slice import Refused
from radload.sources.sniff import GZIP

_STEP: Final = 1 << 22  # bytes
_AT_ONCE: Final = (
    1 << 28
)  # bytes; what inflates to no more is inflated once and kept, the rest twice: checked, then read


def is_gzip(path: Path) -> bool:
    """Whether the file is compressed."""
    with path.open("rb") as file:
        return file.read(2) == GZIP


def blocks(path: Path, offset: int, size: int, count: int) -> Iterator[bytes]:
    """Yield `count` blocks of `size` bytes that start at `offset` of the (inflated) file `path`.

    A gzipped file is checked to its end, which is where its CRC is, before the first block.

    Raises:
        Refused: `truncated`, or `bad-checksum` for a damaged gzip stream.
    """
    if not is_gzip(path):
        if path.stat().st_size < offset + size * count:
            raise _ends_early()
        with path.open("rb") as plain:
            plain.seek(offset)
            for _ in range(count):
                yield _exactly(plain, size)
        return
    try:
        with gzip.open(path) as packed:
            _skip(packed, offset)
            if size * count <= _AT_ONCE:
                held = [_exactly(packed, size) for _ in range(count)]
                _to_the_end(packed)
                yield from held
                return
            _skip(packed, size * count)
            _to_the_end(packed)
        with gzip.open(path) as packed:
            _skip(packed, offset)
            for _ in range(count):
                yield _exactly(packed, size)
    except EOFError as error:
        raise Refused("truncated", "the gzip stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Refused("bad-checksum", "the gzip stream is damaged") from error


def _exactly(file: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """`size` bytes, taken in steps, so that a header that lies costs no memory."""
    if size <= _STEP:
        block = file.read(size)
        if len(block) < size:
            raise _ends_early()
        return block
    data = bytearray()
    while len(data) < size:
        block = file.read(min(_STEP, size - len(data)))
        if not block:
            raise _ends_early()
        data += block
    return bytes(data)


def _skip(packed: gzip.GzipFile, count: int) -> None:
    while count:
        passed = len(packed.read(min(_STEP, count)))
        if not passed:
            raise _ends_early()
        count -= passed


def _to_the_end(packed: gzip.GzipFile) -> None:
    while packed.read(_STEP):
        pass


def _ends_early() -> Refused:
    return Refused("truncated", "the file ends before its voxels do")
