"""A cache of decoded images: what reading and decoding a slice costs is paid once; windows, crops and flips come after it.

Entries are exactly what `decode.decode_level` gives, by (row, level, pivot), and are written once. Nothing is ever thrown out to
make room: an epoch draws every sample once, so what it finds must be there when it begins, and no rule finds more than the share of
the samples that fits; throwing out would only add writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypedDict, TypeVar

from numpy.typing import NDArray

from radload.dataset.manifest import Manifest

_DECODING = 1  # counts up whenever decode.decode_level gives other values than before

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


def identity(manifest: Manifest, folder: Path) -> str:
    """What the rows of a data set mean, as 64 hex digits: its pixels, its generation and every byte of its index, which is in `folder`."""
    segment = (folder / "segment.json").read_bytes()  # holds lengths and checksums of the index's files
    text = f"{_DECODING} {manifest.fingerprint} {manifest.generation} ".encode()
    return hashlib.sha256(text + segment).hexdigest()


def open_cache(
    config: CacheConfig, warn: Callable[[str], None], lock: AbstractContextManager[Any]
) -> Cache[NDArray[Any]]:
    """The cache of a loader process; `warn` gets the sentence about what made it stop growing, `lock` is its own and its forks'.

    Raises:
        UsageError: the folder cannot be used.
    """
    from radload.loading.cache.arena import FileCache

    if config["folder"] is None:
        from radload.loading.cache.memory import MemoryCache

        return MemoryCache(config["limit"], warn, lock)
    return FileCache(Path(config["folder"]), bytes.fromhex(config["identity"]), config["limit"], warn)
