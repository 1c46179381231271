"""Running the shard jobs in worker processes of this machine, and what ends that, in words."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Final

from radload.errors import RadloadError
from radload.pack.codes import DECODER_CRASHED, TIMEOUT
from radload.pack.display import Display
from radload.pack.executor import Died, Limits, run_jobs
from radload.pack.job import pack_shard
from radload.pack.options import PackOptions
from radload.pack.part import is_finished
from radload.pack.plan import Plan, ShardJob
from radload.pack.stopped import Stopped
from radload.pack.workspace import Workspace

_AGAIN: Final = "run the same command again"
_ERRNO: Final = re.compile(r"\[errno (\d+)\]", re.IGNORECASE)


def worker_count(options: PackOptions) -> int:
    """Processes on this machine: as many as it has cores for us, where nobody says."""
    return options.workers if options.workers is not None else len(os.sched_getaffinity(0))


@contextmanager
def disk_failures_are_said() -> Iterator[None]:
    """What the disk refuses outside of the shards (catalog, plan, index, labels, manifest) is one sentence too."""
    try:
        yield
    except OSError as error:
        raise RadloadError(
            f"packing stopped ({_why(error)}): mend that, for instance make room, and {_AGAIN} to go on"
        ) from None


def _why(error: OSError) -> str:
    """The system's own words, without the path that Python adds; Arrow has the number in its text alone."""
    said = _ERRNO.search(str(error))
    number = error.errno or (int(said[1]) if said else None)
    return os.strerror(number).lower() if number else "input/output error"


def write_shards(plan: Plan, workspace: Workspace, workers: int, limits: Limits, display: Display) -> int:
    """Run the jobs that are not finished yet; returns the number of frames worked on."""
    workspace.clean()
    finished = {job.stem for job in plan.jobs if is_finished(workspace.out, job.stem, job.name, job.digest)}
    waiting = [job for job in plan.jobs if job.stem not in finished]
    total, before = sum(job.count for job in plan.jobs), sum(job.count for job in plan.jobs if job.stem in finished)
    display.start("packing", total, "slices", before)
    try:
        with stopping(lambda: _stopped(plan, workspace)):
            run_shards(waiting, workers, limits, lambda done: display.reach(before + done))
    finally:
        workspace.clean()  # what workers that were ended had begun to write
    return total - before


def run_shards(
    jobs: Sequence[ShardJob], workers: int, limits: Limits, reach: Callable[[int], None] = lambda done: None
) -> None:
    """Run the jobs, again without the file that ended their worker twice. reach: told the frames that are done.

    Raises:
        RadloadError: a worker ended twice, and no file explains it.
        OSError: the output cannot be written.
    """
    ended = 0

    def tick(running: Mapping[int, int]) -> None:
        reach(ended + sum(running.values()))

    waiting = jobs
    while waiting:
        again: list[ShardJob] = []
        with closing(run_jobs(pack_shard, waiting, workers, tick, limits)) as results:
            for position, result in results:
                if isinstance(result, Died):
                    again.append(after_death(waiting[position], result))
                else:
                    ended += waiting[position].count
        waiting = again


@contextmanager
def stopping(state: Callable[[], str]) -> Iterator[None]:
    """What ends the writing of shards, in words. state: how far it is, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(f"stopped: {state()}") from None
    except OSError as error:
        raise RadloadError(f"packing stopped ({_why(error)}): {state()}") from None


def after_death(job: ShardJob, died: Died) -> ShardJob:
    """The job as it is to be run again: without the file that hung its worker, or that ended it for the second time.

    A crash has a second try, because an innocent file may have been read when the machine ran out of memory.
    """
    if died.item in job.skip or (died.item < 0 and died.item in job.tried):
        raise RadloadError(
            f"the worker that writes {job.name} ended twice, and no single file explains it (too little memory?): {_AGAIN} "
            "with fewer --workers"
        )
    if died.hung or died.item in job.tried:
        return replace(job, skip={**job.skip, died.item: TIMEOUT if died.hung else DECODER_CRASHED})
    return replace(job, tried=job.tried | {died.item})


def _stopped(plan: Plan, workspace: Workspace) -> str:
    finished = sum(is_finished(workspace.out, job.stem, job.name, job.digest) for job in plan.jobs)
    return f"{finished} of {len(plan.jobs)} shards are finished; {_AGAIN} to go on"
