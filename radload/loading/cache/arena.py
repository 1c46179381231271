"""A cache in one file that all loader processes of a machine share, on a local disk or in memory (tmpfs).

    header page | table: buckets of one page, 102 slots each | pixels, appended

A slot says where an image lies, its shape and its CRC-32C, and has a checksum of its own. An image is written first and its slot
afterwards, so a reader finds all of it or none; whatever a crash, a power cut, a failing disk or somebody's truncate leaves behind
does not match its checksum and counts as absent. Nothing is mapped: a mapped file that is cut kills its readers with SIGBUS. Space is
allocated ahead, so a full disk is found by the allocation. A lock is held for a few microseconds (and for an allocation), never while
pixels are read or written, and its waiters give up: an image that could not be kept now is decoded again.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs import checksum
from radload.dataset import filelock
from radload.errors import UsageError
from radload.loading.cache import table
from radload.loading.cache.table import PAGE

SUFFIX = ".radload-cache"
LEAST = 1 << 20  # bytes of the smallest cache

_HEADER = struct.Struct("<8sII32sI")  # magic, version, buckets, identity, CRC-32C of the fields before
_MAGIC, _VERSION = b"radcache", 1
_SPACE_AT = 1024
_SPACE = struct.Struct("<QQI")  # bytes of pixels given out, bytes allocated, CRC-32C of the two
# Bytes of the header that are locked: for space, and shared as long as somebody has the file open.
_SPACE_LOCK, _LIFE_LOCK = 0, 1
_STEP = 16 << 20  # bytes allocated at a time
_ALIGN = 64
_PATIENCE = 0.02  # seconds for a lock, after which an image is not kept
_REST = 0.5  # seconds in which none is kept after that: whoever holds the lock may be stopped
_START_PATIENCE = 10.0  # seconds for the lock that a start needs


class FileCache:
    """See the module. `get` and `put` may be called from many threads of many processes.

    Args:
        folder: is made where it is missing; holds one file per data set. A new one replaces those that no process has open.
        identity: 32 bytes that say whose images these are; limit: bytes of the file.
        warn: gets one sentence when the file can take no more images although the budget is not used up.

    Raises:
        UsageError: the folder cannot be used.
    """

    def __init__(self, folder: Path, identity: bytes, limit: int, warn: Callable[[str], None]) -> None:
        self._fd = -1
        self._folder, self._warn = folder, warn
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd, self._buckets = _open(folder, identity, limit)
        except OSError as error:
            raise UsageError(
                f"the cache folder {folder} cannot be used ({error.strerror}): give a folder on a local disk, or in /dev/shm, "
                "that you may write to and that has room"
            ) from None
        self._start = PAGE * (1 + self._buckets)
        self._limit = limit - self._start
        self._too_large = 1 << 62  # images of so many bytes found no room
        self._writing = True
        self._resume = 0.0  # when images are kept again
        self._lock = Lock()

    def get(self, row: int, level: int, pivot: float) -> NDArray[Any] | None:
        """A fresh array, or None where the image is not there, or not whole."""
        key = table.key(row, level, pivot)
        try:
            kept = table.read(self._page(self._bucket(key)), key)
            if kept is None:
                return None
            pixels: NDArray[Any] = np.empty(kept.shape, kept.dtype)
            whole = os.preadv(self._fd, [pixels.data], kept.offset) == pixels.nbytes
        except OSError:  # a disk that fails there
            return None
        return pixels if whole and checksum.crc32c(pixels.data.cast("B")) == kept.crc else None

    def has(self, row: int, level: int, pivot: float) -> bool:
        """Whether there is a slot for the image."""
        key = table.key(row, level, pivot)
        try:
            return table.find(self._page(self._bucket(key)), key) >= 0
        except OSError:
            return False

    def put(self, row: int, level: int, pivot: float, content: NDArray[Any]) -> None:
        """Keep what `get` did not find; rows and columns up to 65,535, types as `decode.decode_level` gives them."""
        if not self._writing or not 0 < content.nbytes < self._too_large or time.monotonic() < self._resume:
            return
        try:
            self._put(table.key(row, level, pivot), np.ascontiguousarray(content))
        except OSError as error:
            with self._lock:
                first, self._writing = self._writing, False
            if first:
                self._warn(
                    f"the cache in {self._folder} takes no more images ({error.strerror}): the run goes on with those that it holds"
                )

    def _put(self, key: bytes, pixels: NDArray[Any]) -> None:
        bucket = self._bucket(key)
        page = self._page(bucket)
        old = table.find(page, key)  # damaged, or another process was faster
        if old < 0 and table.free(page) < 0:
            return
        offset = self._reserve(pixels.nbytes)
        if offset is None:
            if old >= 0:  # no room to repair it: it shall not be tried again and again
                self._publish(bucket, key, bytes(table.SLOT_SIZE))
            return
        if os.pwrite(self._fd, pixels.data, offset) != pixels.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        crc = checksum.crc32c(pixels.data.cast("B"))
        self._publish(bucket, key, table.slot(key, pixels, offset, crc))

    def _publish(self, bucket: int, key: bytes, slot: bytes) -> None:
        """Write a key's slot, over its old one or at a free place."""
        at = PAGE * (1 + bucket)
        with self._lock:
            if not self._acquire(at):
                return
            try:
                page = self._page(bucket)
                place = table.find(page, key)
                place = place if place >= 0 else table.free(page)
                if place >= 0:
                    os.pwrite(self._fd, slot, at + place)
            finally:
                filelock.release(self._fd, at)

    def _reserve(self, size: int) -> int | None:
        """Where `size` bytes may be written, from the file's start; None: no room, or none to be had now."""
        with self._lock:
            if not self._acquire(_SPACE_LOCK):
                return None
            try:
                space = _read_space(self._fd)
                if space is None:
                    raise OSError(errno.EIO, "its own record of its space is damaged: delete it")
                used, allocated = space
                end = used + -(-size // _ALIGN) * _ALIGN
                if end > self._limit:
                    self._too_large = min(self._too_large, size)
                    return None
                if end > allocated:
                    more = max(min(_STEP, self._limit - allocated), end - allocated)
                    os.posix_fallocate(self._fd, self._start + allocated, more)
                    allocated += more
                os.pwrite(self._fd, _checked(_SPACE, end, allocated), _SPACE_AT)
            finally:
                filelock.release(self._fd, _SPACE_LOCK)
        return self._start + used

    def _acquire(self, at: int) -> bool:
        """Lock a byte against other processes; `_lock` is held against this one's threads."""
        if time.monotonic() < self._resume:
            return False
        if filelock.acquire(self._fd, at, patience=_PATIENCE):
            return True
        self._resume = time.monotonic() + _REST
        return False

    def _bucket(self, key: bytes) -> int:
        return table.bucket(key, self._buckets)

    def _page(self, bucket: int) -> bytes:
        return os.pread(self._fd, PAGE, PAGE * (1 + bucket))

    def close(self) -> None:
        """Give the file up; it stays for the next run."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def _checked(record: struct.Struct, *fields: Any) -> bytes:
    """A record whose last field is the CRC-32C of what comes before it."""
    content = record.pack(*fields, 0)[:-4]
    return content + checksum.crc32c(content).to_bytes(4, "little")


def _read_checked(descriptor: int, record: struct.Struct, at: int) -> tuple[Any, ...] | None:
    content = os.pread(descriptor, record.size, at)
    if len(content) != record.size or content[-4:] != checksum.crc32c(content[:-4]).to_bytes(4, "little"):
        return None
    return record.unpack(content)[:-1]


def _read_space(descriptor: int) -> tuple[int, int] | None:
    found = _read_checked(descriptor, _SPACE, _SPACE_AT)
    return (found[0], found[1]) if found is not None else None


def cache_file(folder: Path, identity: bytes) -> Path:
    """Where a folder keeps the images of a data set."""
    return folder / (identity.hex()[:32] + SUFFIX)


def _open(folder: Path, identity: bytes, limit: int) -> tuple[int, int]:
    """(descriptor, buckets) of the data set's file, made where it is missing or useless. Raises OSError."""
    path = cache_file(folder, identity)
    deadline = time.monotonic() + _START_PATIENCE
    while time.monotonic() < deadline:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            buckets = _enter(descriptor, path, identity, limit)
        except BaseException:
            os.close(descriptor)
            raise
        if buckets:
            return descriptor, buckets
        os.close(descriptor)  # it was removed in this moment, or is of no use
    raise OSError(errno.ETIMEDOUT, f"another process has held it for {_START_PATIENCE:.0f} s")


def _enter(descriptor: int, path: Path, identity: bytes, limit: int) -> int:
    """Buckets of an open file, which is made first where it is empty; 0: to be tried again."""
    if not filelock.acquire(descriptor, _LIFE_LOCK, shared=True, patience=1.0):
        return 0
    if not filelock.acquire(descriptor, _SPACE_LOCK, patience=1.0):
        return 0
    try:
        if not _is_at(descriptor, path):
            return 0
        header = _read_checked(descriptor, _HEADER, 0)
        size = os.fstat(descriptor).st_size
        if header is not None and header[:2] == (_MAGIC, _VERSION) and header[3] == identity:
            buckets: int = header[2]
            if buckets and size >= PAGE * (1 + buckets) and _read_space(descriptor) is not None:
                return buckets
        if size:
            path.unlink(missing_ok=True)  # those who have it open go on with it
            return 0
        _remove_unused(path)
        buckets = table.buckets(limit)
        os.ftruncate(descriptor, PAGE * (1 + buckets))
        os.pwrite(descriptor, _checked(_SPACE, 0, 0), _SPACE_AT)
        os.pwrite(descriptor, _checked(_HEADER, _MAGIC, _VERSION, buckets, identity), 0)
        return buckets
    finally:
        filelock.release(descriptor, _SPACE_LOCK)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove_unused(path: Path) -> None:
    """Remove the folder's other caches, as far as no process has them open: of data sets that were packed anew, or are done with."""
    for other in path.parent.glob("*" + SUFFIX):
        if other == path:
            continue
        try:
            descriptor = os.open(other, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # somebody else's, or gone
            continue
        try:
            if filelock.acquire(descriptor, _LIFE_LOCK) and _is_at(descriptor, other):
                other.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
