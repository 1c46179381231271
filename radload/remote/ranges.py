"""Ranges of objects, asked for before they are read: what lies close together in one request, many requests at once."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from threading import Lock

from radload.errors import RadloadError
from radload.remote.store import Store

AT_ONCE = 64  # requests of one process: 64 of 60 kB in 50 ms are 77 MB/s, some 1,280 samples/s
_GAP = 128 << 10  # bytes that are read in vain rather than asked for apart
_LONGEST = 4 << 20  # bytes of a joined request
_REMEMBERED = 1 << 14  # ranges that were asked for and never read (a loader that was moved)

Bytes = bytes | memoryview
Key = tuple[int, int, int]  # shard, offset, length


class Ranges:
    """Safe to share between threads."""

    def __init__(self, store: Store, names: list[str]) -> None:
        self._store, self._names = store, names
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._found: OrderedDict[Key, tuple[Future[Bytes], int]] = OrderedDict()
        self._lock = Lock()

    def ask(self, shards: list[int], offsets: list[int], lengths: list[int]) -> int:
        """Begin to fetch ranges; returns the number of requests that takes. What fails shows when it is read."""
        requests: list[tuple[int, int, int, list[Key]]] = []  # shard, begin, end, ranges in it
        for key in sorted(zip(shards, offsets, lengths, strict=True)):
            shard, offset, length = key
            end = offset + length
            if requests:
                last, begin, stop, keys = requests[-1]
                if last == shard and offset - stop <= _GAP and end - begin <= _LONGEST:
                    requests[-1] = (shard, begin, max(stop, end), [*keys, key])
                    continue
            requests.append((shard, offset, end, [key]))
        for shard, begin, end, keys in requests:
            with self._lock:
                wanted = [key for key in keys if key not in self._found]
                if not wanted:
                    continue
                future = self._pool.submit(self._store.read_range, self._names[shard], begin, end - begin)
                for key in wanted:
                    self._found[key] = (future, begin)
                while len(self._found) > _REMEMBERED:
                    self._found.popitem(last=False)[1][0].cancel()
        return len(requests)

    def take(self, shard: int, offset: int, length: int) -> Bytes | None:
        """What was asked for, once; None: it was not, or could not be fetched."""
        with self._lock:
            found = self._found.pop((shard, offset, length), None)
        if found is None:
            return None
        future, begin = found
        try:
            data = future.result()
        except (RadloadError, CancelledError):
            return None
        return data[offset - begin : offset - begin + length]

    def close(self) -> None:
        """Drop what is not fetched yet."""
        self._pool.shutdown(wait=False, cancel_futures=True)
