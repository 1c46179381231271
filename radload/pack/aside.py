"""A thread beside the one that packs, for what needs no Python: hashes and writes. Worth while where a core would be idle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

T = TypeVar("T")

_AHEAD: Final = 4  # calls that may wait: two slices, whatever their size


class Later(Generic[T]):
    """The result of a call that is under way."""

    __slots__ = ("_done", "_error", "_function", "_result")

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._error: BaseException | None = None
        self._done = threading.Lock()  # held until the call has ended; an Event costs ten times as much
        self._done.acquire()

    def run(self) -> None:
        """Make the call."""
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self._error = error
        self._done.release()

    def result(self) -> T:
        """What the call returned, or raised; waits for it."""
        with self._done:
            if self._error is not None:
                raise self._error
            return self._result


class Aside:
    """A context: calls run one after the other in a thread of its own, in the order in which they were given.

    Leaving it ends the thread. Where its block fails, the writes that still wait are left out.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._failed: BaseException | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="radload aside")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up = kind is not None
        self._calls.put(None)
        self._thread.join()

    def call(self, function: Callable[[], T]) -> Later[T]:
        """Have `function()` called, whatever becomes of writes."""
        later = Later(function)
        self._give(later.run)
        return later

    def write(self, function: Callable[[bytes], None], *pieces: bytes) -> None:
        """Have `function` called with each of `pieces`, unless an earlier write failed: then that is raised here."""
        self._raise()
        self._give(lambda: self._write(function, pieces))

    def wait(self) -> None:
        """Until all is done. Raises what a write raised."""
        self.call(_nothing).result()
        self._raise()

    def _give(self, call: Callable[[], None]) -> None:
        self._room.acquire()
        self._calls.put(call)

    def _write(self, function: Callable[[bytes], None], pieces: tuple[bytes, ...]) -> None:
        if self._failed is not None or self._given_up:
            return
        try:
            for piece in pieces:
                function(piece)
        except BaseException as error:  # noqa: BLE001 - it is raised by the next write
            self._failed = error

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            self._room.release()


def _nothing() -> None:
    """A call that ends when those before it have."""
