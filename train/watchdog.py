"""Says which rank waits for what when nothing goes on: a thread per rank, which looks at what its rank has been doing, and since when."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

_LOOKS = 4  # in the time after which it speaks


class Watchdog:
    """Each rank says on stderr "rank 3 of 8 waits for data since 312 s", and again each time as much time has passed.

    Where one rank hangs, the others wait for it in a step: the one that says something else is the one to look at.
    """

    def __init__(self, rank: int, world: int, minutes: float, write: Callable[[str], object] | None = None) -> None:
        self._who, self._limit = f"rank {rank} of {world}", 60 * minutes
        self._write = write or sys.stderr.write
        self._doing = ("starts", time.monotonic())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def doing(self, what: str) -> None:
        """From now on this rank does `what`: "waits for data", "trains". Costs a clock reading."""
        self._doing = (what, time.monotonic())

    def _watch(self) -> None:
        said: tuple[tuple[str, float], int] | None = None
        while not self._over.wait(self._limit / _LOOKS):
            doing = self._doing
            what, since = doing
            times = int((time.monotonic() - since) / self._limit)
            if times and said != (doing, times):
                said = (doing, times)
                self._write(f"{self._who} {what} since {time.monotonic() - since:.0f} s\n")

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()
