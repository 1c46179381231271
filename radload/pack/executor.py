"""Runs jobs in worker processes and survives their death: a crash in a decoder costs the job that crashed, not the run.

Processes come from a fork server that has imported the readers once: a fresh worker costs milliseconds, and no state of this process.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerContext
from typing import Final, TypeVar

from radload.errors import RadloadError

Job = TypeVar("Job")
Result = TypeVar("Result")

_PRELOAD: Final = ["radload.pack.catalog_rows", "radload.pack.job"]
_TICK: Final = 0.25  # seconds between looks at the progress


class Died:
    """Stands for the result of a job during which its worker process ended, twice."""


DIED: Final = Died()


def run_jobs(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    tick: Callable[[], None] = lambda: None,
) -> Generator[tuple[int, Result | Died], None, None]:
    """Yield (position, result) of every job as it ends; an exception of `function` is raised here.

    A worker that ends without a result breaks the pool. The jobs that were under way are then run again one by one, each alone
    in a new process; one that ends it again has the result `DIED`.

    Args:
        function: importable by name; jobs: picklable.
        workers: processes; 0 runs the jobs in this process.
        tick: called a few times a second while jobs run.
    """
    if workers == 0:
        for position, job in enumerate(jobs):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they quote values of the files
                result = function(job)
            tick()
            yield position, result
        return
    waiting = deque(range(len(jobs)))
    while waiting:
        suspects = yield from _run_pool(function, jobs, waiting, workers, tick)
        for position in suspects:
            alone = deque([position])
            died = yield from _run_pool(function, jobs, alone, 1, tick)
            if died:
                yield position, DIED


def _run_pool(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    waiting: deque[int],
    workers: int,
    tick: Callable[[], None],
) -> Generator[tuple[int, Result | Died], None, list[int]]:
    """Take jobs from `waiting` until it is empty or the pool breaks; returns the positions that were under way then."""
    context = multiprocessing.get_context("forkserver")
    _preload(context)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, len(waiting)), context, _start_worker)
    running: dict[Future[Result], int] = {}
    try:
        _check_start(pool)
        while waiting or running:
            while waiting and len(running) < workers + 2:  # a few ahead: none waits for this process
                running[pool.submit(function, jobs[waiting[0]])] = waiting[0]
                waiting.popleft()
            done, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
            tick()
            for future in done:
                result = future.result()
                yield running.pop(future), result
    except BrokenProcessPool:
        finished = [future for future in running if future.done() and future.exception() is None]
        for future in finished:
            yield running.pop(future), future.result()
        return sorted(running.values())
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _check_start(pool: ProcessPoolExecutor) -> None:
    """A worker that cannot even start must not be blamed on the first file that it was to read."""
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        raise RadloadError(
            'worker processes cannot be started: in a script, call radload under `if __name__ == "__main__":`, '
            "or run in one process with --workers 0"
        ) from None


def _preload(context: ForkServerContext) -> None:
    context.set_forkserver_preload(_PRELOAD)


def _start_worker() -> None:
    """Make a process a worker: it ends with its parent and on Ctrl-C, and says nothing.

    What decoders and parsers print or warn quotes the files that they read, names of patients included.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
