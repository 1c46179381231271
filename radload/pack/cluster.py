"""The shard jobs of a pack on a Dask `distributed` cluster (docs/cluster.md).

A task is a folder and a number: the worker reads the job from the private folder, and writes the shard as a local worker process does.
What crosses the network names no patient and no source file, and never holds the pseudonym key.
"""

from __future__ import annotations

import multiprocessing
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from radload.errors import RadloadError, UsageError
from radload.pack.display import Display
from radload.pack.flow import Made, run_shards, stopping
from radload.pack.options import PackOptions
from radload.pack.part import is_finished, is_left
from radload.pack.planned import read_head, read_job, write_planned
from radload.pack.stages import plan_id
from radload.pack.worker import Limits
from radload.pack.workspace import Workspace

if TYPE_CHECKING:
    import distributed

_CONNECT: Final = 30.0  # seconds
_WITHOUT_WORKERS: Final = (
    24 * 3600.0
)  # seconds that a pack waits while there is no worker: a batch system's queue is long
_LOOK: Final = 0.1  # seconds between looks at what is finished
_COUNT: Final = 5.0  # seconds between looks at whether there are workers


def write_shards_on_cluster(
    made: Made, options: PackOptions, limits: Limits, workspace: Workspace, display: Display
) -> int:
    """`flow.write_shards` by the workers of `options.scheduler`; returns the number of frames worked on.

    Each worker looks whether its shard is finished already. Waits a day for a worker: they may stand in a queue.

    Raises:
        UsageError: no scheduler answers, or workers that cannot do it.
        RadloadError: packing had to stop, or no worker came.
        Stopped: on Ctrl-C; tasks that run end with their shard.
    """
    if options.scheduler is None:
        raise ValueError("there is no scheduler")
    plan, private = plan_id(workspace.out), workspace.private
    write_planned(private, plan, options, made.files, made.plan.jobs)
    jobs = made.plan.jobs

    def state() -> str:
        there = sum(is_left(workspace.out, job.stem, job.name, job.digest) for job in jobs)
        return f"{there} of {len(jobs)} shards are finished; run the same command again to go on"

    done = worked = 0
    with stopping(state), _client(options) as client, _failures_said(options.scheduler, state):
        display.start(
            "packing" if client.nthreads() else "waiting for workers", sum(job.count for job in jobs), "slices"
        )
        run = secrets.token_hex(4)  # a run that was stopped may have left tasks with these names
        futures = client.map(
            _by_value(_task),
            range(len(jobs)),
            private=str(private),
            plan=plan,
            timeout=limits.timeout,
            memory=limits.memory,
            key=[f"{job.stem}-{run}" for job in jobs],
            retries=0,
        )
        try:
            frames = {future.key: job.count for future, job in zip(futures, jobs, strict=True)}
            for future in _as_completed(client, futures, state):
                worked += future.result()
                done += frames[future.key]
                display.reach(done)
        finally:
            client.cancel([future for future in futures if not future.done()])
    workspace.clean()  # what machines that were lost had begun to write
    return worked


def reach(options: PackOptions) -> None:
    """Nothing, where the scheduler answers. Raises UsageError."""
    with _client(options):
        pass


def _task(number: int, private: str, plan: str, timeout: float, memory: int | None) -> int:
    """`pack_remotely` for a machine that may have no radload: it travels as it stands, so it can fail in words where it cannot be
    imported, and a worker that is sent a name that it cannot import ends without a word."""
    from radload.pack.cluster import pack_remotely

    return pack_remotely(number, private, plan, timeout, memory)


def _by_value(function: Callable[..., int]) -> Callable[..., int]:
    """`function` as Dask sends what stands in a script: its code, not its name."""
    function.__module__ = "__main__"
    return function


def pack_remotely(number: int, private: str, plan: str, timeout: float, memory: int | None) -> int:
    """The task: write shard `number` of a plan, in a process of its own that a broken file may crash; returns the frames worked on.

    Raises:
        UsageError: the folder that this machine sees holds another plan, or other versions of the tools are installed here.
        RadloadError, OSError: as `flow.run_shards`.
    """
    _check_machine(private, plan)
    job = read_job(Path(private), number)
    if is_finished(job.out, job.stem, job.name, job.digest):
        return 0
    # Dask starts its workers as daemons, which may have no children; it ends them by itself, and ours end with them.
    multiprocessing.current_process().daemon = False
    run_shards((job,), 1, Limits(timeout, memory))
    return job.count


@lru_cache(maxsize=8)
def _check_machine(private: str, plan: str) -> None:
    head = read_head(Path(private))
    if head.plan != plan:
        raise UsageError(
            f"{private} holds another plan on a worker than here: let all machines see the same folders, under the same names"
        )


@contextmanager
def _client(options: PackOptions) -> Iterator[distributed.Client]:
    """A connection to the scheduler. Raises UsageError."""
    try:
        import distributed
    except ImportError:
        raise UsageError("--scheduler needs Dask: pip install 'radload[cluster]' here and on the cluster") from None
    address = options.scheduler
    security = None
    if options.tls_ca_file is not None:
        security = distributed.Security(
            tls_ca_file=str(options.tls_ca_file),
            tls_client_cert=str(options.tls_cert),
            tls_client_key=str(options.tls_key),
            require_encryption=True,
        )
    try:
        client = distributed.Client(address, security=security, timeout=_CONNECT, set_as_default=False, name="radload")
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        raise UsageError(
            f"--scheduler {address} does not answer ({type(error).__name__}): give the address that the Dask scheduler prints, and the PEM "
            "files it was started with where that is tls://"
        ) from None
    with client:
        yield client


@contextmanager
def _failures_said(address: str, state: Any) -> Iterator[None]:
    """What Dask says when a task or the scheduler is lost, as one sentence."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        yield
    except KilledWorker as error:
        raise RadloadError(
            f"the workers of {address} died {error.allowed_failures + 1} times while writing one shard (their logs say why; too little "
            f"memory?): {state()}"
        ) from None
    except FutureCancelledError:
        raise RadloadError(f"the scheduler {address} is gone: {state()}") from None
    except ImportError as error:
        raise UsageError(
            f"a worker of {address} cannot load the task (no module {error.name}): install the same radload[cluster] on all machines"
        ) from None


def _as_completed(client: distributed.Client, futures: list[Any], state: Callable[[], str]) -> Iterator[Any]:
    """The futures as they end. Raises RadloadError where there is no worker for `_WITHOUT_WORKERS`."""
    from distributed import as_completed

    ended = as_completed(futures, loop=client.loop)  # the client is nobody's default
    manned = counted = time.monotonic()
    while not ended.is_empty():
        some = ended.next_batch(block=False)
        now = time.monotonic()
        if some:
            manned = now
            yield from some
            continue
        time.sleep(_LOOK)
        if now - counted < _COUNT:
            continue
        counted = now
        with suppress(OSError, TimeoutError):  # a scheduler that is gone ends all futures
            manned = now if client.nthreads() else manned
        if now - manned > _WITHOUT_WORKERS:
            raise RadloadError(
                f"no worker has been at {client.scheduler.address} for {_WITHOUT_WORKERS / 3600:.3g} hours: start some, and give them "
                f"that address; {state()}"
            )
