"""Files read in this process, with a clock: nothing interrupts a system call on a stalled mount, so a thread makes it that is given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, Queue
from typing import Final, TypeAlias, TypeVar

from radload.errors import RadloadError

T = TypeVar("T")

Reading: TypeAlias = Callable[[str], None]  # told which file is read from now on; "": none

_TICK: Final = 0.25  # seconds between looks
_AWAKE: Final = (
    1.0  # of a longer time between looks only this counts: this process was stopped, and not the file system
)


def unwatched(path: str) -> None:
    """Nobody looks at the clock."""


def watched(work: Callable[[Reading], T], timeout: float) -> T:
    """What `work` returns, or raises. It says what it reads, each time that it gets on with it.

    Args:
        timeout: seconds for which it may say nothing more while it is at a file, the value of --timeout.

    Raises:
        RadloadError: no answer within that time.
    """
    said: list[tuple[int, str]] = [(0, "")]  # how often, and the last
    ended: Queue[tuple[T | None, BaseException | None]] = Queue()

    def reading(path: str) -> None:
        said[0] = (said[0][0] + 1, path)

    def run() -> None:
        try:
            ended.put((work(reading), None))
        except BaseException as error:  # noqa: BLE001 - raised where the result is wanted
            ended.put((None, error))

    threading.Thread(target=run, daemon=True, name="radload reading").start()
    silent, seen, last = 0.0, said[0], time.monotonic()
    while True:
        try:
            result, error = ended.get(timeout=min(_TICK, timeout))
        except Empty:
            passed, last = min(time.monotonic() - last, _AWAKE), time.monotonic()
            silent = silent + passed if said[0] == seen and seen[1] else 0.0
            seen = said[0]
            if silent > timeout:
                raise RadloadError(
                    f"{seen[1]} does not answer: {timeout:g} seconds without anything of it; see to its file system and run the same "
                    "command again, or give a longer --timeout"
                ) from None
            continue
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # without an error it is a T
