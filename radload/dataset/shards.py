"""Bytes of samples from shards: pread of exactly what is asked for, checked with CRC-32C before anybody decodes them.

Shards are never memory-mapped: a mapped tar that is cut or rewritten kills its readers with SIGBUS.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import google_crc32c
import numpy as np

from radload.dataset.schema import key_text
from radload.errors import CorruptSample, FormatError

MAX_OPEN = 256  # descriptors kept per process, well below the usual limit of 1,024
ASKED_AT_ONCE = (
    1 << 17
)  # bytes per request: Linux reads no more than the device's read-ahead, 128 KiB, of what one call asks for


class _Descriptor:
    """An open file that is closed when the last thread that reads it lets go of it."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class ShardFiles:
    """Open descriptors of a data set's shards, least recently used closed first. Safe to share between threads."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names
        self._open: OrderedDict[int, _Descriptor] = OrderedDict()
        self._lock = Lock()

    def read(self, record: np.void, level: int = 0) -> bytes:
        """The bytes of one sample's member that resolution level `level` needs (all of them for 0), checked.

        Raises:
            CorruptSample: the shard is cut, cannot be read there, or the bytes do not have the CRC-32C of the index.
            FormatError: the shard cannot be opened.
            ValueError: the sample has no such level.
        """
        if not 0 <= level <= int(record["levels"]):
            raise ValueError(f"{self._where(record)} has no level {level}: 0 to {int(record['levels'])} are there")
        length = int(record["length"]) if level == 0 else int(record["level_end"][level - 1])
        crc = int(record["level_crc"][level])
        return self._checked(record, length, int(record["offset"]), crc, self._where(record))

    def read_mask(self, mask: np.void, record: np.void) -> bytes:
        """The bytes of a sample's KEY.mask.npy, checked; `mask` is its MASK_RECORD, `record` its RECORD.

        Raises:
            CorruptSample, FormatError: as `read`.
            ValueError: the sample has no mask.
        """
        length = int(mask["length"])
        if not length:
            raise ValueError(f"{self._where(record)} has no mask")
        where = f"the mask of {self._where(record)}"
        return self._checked(record, length, int(mask["offset"]), int(mask["crc"]), where)

    def _checked(self, record: np.void, length: int, offset: int, crc: int, where: str) -> bytes:
        try:
            data = self._pread(int(record["shard"]), length, offset)
        except OSError as error:
            raise CorruptSample(
                f"{where} cannot be read ({error.strerror}): check the disk, or restore the shard from a copy"
            ) from None
        if len(data) != length:
            raise CorruptSample(f"{where} is cut: {len(data)} of {length} bytes; restore the shard from a copy")
        if google_crc32c.value(data) != crc:
            raise CorruptSample(f"{where} has a wrong checksum (CRC-32C): restore the shard from a copy")
        return data

    def will_need(self, shard: int, offset: int, length: int) -> None:
        """Ask the system to read `length` bytes at `offset` of a shard in the background. What fails shows when reading."""
        with suppress(OSError, FormatError):
            descriptor = self._descriptor(shard)
            for start in range(offset, offset + length, ASKED_AT_ONCE):
                step = min(ASKED_AT_ONCE, offset + length - start)
                os.posix_fadvise(descriptor.number, start, step, os.POSIX_FADV_WILLNEED)

    def _pread(self, shard: int, length: int, offset: int) -> bytes:
        descriptor = self._descriptor(shard)
        return os.pread(descriptor.number, length, offset)  # outside the lock: reads run in parallel

    def _descriptor(self, shard: int) -> _Descriptor:
        with self._lock:
            descriptor = self._open.pop(shard, None)
            if descriptor is None:
                try:
                    descriptor = _Descriptor(self.root / self.names[shard])
                except OSError as error:
                    raise FormatError(
                        f"shard {self.names[shard]} cannot be opened ({error.strerror}): restore it from a copy"
                    ) from None
                if len(self._open) >= MAX_OPEN:
                    self._open.popitem(last=False)
            self._open[shard] = descriptor
        return descriptor

    def _where(self, record: np.void) -> str:
        return f"sample {key_text(int(record['key']))} in shard {self.names[int(record['shard'])]}"

    def close(self) -> None:
        """Close all descriptors."""
        with self._lock:
            self._open.clear()

    def __enter__(self) -> ShardFiles:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
