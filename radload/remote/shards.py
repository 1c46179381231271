"""Bytes of samples from shards in a bucket: as ranges asked for ahead, or from whole shards that gather on the node's disk.

With "shards" each shard that a batch needs is fetched in the background. A sample waits for its shard where that is being fetched; where
it only stands in line the sample is read as a range, so the first batches come at once. What serves a sample never changes its bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from radload.dataset.shards import Extent, ShardFiles
from radload.errors import CorruptSample, FormatError, RadloadError
from radload.remote.download import PARTS_AT_ONCE
from radload.remote.ranges import Ranges

if TYPE_CHECKING:
    from radload.remote.node_cache import NodeCache
    from radload.remote.store import Store

Fetch = Literal["shards", "ranges"]
SHARDS_AT_ONCE = 16  # fetched by one process
_TOUCH = 30.0  # seconds after which a shard in use is marked as such again
_PATIENCE = 300.0  # seconds for a shard that is being fetched; then the sample is read as a range


class RemoteShards(ShardFiles):
    """As ShardFiles, with the shards of `store`. Safe to share between threads.

    Args:
        root: of the node's copy, where whole shards are; names: of the shards.
        cache: for whole shards; None: ranges only. warn: gets one sentence if the disk takes no more shards.

    Errors besides those of ShardFiles: RadloadError for a store that cannot be reached, which no other sample replaces.
    """

    def __init__(
        self,
        root: Path,
        names: list[str],
        store: Store,
        cache: NodeCache | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(root, names)
        self._store, self._cache, self._warn = store, cache, warn
        self._ranges = Ranges(store, names)
        self._lines = ThreadPoolExecutor(SHARDS_AT_ONCE)
        self._parts = ThreadPoolExecutor(PARTS_AT_ONCE)
        self._fetching: dict[int, Future[bool]] = {}
        self._touched: dict[int, float] = {}
        self._failed: set[int] = set()  # shards that cannot be had whole
        self._state = Lock()

    def coming(self, records: NDArray[np.void], levels: NDArray[np.int64]) -> None:
        """Ask for what the draws (n,) will read, before anybody waits for it."""
        self._let_go()
        ranged = []
        for i, shard in enumerate(records["shard"].tolist()):
            if shard < len(self.names) and not self._here(shard) and not self._on_its_way(shard):
                ranged.append(i)
        if ranged:
            extents = [self._extent(records[i], int(levels[i]))[0] for i in ranged]
            chosen = records[ranged]
            self._ranges.ask(chosen["shard"].tolist(), chosen["offset"].tolist(), extents)

    def _here(self, shard: int) -> bool:
        """Whether the node has the whole shard."""
        cache = self._cache  # a fetch that finds the disk full takes it away meanwhile
        if cache is None or not cache.has(shard):
            return False
        now = time.monotonic()
        if now - self._touched.get(shard, -_TOUCH) >= _TOUCH:
            self._touched[shard] = now
            cache.used(shard)
        return True

    def _on_its_way(self, shard: int) -> bool:
        """Whether the shard is being fetched; it is put in line where it is not."""
        if self._cache is None:
            return False
        with self._state:
            found = self._fetching.get(shard)
            if found is None and shard not in self._failed:
                found = self._fetching[shard] = self._lines.submit(self._fetch, shard)
        return found is not None and found.running()

    def _fetch(self, shard: int) -> bool:
        cache = self._cache
        try:
            return cache is not None and cache.fetch(shard, self._store, self._parts)
        except (FormatError, RadloadError):  # the samples' own reads say what is wrong, and whose fault it is
            self._failed.add(shard)
        except OSError as error:
            first, self._cache = self._cache is not None, None
            if first:
                self._warn(
                    f"no more shards are kept in {self.root} ({error.strerror}): the run goes on with ranges; give a shard_cache "
                    "with room"
                )
        finally:
            with self._state:
                self._fetching.pop(shard, None)
        return False

    def _let_go(self) -> None:
        """Close shards that were dropped from the disk: their space is free only then."""
        with self._lock:
            for shard in [n for n, held in self._open.items() if os.fstat(held.number).st_nlink == 0]:
                del self._open[shard]

    def _read(self, record: np.void, length: int, offset: int, crc: int, what: str = "") -> bytes:
        shard = int(record["shard"])
        if self._here(shard) or self._waited_for(shard):
            try:
                return super()._read(record, length, offset, crc, what)
            except (CorruptSample, FormatError):  # dropped meanwhile, or damaged: the bucket decides
                return self._instead(record, length, offset, crc, what)
        return self._from_bucket(record, length, offset, crc, what)

    def _from_bucket(self, record: np.void, length: int, offset: int, crc: int, what: str) -> bytes:
        shard = int(record["shard"])
        data = self._ranges.take(shard, offset, length)
        if data is not None:
            try:
                self._check(record, np.frombuffer(data, np.uint8), len(data), length, crc, what)
            except CorruptSample:
                data = None
        if data is None:
            data = self._store.read_range(self.names[shard], offset, length)
            self._check(record, np.frombuffer(data, np.uint8), len(data), length, crc, what)
        return bytes(data)

    def read_into(self, room: Callable[[int], NDArray[np.uint8]], record: np.void, level: int = 0) -> memoryview:
        length, crc = self._extent(record, level)
        offset = int(record["offset"])
        if self._here(int(record["shard"])):
            try:
                return super().read_into(room, record, level)
            except (CorruptSample, FormatError):
                data = self._instead(record, length, offset, crc, "")
        else:
            data = self._read(record, length, offset, crc)
        target = room(length)
        target[:] = np.frombuffer(data, np.uint8)
        return target.data

    def read_each(
        self, room: Callable[[int], NDArray[np.uint8]], wanted: Sequence[Extent | None]
    ) -> Iterator[memoryview | None]:
        yield from [None] * len(wanted)  # what is here and what is not is settled sample by sample

    def _waited_for(self, shard: int) -> bool:
        """Whether the shard came while this thread waited for it; not if it only stands in line."""
        found = self._fetching.get(shard)
        if found is None or not found.running():
            return False
        try:
            return found.result(_PATIENCE)
        except TimeoutError:
            return False

    def _instead(self, record: np.void, length: int, offset: int, crc: int, what: str) -> bytes:
        """From the bucket what the local shard does not hold as it should; where the bucket does, the shard goes, and is fetched anew.

        A shard that is damaged in the bucket stays: another copy of it would be no better.
        """
        shard = int(record["shard"])
        self.forget(shard)
        data = self._from_bucket(record, length, offset, crc, what)
        cache = self._cache
        if cache is not None:
            cache.drop(shard)
        return data

    def will_need(self, shard: int, offset: int, length: int) -> None:
        if self._here(shard):
            super().will_need(shard, offset, length)
        else:
            self._on_its_way(shard)

    def close(self) -> None:
        for pool in (self._lines, self._parts):
            pool.shutdown(wait=False, cancel_futures=True)
        self._ranges.close()
        super().close()

    def __exit__(self, *exception: Any) -> None:
        self.close()
