"""Source files asked of the system before their turn comes: a disk or a server answers while the file before is encoded.

Threads do it, several because opening a file on a server takes a turn of its own. What stalls or fails there shows when the file is read.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Final, Self

AHEAD: Final = 8  # files
_THREADS: Final = 4
_WHOLE: Final = 16 << 20  # bytes of a file that are asked for; the system reads on by itself
_SEEN: Final = 8  # files in a row that lay in memory, after which only
_EVERY: Final = 32  # each so many is looked at: in 100 slices that took a fiftieth of a pack's time when all were

# Over all passes of this process. Threads may miscount the first, which costs a look.
_in_a_row = 0  # files that lay in memory
_passed = 0  # files since the last look


class Fetch:
    """A context for one pass over files: `next()` before each of them is read, in order.

    Files that lie in the page cache already cost a look, and after a few of them hardly that.
    """

    def __init__(self, root: Path, sources: Sequence[str], limit: int = _WHOLE) -> None:
        """
        Args:
            sources: relative to `root`, in the order of reading. limit: bytes of each that will be read.
        """
        self._root, self._sources, self._limit = root, sources, limit
        self._turn = 0
        self._wanted: SimpleQueue[str | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for place in range(1, AHEAD):  # the first is read at once
            self._want(place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Empty):
            while True:  # what nobody waits for any more
                self._wanted.get_nowait()
        for _ in self._threads:
            self._wanted.put(None)  # they end by themselves: one may be stuck in a file system that does not answer

    def next(self) -> None:
        """A file's turn has come."""
        self._want(self._turn + AHEAD)
        self._turn += 1

    def _want(self, place: int) -> None:
        global _passed
        if place >= len(self._sources):
            return
        _passed += 1
        if _in_a_row >= _SEEN and _passed < _EVERY:
            return
        _passed = 0
        if len(self._threads) < _THREADS:
            self._threads.append(threading.Thread(target=self._run, daemon=True, name="radload fetch"))
            self._threads[-1].start()
        self._wanted.put(self._sources[place])

    def _run(self) -> None:
        while (source := self._wanted.get()) is not None:
            with suppress(OSError, ValueError):
                self._ask(self._root / source)

    def _ask(self, path: Path) -> None:
        global _in_a_row
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not found.st_size:
                return
            wanted = min(found.st_size, self._limit)
            if _in_memory(descriptor, wanted - 1):
                _in_a_row += 1
                return
            _in_a_row = 0
            os.posix_fadvise(descriptor, 0, wanted, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _in_memory(descriptor: int, place: int) -> bool:
    """Whether a byte of a file is in the page cache; False where the file system does not say."""
    try:
        return os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT) == 1
    except OSError:  # EAGAIN: it is not; EOPNOTSUPP
        return False
