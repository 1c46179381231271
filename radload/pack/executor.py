"""Runs jobs in worker processes and survives their death: a decoder that crashes or hangs costs the job that it was at, not the run."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Final, Self

from radload.errors import RadloadError
from radload.pack.worker import Beat, Died, Job, Limits, Result, Worker

__all__ = ["Beat", "Crew", "Died", "Limits", "run_jobs"]

_TICK: Final = 0.25  # seconds between looks at the workers
_AWAKE: Final = 1.0  # of a longer time between looks only this counts: this process was stopped, and its workers too

Tick = Callable[[Mapping[int, int]], None]


class Crew:
    """Worker processes that stay when their jobs are done, for those of the next `run_jobs`. A context, at whose end they end."""

    def __init__(self) -> None:
        self.workers: list[Worker[Any, Any]] = []

    def __enter__(self) -> Self:
        return self

    def dismiss(self) -> None:
        """No more jobs come; nobody waits until the processes have ended."""
        for worker in self.workers:
            worker.dismiss()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.dismiss()  # all first: each takes milliseconds to end
        while self.workers:
            self.workers.pop().end(now=kind is not None)


def run_jobs(
    function: Callable[[Job, Beat], Result],
    jobs: Sequence[Job],
    workers: int,
    tick: Tick = lambda done: None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    crew: Crew | None = None,
) -> Generator[tuple[int, Result | Died], None, None]:
    """Yield (position, result) of every job as it ends; an exception of `function` is raised here.

    A worker that ends without a result, or makes no progress for `limits.timeout` seconds and is killed for it, is replaced; the
    result of its job is `Died`. No other job notices.

    Args:
        function: importable by name. Called with a job and `beat`, which it calls with (item, items done) when it begins an item and
            with (-1, items done) when it is at none: time runs against it only while it is at an item.
        jobs: picklable.
        workers: processes; 0 runs the jobs in this process, without protection.
        tick: called a few times a second with {position: items done} of the jobs that run.
        crew: whose workers are used, and stay in it; their limits are those that they were started with.

    Raises:
        RadloadError: worker processes cannot be started.
    """
    if workers == 0:
        yield from _run_here(function, jobs, tick)
        return
    with Crew() if crew is None else nullcontext(crew) as own:
        yield from _run(function, jobs, workers, tick, limits, own.workers)


def _run(
    function: Callable[[Job, Beat], Result],
    jobs: Sequence[Job],
    workers: int,
    tick: Tick,
    limits: Limits,
    crew: list[Worker[Any, Any]],
) -> Generator[tuple[int, Result | Died], None, None]:
    waiting = deque(range(len(jobs)))
    last = time.monotonic()
    try:
        while waiting or any(worker.position is not None for worker in crew):
            _man(crew, function, jobs, waiting, workers, limits)
            wait([worker.connection for worker in crew if not worker.idle], _TICK)
            passed, last = min(time.monotonic() - last, _AWAKE), time.monotonic()
            tick({worker.position: worker.done for worker in crew if worker.position is not None})
            for worker in tuple(crew):
                position = worker.position
                answer = None if worker.idle else worker.look(passed)
                if isinstance(answer, Died):
                    crew.remove(worker)
                    worker.end(now=True)
                    yield _blamed(position), answer
                elif answer is not None:
                    if answer.error is not None:
                        raise answer.error
                    yield _blamed(position), answer.result  # type: ignore[misc]  # without an error it is a Result
    finally:
        for worker in [worker for worker in crew if worker.position is not None]:
            crew.remove(worker)
            worker.end(now=True)


def _man(
    crew: list[Worker[Any, Any]],
    function: Callable[[Job, Beat], Result],
    jobs: Sequence[Job],
    waiting: deque[int],
    workers: int,
    limits: Limits,
) -> None:
    """A worker for every job that can run now, and a job for every idle worker."""
    for worker in tuple(crew):
        if worker.idle and waiting:
            if worker.give(function, waiting[0], jobs[waiting[0]]):
                waiting.popleft()
            else:  # it ended between two jobs: nobody's fault
                crew.remove(worker)
                worker.end(now=True)
    starting = sum(not worker.ready for worker in crew)
    while len(crew) < workers and starting < len(waiting):
        crew.append(Worker(limits))
        starting += 1


def _blamed(position: int | None) -> int:
    """A worker that cannot even start must not be blamed on the first file that it was to read."""
    if position is None:
        raise RadloadError(
            'worker processes cannot be started: in a script, call radload under `if __name__ == "__main__":`, '
            "or run in one process with --workers 0"
        )
    return position


def _run_here(
    function: Callable[[Job, Beat], Result], jobs: Sequence[Job], tick: Tick
) -> Generator[tuple[int, Result], None, None]:
    for position, job in enumerate(jobs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values of the files
            result = function(job, _no_beat)
        tick({})
        yield position, result


def _no_beat(item: int, done: int) -> None:
    """Nobody watches a job in this process."""
