"""A cache of decoded images: what reading and decoding a slice costs is paid once; windows, crops and flips come after it.

Entries are exactly what `decode.decode_level` gives, by (row, level, pivot), and are written once. Nothing is ever thrown out to
make room: an epoch draws every sample once, so what it finds must be there when it begins, and no rule finds more than the share of
the samples that fits; throwing out would only add writes.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.manifest import Manifest

_DECODING = 1  # counts up whenever decode.decode_level gives other values than before
_BLOCK = 64 << 20  # bytes that a private cache takes from the system at a time
_ALIGN = 64
_OVERHEAD = 384  # bytes that an entry's key and array object take

T = TypeVar("T")


class Cache(Protocol[T]):
    """Kept contents. Safe to share between threads; no method raises for what storage does."""

    def get(self, row: int, level: int, pivot: float) -> T | None:
        """The content of a row of the index at a resolution level, or None; `pivot`: see `plan.BatchPlan`."""

    def put(self, row: int, level: int, pivot: float, content: T) -> None:
        """Keep a copy, where there is room."""

    def has(self, row: int, level: int, pivot: float) -> bool:
        """Whether `get` will probably find it; reads no pixels."""


class CacheConfig(TypedDict):
    """What a loader process needs to open its cache: a folder (None: private memory), bytes, and whose images (hex)."""

    folder: str | None
    limit: int
    identity: str


def identity(manifest: Manifest, index: Index) -> str:
    """What the rows of a data set mean, as 64 hex digits: its pixels, its generation and every byte of its index."""
    segment = (index.folder / "segment.json").read_bytes()  # holds lengths and checksums of the index's files
    text = f"{_DECODING} {manifest.fingerprint} {manifest.generation} ".encode()
    return hashlib.sha256(text + segment).hexdigest()


def open_cache(config: CacheConfig, warn: Callable[[str], None]) -> Cache[NDArray[Any]]:
    """The cache of a loader process; `warn` gets the sentence about what made it stop growing.

    Raises:
        UsageError: the folder cannot be used.
    """
    from radload.loading.cache.arena import FileCache

    if config["folder"] is None:
        return MemoryCache(config["limit"], warn)
    return FileCache(Path(config["folder"]), bytes.fromhex(config["identity"]), config["limit"], warn)


class MemoryCache:
    """In this process's own memory, which ends with it; a hit copies nothing.

    Args:
        limit: bytes, the entries' keys and objects included.
    """

    def __init__(self, limit: int, warn: Callable[[str], None]) -> None:
        self._left, self._warn = limit, warn
        self._found: dict[tuple[int, int, float], NDArray[Any]] = {}
        self._block = np.empty(0, np.uint8)
        self._used = 0  # of the block
        self._lock = Lock()

    def get(self, row: int, level: int, pivot: float) -> NDArray[Any] | None:
        return self._found.get((row, level, pivot))

    def put(self, row: int, level: int, pivot: float, content: NDArray[Any]) -> None:
        room = self._take(content.nbytes)
        if room is None:
            return
        kept = room[: content.nbytes].view(content.dtype).reshape(content.shape)
        kept[...] = content
        kept.flags.writeable = False
        self._found[row, level, pivot] = kept

    def has(self, row: int, level: int, pivot: float) -> bool:
        return (row, level, pivot) in self._found

    def _take(self, size: int) -> NDArray[np.uint8] | None:
        """Memory for `size` bytes, or None: the cache is full, or the system has none."""
        size = -(-size // _ALIGN) * _ALIGN
        with self._lock:
            if size + _OVERHEAD > self._left:
                return None
            if self._used + size > len(self._block):
                try:
                    self._block = np.frombuffer(mmap.mmap(-1, max(_BLOCK, size), mmap.MAP_PRIVATE), np.uint8)
                except (OSError, MemoryError) as error:
                    self._left = 0
                    self._warn(f"the cache takes no more images ({error}): the run goes on with those that it holds")
                    return None
                self._used = 0
            start, self._used = self._used, self._used + size
            self._left -= size + _OVERHEAD
            return self._block[start : start + size]
