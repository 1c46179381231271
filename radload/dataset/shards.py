"""Bytes of samples from shards: pread of exactly what is asked for, checked with CRC-32C before anybody decodes them.

Shards are never memory-mapped: a mapped tar that is cut or rewritten kills its readers with SIGBUS.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import key_text
from radload.errors import CorruptSample, FormatError, RadloadError

MAX_OPEN = 256  # descriptors kept per process, well below the usual limit of 1,024
ASKED_AT_ONCE = 1 << 17  # bytes: Linux reads no more than the device's read-ahead, 128 KiB, of what one call asks for


class Extent(NamedTuple):
    """Bytes of a shard, by its number, and their CRC-32C."""

    shard: int
    offset: int
    length: int
    crc: int


class _Descriptor:
    """An open file that is closed when the last thread that reads it lets go of it."""

    def __init__(self, path: Path) -> None:
        self.number = -1
        # O_NONBLOCK: a pipe in its place would wait for ever
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

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
            FormatError: the shard cannot be opened. RadloadError: no file can, the process has too many.
            ValueError: the sample has no such level.
        """
        length, crc = self._extent(record, level)
        return self._read(record, length, int(record["offset"]), crc)

    def read_into(self, room: Callable[[int], NDArray[np.uint8]], record: np.void, level: int = 0) -> memoryview:
        """As `read`, to memory that is there already; its pages need not be cleared and mapped, which takes longer than the read itself.

        Args:
            room: number of bytes -> (n,) to write them to.
        """
        length, crc = self._extent(record, level)
        target = room(length)
        try:
            descriptor = self._descriptor(int(record["shard"]))
            found = os.preadv(descriptor.number, [target.data], int(record["offset"]))
        except OSError as error:
            raise self._unreadable(record, error) from None
        self._check(record, target, found, length, crc)
        return target.data

    def read_each(
        self, room: Callable[[int], NDArray[np.uint8]], wanted: Sequence[Extent | None]
    ) -> Iterator[memoryview | None]:
        """As `read_into`, one after the other. None where that would raise an error of the sample, and where None is wanted.

        Raises:
            RadloadError: no file can be opened, the process has too many.
        """
        descriptors = [None if one is None else self._opened(one.shard) for one in wanted]
        for descriptor, one in zip(descriptors, wanted, strict=True):
            found = None
            if descriptor is not None and one is not None:
                target = room(one.length)
                with suppress(OSError):
                    if os.preadv(descriptor.number, [target.data], one.offset) == one.length:
                        found = target.data if google_crc32c.extend(0, target) == one.crc else None
            yield found

    def _opened(self, shard: int) -> _Descriptor | None:
        """An open shard; None where it cannot be opened."""
        try:
            return self._descriptor(shard)
        except FormatError:
            return None

    def _extent(self, record: np.void, level: int) -> tuple[int, int]:
        """Bytes that a level needs, and their CRC-32C."""
        if not 0 <= level <= int(record["levels"]):
            raise ValueError(f"{self._where(record)} has no level {level}: 0 to {int(record['levels'])} are there")
        length = int(record["length"]) if level == 0 else int(record["level_end"][level - 1])
        return length, int(record["level_crc"][level])

    def read_mask(self, mask: np.void, record: np.void) -> bytes:
        """The bytes of a sample's KEY.mask.npy, checked; `mask` is its MASK_RECORD, `record` its RECORD.

        Raises:
            CorruptSample, FormatError: as `read`.
            ValueError: the sample has no mask.
        """
        length = int(mask["length"])
        if not length:
            raise ValueError(f"{self._where(record)} has no mask")
        return self._read(record, length, int(mask["offset"]), int(mask["crc"]), "the mask of ")

    def _read(self, record: np.void, length: int, offset: int, crc: int, what: str = "") -> bytes:
        try:
            descriptor = self._descriptor(int(record["shard"]))  # held: the last one to let go closes it
            data = os.pread(descriptor.number, length, offset)
        except OSError as error:
            raise self._unreadable(record, error, what) from None
        self._check(record, data, len(data), length, crc, what)
        return data

    def _check(
        self, record: np.void, data: bytes | NDArray[np.uint8], found: int, length: int, crc: int, what: str = ""
    ) -> None:
        if found != length:
            raise CorruptSample(
                f"{what}{self._where(record)} is cut: {found} of {length} bytes; restore the shard from a copy",
                "is cut",
            )
        if google_crc32c.extend(0, data) != crc:
            raise CorruptSample(
                f"{what}{self._where(record)} has a wrong checksum (CRC-32C): restore the shard from a copy",
                "wrong checksum",
            )

    def _unreadable(self, record: np.void, error: OSError, what: str = "") -> CorruptSample:
        return CorruptSample(
            f"{what}{self._where(record)} cannot be read ({error.strerror}): check the disk, or restore the shard from a copy",
            "cannot be read",
        )

    def coming(self, records: NDArray[np.void], levels: NDArray[np.int64]) -> None:
        """Told before the draws (n,) of a batch are read, up to their `levels`. Local files are not asked ahead of their readers."""

    def will_need(self, shard: int, offset: int, length: int) -> None:
        """Ask the system to read `length` bytes at `offset` of a shard in the background. What fails shows when reading."""
        with suppress(OSError, RadloadError):
            descriptor = self._descriptor(shard)
            for start in range(offset, offset + length, ASKED_AT_ONCE):
                step = min(ASKED_AT_ONCE, offset + length - start)
                os.posix_fadvise(descriptor.number, start, step, os.POSIX_FADV_WILLNEED)

    def _descriptor(self, shard: int) -> _Descriptor:
        """An open shard. Who holds it may read it outside the lock, so that reads run in parallel; nobody closes it meanwhile."""
        with self._lock:
            descriptor = self._open.pop(shard, None)
            if descriptor is None:
                try:
                    descriptor = _Descriptor(self.root / self.names[shard])
                except OSError as error:
                    if error.errno in (
                        errno.EMFILE,
                        errno.ENFILE,
                    ):  # not the shard's fault: nothing may replace its samples
                        raise RadloadError(
                            f"shard {self.names[shard]} cannot be opened, because this process may open no more files: "
                            "raise the limit (ulimit -n)"
                        ) from None
                    raise FormatError(
                        f"shard {self.names[shard]} cannot be opened ({error.strerror}): restore it from a copy"
                    ) from None
                if len(self._open) >= MAX_OPEN:
                    self._open.popitem(last=False)
            self._open[shard] = descriptor
        return descriptor

    def forget(self, shard: int) -> None:
        """Open a shard anew when it is read next: after a failure, so that one restored from a copy is seen."""
        with self._lock:
            self._open.pop(shard, None)

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
