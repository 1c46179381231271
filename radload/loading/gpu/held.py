"""Which decoded levels lie in a GPU's memory: the loader process keeps the directory, since it is what decides what to read and send.

What is kept stays: draws come from all over the split, so the first images to fill the memory are as good as any. A place is given
out when a batch takes its image along, and counts once the consumer has said that the batch was copied there; batches that it gave
up leave theirs free.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

ALIGN = 64
ALL = -1  # in place of a batch's number: what is kept cannot be trusted
Key = tuple[int, int, float]  # row, level, pivot: as of cache.Cache


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image of (rows, cols) values of a type numbered as in kernels.gpu.DTYPE_CODES, `offset` bytes from the memory's start."""

    offset: int
    dtype: int
    rows: int
    cols: int


class Held:
    """The directory of `limit` bytes. Safe to share between threads."""

    def __init__(self, limit: int) -> None:
        self._limit, self._end = limit, 0
        self._ready: dict[Key, HeldImage] = {}
        self._waiting: dict[Key, tuple[int, HeldImage, int]] = {}  # batch, image, bytes
        self._holes: dict[int, list[int]] = {}  # bytes -> offsets of what was given up
        self._lock = Lock()

    def find(self, key: Key) -> HeldImage | None:
        """An image that a batch planned from now on may be rendered from."""
        return self._ready.get(key)

    def reserve(self, key: Key, batch: int, length: int, dtype: int, shape: tuple[int, int]) -> int | None:
        """Where the consumer should keep an image that comes with `batch`; None where it should not."""
        length = -(-length // ALIGN) * ALIGN
        with self._lock:
            if key in self._ready or key in self._waiting:
                return None
            holes = self._holes.get(length)
            if holes:
                offset = holes.pop()
            elif self._end + length <= self._limit:
                offset, self._end = self._end, self._end + length
            else:
                return None
            self._waiting[key] = (batch, HeldImage(offset, dtype, *shape), length)
            return offset

    def settle(self, done: Iterable[int], gone: Iterable[int], oldest: int) -> None:
        """Batches `done` have been copied; batches `gone`, and all others before `oldest`, never will be. ALL: nothing is kept any more."""
        copied, lost = set(done), set(gone)
        with self._lock:
            if ALL in lost:
                self._limit, self._ready, self._waiting, self._holes = 0, {}, {}, {}
            for key, (batch, image, length) in list(self._waiting.items()):
                if batch in copied:
                    self._ready[key] = image
                elif batch in lost or batch < oldest:
                    self._holes.setdefault(length, []).append(image.offset)
                else:
                    continue
                del self._waiting[key]
