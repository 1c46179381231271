"""Batches in memory that two processes share: slots of anonymous files (memfd), passed by descriptor.

Nothing has a name in /dev/shm, so nothing collides and nothing is left behind when a process dies. The consumer owns the
slots. A slot is used again only when every array and tensor on it has been dropped, so keeping batches is safe: the ring
then grows. Slots lie in a few files that double in size, because every mapping costs a descriptor.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAP_NORESERVE = 0x4000  # of Linux: memory counts as it is written; mmap has no name for it before Python 3.13
_PAGE = mmap.PAGESIZE
_ALIGN = 64
_SPARE = 2  # slots beside those in flight: one in the consumer's hands, one that it has just dropped


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a slot: dtype, shape, and bytes: from the slot's start, and of its own."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of every slot, and its size in bytes (a multiple of the page)."""

    fields: Mapping[str, Field]
    size: int

    @classmethod
    def of(cls, arrays: Mapping[str, tuple[str, tuple[int, ...]]]) -> Layout:
        """Lay out name -> (dtype, shape), one after the other."""
        fields, offset = {}, 0
        for name, (dtype, shape) in arrays.items():
            length = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
            fields[name] = Field(np.dtype(dtype), shape, offset, length)
            offset += -(-length // _ALIGN) * _ALIGN
        return cls(fields, max(-(-offset // _PAGE) * _PAGE, _PAGE))

    def arrays(self, memory: NDArray[np.uint8], start: int) -> dict[str, NDArray[Any]]:
        """The arrays of the slot that starts at byte `start` of `memory`; they keep it alive."""
        found = {}
        for name, field in self.fields.items():
            part = memory[start + field.offset : start + field.offset + field.length]
            found[name] = part.view(field.dtype).reshape(field.shape)
        return found


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for a batch: `number` counts slots over all files, `start` is in bytes of its file's `memory`."""

    number: int
    start: int
    memory: NDArray[np.uint8]
    pages: mmap.mmap


def map_shared(descriptor: int, size: int) -> mmap.mmap:
    """Map a shared file; the descriptor may be closed afterwards."""
    return mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)


class Ring:
    """The consumer's slots.

    Args:
        layout: of every slot; in_flight: how many may be with the worker at once.
        pinned: slots may be page-locked for a GPU, so none gives its pages back: it would go on copying from those.
    """

    def __init__(self, layout: Layout, in_flight: int, pinned: bool = False) -> None:
        self.layout = layout
        self._free: deque[Slot] = deque()  # finalisers append to it from whatever thread: deque.append is atomic
        self._empty: deque[Slot] = deque()  # without memory: their pages went back to the system
        self._keep = in_flight + _SPARE
        self._pinned = pinned
        self.slots = 0

    def take(self) -> Slot | None:
        """A free slot, or None: then `grow` is due."""
        while len(self._free) > self._keep and not self._pinned:
            slot = self._free.popleft()
            slot.pages.madvise(mmap.MADV_REMOVE, slot.start, self.layout.size)
            self._empty.append(slot)
        if self._free:
            return self._free.pop()  # the last one used: its pages are still in the caches
        return self._empty.pop() if self._empty else None

    def grow(self) -> tuple[int, int, int]:
        """Add a file of as many slots as there are. Returns (descriptor, first slot's number, slots); the caller closes it."""
        count, first = max(self.slots, self._keep), self.slots
        size = count * self.layout.size
        descriptor = os.memfd_create("radload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            # The size can never change again: neither side can be hit by SIGBUS.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            pages = map_shared(descriptor, size)
        except BaseException:
            os.close(descriptor)
            raise
        memory = np.frombuffer(pages, np.uint8)
        self._empty.extend(Slot(first + i, i * self.layout.size, memory, pages) for i in reversed(range(count)))
        self.slots += count
        return descriptor, first, count

    def give_back(self, slot: Slot) -> None:
        """Make a slot free that was not lent."""
        self._free.append(slot)

    def lend(self, slot: Slot, *names: str) -> list[NDArray[Any]]:
        """Arrays `names` of a slot; it becomes free when all of them, and every tensor made of them, are gone."""
        arrays = self.layout.arrays(slot.memory, slot.start)
        left = list(
            range(len(names))
        )  # finalisers pop from it in whatever thread: list.pop is atomic, and one of them gets 0
        for name in names:
            # A tensor of torch.from_numpy(array) holds exactly this object as long as its storage lives.
            finaliser = weakref.finalize(arrays[name], _return, self._free, slot, left)
            finaliser.atexit = False
        return [arrays[name] for name in names]

    def arrays(self, slot: Slot) -> dict[str, NDArray[Any]]:
        """All arrays of a slot, for copying out of it before it is lent or given back."""
        return self.layout.arrays(slot.memory, slot.start)


def _return(free: deque[Slot], slot: Slot, left: list[int]) -> None:
    """One of a slot's lent arrays is gone; `left` counts down to 0."""
    if left.pop() == 0:
        free.append(slot)
