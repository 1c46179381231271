"""A cache in memory that a loader process and those forked from it share, and that ends with them.

Laid out as `arena`'s file is: header page, table, pixels. Who reads takes no lock: pixels are written before their slot, and a slot that
is being written does not match its checksum.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.loading.cache import table
from radload.loading.cache.table import PAGE
from radload.loading.ring import MAP_NORESERVE

_USED = struct.Struct("<Q")  # where the next image goes
_ALIGN = 64


class MemoryCache:
    """See the module. A hit copies nothing.

    Args:
        limit: bytes, the table included; the system gives them as they are written.
        lock: of all processes and threads that use it; it is taken for a few microseconds, to keep an image.
    """

    def __init__(self, limit: int, warn: Callable[[str], None], lock: AbstractContextManager[Any]) -> None:
        self._buckets, self._lock = table.buckets(limit), lock
        start = PAGE * (1 + self._buckets)
        self._limit = max(limit, start)
        flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        try:
            self._memory = mmap.mmap(-1, self._limit, flags)
        except (OSError, MemoryError) as error:
            self._limit = start = PAGE * (1 + table.buckets(0))
            self._buckets = table.buckets(0)
            self._memory = mmap.mmap(-1, self._limit, flags)
            warn(f"the cache takes no images ({error}): the run goes on without it; give a smaller cache_bytes")
        self._pixels = np.frombuffer(self._memory, np.uint8)
        _USED.pack_into(self._memory, 0, start)

    def get(self, row: int, level: int, pivot: float) -> NDArray[Any] | None:
        """Read-only, of the cache's own memory."""
        key = table.key(row, level, pivot)
        kept = table.read(self._page(key), key)
        if kept is None:
            return None
        dtype = np.dtype(kept.dtype)
        length = dtype.itemsize * kept.shape[0] * kept.shape[1]
        pixels = self._pixels[kept.offset : kept.offset + length].view(dtype).reshape(kept.shape)
        pixels.flags.writeable = False
        return pixels

    def has(self, row: int, level: int, pivot: float) -> bool:
        key = table.key(row, level, pivot)
        return table.find(self._page(key), key) >= 0

    def put(self, row: int, level: int, pivot: float, content: NDArray[Any]) -> None:
        key, size = table.key(row, level, pivot), content.nbytes
        at = PAGE * (1 + table.bucket(key, self._buckets))
        with self._lock:
            page = self._memory[at : at + PAGE]
            (offset,) = _USED.unpack_from(self._memory, 0)
            end = offset + -(-size // _ALIGN) * _ALIGN
            if end > self._limit or table.find(page, key) >= 0 or table.free(page) < 0:
                return
            _USED.pack_into(self._memory, 0, end)
        self._pixels[offset : offset + size].view(content.dtype).reshape(content.shape)[...] = content
        slot = table.slot(key, content, offset, 0)
        with self._lock:
            page = self._memory[at : at + PAGE]
            place = table.free(page)
            if place >= 0 and table.find(page, key) < 0:  # or another process was faster
                self._memory[at + place : at + place + len(slot)] = slot

    def _page(self, key: bytes) -> bytes:
        at = PAGE * (1 + table.bucket(key, self._buckets))
        return self._memory[at : at + PAGE]
