"""Whole shards on the node's own disk, shared by its ranks: fetched once, the least recently used dropped first.

A shard is written to a temporary name under a lock that ends with its holder, then renamed: under its own name it is whole. Its samples
are checked each time that one is read (CRC-32C), so nothing is hashed here, and nothing is synced: what a bad line or a power cut leaves
is found there, dropped, and fetched again.
Dropping a shard takes its name away; who has it open can still read it, and lets go of it soon (`shards.RemoteShards`).
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from radload.dataset import filelock
from radload.dataset.index import SHARD_NAME
from radload.errors import FormatError
from radload.remote.download import download
from radload.remote.store import Store

_SLACK = 20  # this part of the limit is freed beyond need, so that the folders are seldom looked through
_ABANDONED = 600.0  # seconds without a write after which a temporary file belongs to nobody
_PATIENCE = 60.0  # seconds for the lock of the space
_SHARERS = 16  # processes of a node that may take space as fast as this one meanwhile


class NodeCache:
    """Shards of one data set below `base`, which may hold others: the limit is for all of them.

    Args:
        root: of this data set's copy; names, sizes (bytes): of its shards.
        limit: bytes of shards below `base`.

    Raises:
        FormatError: a name that could lead out of the folder.
    """

    def __init__(self, base: Path, root: Path, limit: int, names: list[str], sizes: list[int]) -> None:
        for name in names:
            if not SHARD_NAME.fullmatch(name):
                raise FormatError(
                    f"the index lists a shard {name[:80]!r}, which is no name of one: it is no radload index"
                )
        self._base, self._root, self._limit = base, root, limit
        self._names, self._sizes = names, sizes
        self._spare = 0  # bytes that may still be taken before the folders are looked through again

    def path(self, shard: int) -> Path:
        """Where a shard is or would be."""
        return self._root / self._names[shard]

    def has(self, shard: int) -> bool:
        """Whether it is there, whole."""
        return self.path(shard).is_file()

    def used(self, shard: int) -> None:
        """Say that a shard is in use: it will not be dropped soon."""
        with suppress(OSError):
            os.utime(self.path(shard))

    def drop(self, shard: int) -> None:
        """Take a shard away, as one that does not hold what it should."""
        self.path(shard).unlink(missing_ok=True)

    def fetch(self, shard: int, store: Store, pool: ThreadPoolExecutor) -> bool:
        """Fetch a shard; False where another process does it now, or there is no room for it.

        Raises:
            FormatError: it is missing, or has a wrong checksum twice. RadloadError: the store cannot be reached.
            OSError: the disk takes no more.
        """
        path = self.path(shard)
        if self._sizes[shard] > self._limit:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock_file(self._root)
        try:
            if not filelock.acquire(lock, shard):
                return False
            if path.is_file():
                return True
            temporary = path.with_name(f".{path.name}.tmp")
            descriptor = self._reserve(self._sizes[shard], temporary)
            if descriptor is None:
                return False
            try:
                download(store, self._names[shard], self._sizes[shard], descriptor, pool)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
            return True
        finally:
            os.close(lock)

    def _reserve(self, size: int, temporary: Path) -> int | None:
        """A file of `size` bytes, for others to count; the shards that nobody has used for longest go where it does not fit else.

        None: other processes' unfinished shards leave no room, or hold the lock.
        """
        lock = _lock_file(self._base)
        descriptor = -1
        try:
            if not filelock.acquire(lock, 0, patience=_PATIENCE):
                return None
            self._spare -= _SHARERS * size
            if self._spare < 0 and not self._make_room(size):
                return None
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.ftruncate(
                descriptor, size
            )  # no fallocate: on tmpfs it writes all pages, under this lock; a full disk is found by pwrite
            return descriptor
        except OSError:
            if descriptor >= 0:
                os.close(descriptor)
                temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(lock)

    def _make_room(self, size: int) -> bool:
        found = []
        for pattern in ("*/*/*.tar", "*/*/.*.tar.tmp"):
            for path in self._base.glob(pattern):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        held = sum(length for _, length, _ in found)
        if held + size > self._limit:
            target = max(0, self._limit - size - self._limit // _SLACK)
            for used, length, path in sorted(found):
                if held <= target:
                    break
                if not path.name.startswith(".") or time.time() - used > _ABANDONED:
                    path.unlink(missing_ok=True)
                    held -= length
        self._spare = self._limit - held - size
        return self._spare >= 0


def _lock_file(folder: Path) -> int:
    """A descriptor of its own for each lock: threads that shared one would not exclude each other."""
    return os.open(folder / ".shards.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
