"""One worker process: what its owner knows of it, and what runs in it.

Processes come from a fork server that has imported the readers once: a fresh worker costs milliseconds, and no state of this process.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import resource
import signal
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, Generic, TypeAlias, TypeVar

from radload.errors import RadloadError
from radload.preload import PRELOAD

Job = TypeVar("Job")
Result = TypeVar("Result")
Beat: TypeAlias = Callable[[int, int], None]  # (item that is begun, or -1: none; items done so far)

DEVICE: Final = -2  # in place of an item: a GPU is at work, for no file in particular

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT: Final = 64 << 20  # bytes that a worker may hold freed
_MAPPED: Final = 32 << 20  # bytes of an allocation that goes back to the system when it is freed
_TRIES: Final = 3  # to start a process
_PATIENCE: Final = 5.0  # seconds for a process to end that was told to


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may take: seconds without a beat while it is at an item, and bytes of memory (None: any)."""

    timeout: float = 120.0
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """Stands for the result of a job during which its worker ended.

    Attributes:
        item: what the job was at (its last beat), -1 where at nothing, DEVICE where it waited for a GPU.
        hung: it was killed because it made no progress; otherwise it ended by itself, which is a crash.
    """

    item: int
    hung: bool


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """What a worker sends: its result, or the exception of the job's function."""

    result: Result | None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Function:
    """What a worker is sent before jobs of another kind."""

    call: Callable[[Any, Beat], Any]


class Worker(Generic[Job, Result]):
    """A worker process as its owner sees it: starting, idle, or at the job `position`."""

    def __init__(self, limits: Limits) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOAD))
        self.position: int | None = None
        self.ready = False
        self._function: Callable[[Job, Beat], Result] | None = None  # that it has
        self._timeout, self._silent = limits.timeout, 0.0
        self._pulse = context.RawArray("q", (-1, 0))  # shared: item, items done. A beat costs no system call
        self._seen = (-1, 0)
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, self._pulse, limits.memory), daemon=True, name="radload worker"
        )
        self._start()
        theirs.close()  # so that the end of the process ends the connection

    def _start(self) -> None:
        """The fork server may be killed as any process may: it is started anew."""
        for attempt in range(_TRIES):
            try:
                self._process.start()
                return
            except (EOFError, ConnectionError):
                if attempt == _TRIES - 1:
                    raise RadloadError(
                        "worker processes cannot be started, because the process that makes them was ended: run the same command again"
                    ) from None

    @property
    def idle(self) -> bool:
        """Ready for a job."""
        return self.ready and self.position is None

    @property
    def done(self) -> int:
        """Items of the present job that are done."""
        return int(self._pulse[1])

    def give(self, function: Callable[[Job, Beat], Result], position: int, job: Job) -> bool:
        """Hand over a job; False where the process has ended meanwhile. A function is sent once: it may keep something in its process."""
        self._pulse[0], self._pulse[1], self._silent = -1, 0, 0.0
        try:
            if self._function is not function:
                self.connection.send(_Function(function))
                self._function = function
            self.connection.send(job)
        except OSError:
            return False
        self.position = position
        return True

    def look(self, passed: float) -> Answer[Result] | Died | None:
        """What became of it since the last look, `passed` seconds ago; None for nothing new. A worker that died is at no job any more."""
        if self.connection.poll():
            try:
                message = self.connection.recv()
            except (EOFError, OSError):
                return Died(int(self._pulse[0]), hung=False)
            if not self.ready:
                self.ready = True
                return None
            self.position = None
            answer: Answer[Result] = message
            return answer
        seen = (int(self._pulse[0]), int(self._pulse[1]))
        self._silent = self._silent + passed if seen == self._seen and seen[0] != -1 else 0.0
        self._seen = seen
        return Died(seen[0], hung=True) if self._silent > self._timeout else None

    def dismiss(self) -> None:
        """Tell the process that no more jobs come."""
        with suppress(OSError):  # it has ended already
            self.connection.send(None)

    def end(self, *, now: bool) -> None:
        """Wait for the end of the process: `now` by force, also where it is stopped or hangs; else it was dismissed, and ends by itself."""
        if now:
            self._process.kill()
        self._process.join(_PATIENCE)
        self.connection.close()


def _work(connection: Connection, pulse: Any, memory: int | None) -> None:
    """The life of a worker process: functions and their jobs until None comes, or the owner is gone."""
    _settle(memory)
    function: Callable[[Any, Beat], Any] = _nothing

    def beat(item: int, done: int) -> None:
        pulse[1] = done
        pulse[0] = item

    try:
        connection.send(None)  # ready
        while (job := connection.recv()) is not None:
            if isinstance(job, _Function):
                function = job.call
                continue
            answer = _answer(function, job, beat)
            try:
                connection.send(answer)
            except (TypeError, AttributeError, ValueError) as error:  # what pickle raises
                connection.send(Answer(None, RuntimeError(f"the answer cannot be sent ({type(error).__name__})")))
    except (EOFError, OSError):
        return


def _nothing(job: object, beat: Beat) -> None:
    """Until there is a function."""


def _answer(function: Callable[[Job, Beat], Result], job: Job, beat: Beat) -> Answer[Result]:
    try:
        return Answer(function(job, beat))
    except Exception as error:  # noqa: BLE001 - it is raised in the owner
        error.add_note("in a worker process:\n" + "".join(traceback.format_tb(error.__traceback__)))
        return Answer(None, error)


def _settle(memory: int | None) -> None:
    """Make a process a worker: it ends with its parent and on Ctrl-C, keeps to its memory, and says nothing.

    What decoders and parsers print or warn quotes the files that they read, names of patients included.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold pixels and names
    _keep_pages()
    if memory is not None:
        _limit_memory(memory)


def _keep_pages() -> None:
    """Slice after slice takes and frees the same few megabytes: given back each time, their pages would be cleared anew for each slice."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # the GNU C library's
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def _limit_memory(memory: int) -> None:
    """Private writable memory, from here on: beyond it an allocation fails instead of the machine."""
    import pyarrow

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # the default one reserves 1 GiB, used or not, which counts
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = memory if highest == resource.RLIM_INFINITY else min(memory, highest)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
