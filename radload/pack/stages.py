"""A pack in three commands, for clusters whose jobs know nothing of each other: plan, then shares of the shards, then finish."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from radload.dataset.files import disk_failures_are_said
from radload.dataset.manifest import MANIFEST, read_manifest
from radload.errors import RadloadError, UsageError
from radload.pack.compact import SourceFiles
from radload.pack.device import find_device
from radload.pack.display import Display
from radload.pack.flow import finish_pack, make, run_shards, spare_core, stopping
from radload.pack.masks import mask_patterns
from radload.pack.options import PackOptions, check, in_a_folder
from radload.pack.part import PACKING, is_finished, is_left
from radload.pack.planned import Head, Jobs, read_head, read_outlines, read_walk, write_planned
from radload.pack.prepare import reuse_notes
from radload.pack.private import default_private
from radload.pack.summary import PackSummary, already_packed
from radload.pack.walk import walk
from radload.pack.worker import Limits
from radload.pack.workspace import State, Workspace, check_folders, lock_folder


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What is to be packed; slices: of which some may turn out to be unreadable."""

    shards: int
    slices: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShareSummary:
    """A share: its shards, of them those that were finished before, slices worked on, seconds, what the user should know."""

    shards: int
    finished: int
    slices: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """Every `parts`-th shard, from shard `number` on."""

    number: int
    parts: int


def plan(options: PackOptions, console: Console | None = None) -> PlanSummary:
    """Scan, divide and plan as `pack` does, and leave the shards to `pack_share`, or to a `pack` with the same options.

    Raises:
        UsageError: an option, folder or table that cannot be used.
        Stopped: on Ctrl-C.
    """
    in_a_folder(options, "radload plan")
    checked = check(options)
    folders = check_folders(options)
    if folders.state is State.FINISHED:
        raise UsageError(f"--out {folders.out} holds a data set that is finished: give another --out")
    files = SourceFiles(walk(folders.source, checked.limits.timeout))
    if not files:
        raise UsageError(f"--src {options.source} is an empty folder: give the folder with the images")
    mask_patterns(options.masks, files)
    with Workspace(folders, checked.key) as workspace, Display(console) as display, disk_failures_are_said("planning"):
        made = make(options, checked, folders, files, workspace, display)
        write_planned(workspace.private, plan_id(workspace.out), options, files, made.plan.jobs)
    jobs = made.plan.jobs
    return PlanSummary(len(jobs), sum(job.count for job in jobs), (*made.division.notes, *reuse_notes(made.scan)))


def parse_share(text: str) -> Share:
    """ "3/16": the fourth of 16 shares. Raises UsageError."""
    number, slash, parts = text.partition("/")
    if not (slash and number.isdecimal() and parts.isdecimal() and int(number) < int(parts)):
        raise UsageError(
            f"--job {text} is no share: give NUMBER/SHARES with a number from 0 on, such as 3/16 (a Slurm array of 16: --array=0-15)"
        )
    return Share(int(number), int(parts))


def pack_share(
    out: Path,
    private: Path | None,
    share: Share,
    limits: Limits,
    workers: int | None = None,
    console: Console | None = None,
    decode_device: str = "cpu",
) -> ShareSummary:
    """Write a share of the shards that `plan` has planned; those that are finished stay as they are.

    Shares need nothing of each other: any order, any number at a time, on any machines that see the three folders.

    Raises:
        UsageError: there is no plan, or it is of other versions of the tools.
        RadloadError: packing had to stop.
        Stopped: on Ctrl-C.
    """
    started = time.monotonic()
    out, private = out.resolve(), (private or default_private(out)).resolve()
    head = check_planned(out, private)
    mine = range(share.number, head.jobs, share.parts)
    outlines = read_outlines(private)
    processes = len(os.sched_getaffinity(0)) if workers is None else workers
    device = find_device(decode_device)
    lock = lock_folder(out, shared=True)
    try:
        with Display(console) as display:
            display.start("looking", len(mine), "shards")
            waiting = []
            for number in mine:
                one = outlines[number]
                if not is_finished(out, one.stem, one.name, one.digest):
                    waiting.append(number)
                display.advance(1)
            waiting.sort(key=lambda number: outlines[number].frames, reverse=True)
            slices = sum(outlines[number].frames for number in waiting)
            display.start("packing", slices, "slices")
            with stopping(lambda: _of_share(out, private, mine)):
                run_shards(Jobs(private, waiting, spare_core(processes)), processes, limits, display.reach, device)
    finally:
        os.close(lock)
    notes = () if device is None else device.account.notes()
    return ShareSummary(len(mine), len(mine) - len(waiting), slices, time.monotonic() - started, notes)


def finish(
    out: Path, private: Path | None = None, workers: int | None = None, console: Console | None = None
) -> PackSummary:
    """Make a data set of the shards that all shares have written. A data set that is finished is left alone.

    Raises:
        UsageError: there is no plan, or a file that its options name has changed.
        RadloadError: shards are missing.
    """
    started = time.monotonic()
    out, private = out.resolve(), (private or default_private(out)).resolve()
    if (out / MANIFEST).is_file():
        return already_packed(read_manifest(out))
    head = check_planned(out, private)
    options = replace(head.options, out=out, private=private, workers=workers)
    in_a_folder(options, "radload finish")
    checked = check(options)
    folders = check_folders(options)
    with Workspace(folders, checked.key) as workspace, Display(console) as display, disk_failures_are_said("finishing"):
        _check_all_there(out, private)
        made = make(options, checked, folders, read_walk(private), workspace, display)
        workspace.clean()  # what workers that were ended had begun to write
        return finish_pack(options, workspace, made, 0, started)  # slices: not by this command


def plan_id(out: Path) -> str:
    """Id of the plan that is under way in a data set. Raises UsageError."""
    try:
        return (out / PACKING / "plan").read_text("ascii")
    except OSError:
        raise UsageError(
            f"--out {out} holds no pack that is under way: give the folder that `radload plan` was given"
        ) from None


def check_planned(out: Path, private: Path) -> Head:
    """The plan in `private`, which is that of `out`. Raises UsageError."""
    head = read_head(private)
    if plan_id(out) != head.plan:
        raise UsageError(f"{private} holds the plan of another --out than {out}: give the right one by --private")
    return head


def _check_all_there(out: Path, private: Path) -> None:
    outlines = read_outlines(private)
    missing = [number for number, one in enumerate(outlines) if not is_left(out, one.stem, one.name, one.digest)]
    if missing:
        few = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
        raise RadloadError(
            f"{len(missing):,} of {len(outlines):,} shards are not finished (number {few}; share I of N has those with number % N = I): "
            "run `radload pack --job` for them again, then `radload finish`"
        )


def _of_share(out: Path, private: Path, mine: range) -> str:
    outlines = read_outlines(private)
    there = sum(is_left(out, outlines[n].stem, outlines[n].name, outlines[n].digest) for n in mine)
    return f"{there} of {len(mine)} shards of this share are finished; run the same command again to go on"
