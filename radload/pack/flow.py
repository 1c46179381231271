"""`radload pack`, top to bottom: look at the folders, scan, divide the patients, plan, write the shards, finish."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from radload.dataset.files import disk_failure, disk_failures_are_said
from radload.dataset.manifest import Manifest, read_manifest, write_manifest
from radload.dataset.schema import SPLITS
from radload.errors import RadloadError, UsageError
from radload.pack import privacy, quarantine
from radload.pack.before import Before, NothingNew
from radload.pack.catalog import Scan, scan_catalog
from radload.pack.codes import DECODER_CRASHED, TIMEOUT
from radload.pack.compact import Lazy, SourceFiles
from radload.pack.crosswalk import write_splits
from radload.pack.device import Device, Report, find_device, with_notes
from radload.pack.display import Display
from radload.pack.divide import Division
from radload.pack.executor import Crew, Died, Limits, run_jobs
from radload.pack.finish import GENERATION, Written, write_dataset
from radload.pack.forgotten import read_forgotten
from radload.pack.job import pack_shard
from radload.pack.masks import mask_patterns
from radload.pack.options import Checked, PackOptions, check, on_this_machine
from radload.pack.part import PACKING, is_finished, part_path
from radload.pack.plan import Plan, ShardJob, stem_of, with_seen
from radload.pack.planned import remove_planned
from radload.pack.prepare import encoding, plan_shards, prepare, reuse_notes, selection_notes, split_rule
from radload.pack.quarantine import Screened
from radload.pack.scan import InputFile
from radload.pack.stopped import Stopped
from radload.pack.summary import PackSummary, already_packed, count_classes
from radload.pack.suspect import describe
from radload.pack.upload import pack_to_store
from radload.pack.walk import walk
from radload.pack.worker import DEVICE, Beat
from radload.pack.workspace import (
    SPLITS_FILE,
    Folders,
    State,
    Workspace,
    check_folders,
    check_same_key,
    describe_plan,
    differences,
    read_plan,
)


def pack_by(
    options: PackOptions,
    console: Console | None,
    elsewhere: Writer | None,
    reach: Callable[[PackOptions], None] | None = None,
) -> PackSummary:
    """`pack`, whose shards are written by `elsewhere`, or, where that is None, by processes of this machine.

    Args:
        reach: raises where `elsewhere` is not to be had: called before hours go into a scan.

    Raises:
        UsageError: an option, folder or table that cannot be used; nothing has been written then.
        RadloadError: packing had to stop.
        Stopped: on Ctrl-C.
    """
    options, url = on_this_machine(options)
    if url is not None:
        return pack_to_store(options, url, lambda local: pack_by(local, console, elsewhere, reach), console)
    started = time.monotonic()
    checked = check(options)
    folders = check_folders(options)
    identity = options.identity()
    files = SourceFiles(walk(folders.source, checked.limits.timeout))
    if not files:
        raise UsageError(f"--src {options.source} is an empty folder: give the folder with the images")
    mask_patterns(options.masks, files)  # before anything is written
    if folders.state is State.FINISHED:
        return _already_packed(folders, identity, files, checked.key)
    if reach is not None:
        reach(options)
    with (
        Workspace(folders, checked.key) as workspace,
        Display(console) as display,
        disk_failures_are_said("packing"),
        Crew() as crew,
    ):
        made = make(options, checked, folders, files, workspace, display, crew)
        device = find_device(options.decode_device)
        if elsewhere is None:
            slices = write_shards(made.plan, workspace, worker_count(options), checked.limits, display, device, crew)
            crew.dismiss()  # they end while the index is written
        else:
            slices = elsewhere(made, options, checked.limits, workspace, display)
        return with_notes(finish_pack(options, workspace, made, slices, started), device)


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, and what it was made of; what `finish_pack` needs."""

    plan: Plan
    screened: Screened
    files: SourceFiles
    division: Division
    scan: Scan


# (plan, options, limits of a worker, folders, progress) -> number of frames worked on
Writer: TypeAlias = Callable[[Made, PackOptions, Limits, Workspace, Display], int]


def make(
    options: PackOptions,
    checked: Checked,
    folders: Folders,
    files: SourceFiles,
    workspace: Workspace,
    display: Display,
    crew: Crew | None = None,
) -> Made:
    """Scan, divide and plan, and write what a pack that is stopped from here on needs to go on. crew: whose workers are used.

    Raises:
        UsageError: nothing to pack, or --out holds a pack with another plan.
        Stopped: on Ctrl-C.
    """
    masks_given = mask_patterns(options.masks, files)
    workers = worker_count(options)
    description = describe_plan(workspace.key, options.identity(), files)
    pseudonym = partial(privacy.pseudonym, workspace.key)
    forgotten = read_forgotten(workspace.private)
    before = Before(forgotten, partial(pseudonym, "patient")) if forgotten else None
    if folders.state is State.UNFINISHED:
        _check_same(folders, description)
    try:
        display.start("scanning", len(files), "files")
        scan = scan_catalog(
            folders.source, files, checked.axis, workers, workspace.private, display.advance, checked.limits, crew
        )
    except KeyboardInterrupt:
        raise Stopped("stopped while scanning; run the same command again to go on") from None
    try:
        prepared = prepare(options, checked, folders, files, scan, masks_given, workers, display, before)
    except NothingNew:
        raise UsageError(
            f"all images in --src {options.source} are of patients who withdrew (forgotten.json of the private folder)"
        ) from None
    except KeyboardInterrupt:
        raise Stopped("stopped before the first shard; run the same command again to go on") from None
    plan, screened = plan_shards(options, checked, workspace.out, prepared, pseudonym)
    plan = with_seen(plan, files, screened.catalog.rows)
    workspace.keep(description)
    write_private_splits(workspace, prepared.division)
    make_split_folders(plan, workspace)
    return Made(plan, screened, files, prepared.division, scan)


def make_split_folders(plan: Plan, workspace: Workspace) -> None:
    """The folders that the shards of a plan go to."""
    for split in {one.split for one in plan.sizes}:
        (workspace.out / SPLITS[split]).mkdir(exist_ok=True)


def worker_count(options: PackOptions) -> int:
    """Processes on this machine: as many as it has cores for us, where nobody says."""
    return options.workers if options.workers is not None else len(os.sched_getaffinity(0))


def spare_core(workers: int) -> bool:
    """Whether this machine has a core for us that `workers` processes leave idle."""
    return max(workers, 1) < len(os.sched_getaffinity(0))


def _already_packed(
    folders: Folders, identity: dict[str, Any], files: Sequence[InputFile], given: bytes | None
) -> PackSummary:
    """The second run on a finished data set: says so, or refuses where something else was asked for."""
    manifest = read_manifest(folders.out)
    key, before = read_plan(folders)
    check_same_key(folders.private, key, given)
    now = describe_plan(key, identity, files)
    if before.get("plan") != now["plan"]:
        raise UsageError(
            f"--out {folders.out} was packed from another plan (different: {differences(before, now)}): give another --out, or the options "
            "of the first pack; labels are added by `radload label`"
        )
    shutil.rmtree(folders.out / PACKING, ignore_errors=True)  # a pack may have been killed after its last act
    return already_packed(manifest)


def _check_same(folders: Folders, now: dict[str, Any]) -> None:
    _, before = read_plan(folders)
    if before.get("plan") != now["plan"]:
        raise UsageError(
            f"--out {folders.out} holds a pack that was stopped and had another plan (different: {differences(before, now)}): "
            f"go on with the options of that pack, or remove the folder and {folders.private}"
        )


def write_private_splits(workspace: Workspace, division: Division, add: bool = False) -> None:
    """Write splits.parquet. add: rows that are there stay."""
    names = {patient.identity: patient.name for patient in division.patients}
    rows = {
        identity: (
            privacy.pseudonym(workspace.key, "patient", identity),
            names[identity],
            split,
            identity in division.given,
        )
        for identity, split in division.splits.items()
    }
    write_splits(workspace.private / SPLITS_FILE, rows, add)


def write_shards(
    plan: Plan,
    workspace: Workspace,
    workers: int,
    limits: Limits,
    display: Display,
    device: Device | None = None,
    crew: Crew | None = None,
) -> int:
    """Run the jobs that are not finished yet; returns the number of frames worked on. device, crew: as of `run_shards`."""
    workspace.clean()
    counts: dict[int, int] = {}  # of the jobs that wait
    total = before = 0
    for number, one in enumerate(plan.sizes):
        total += one.count
        if _finished(workspace.out, plan, number):
            before += one.count
        else:
            counts[number] = one.count
    waiting = sorted(
        counts, key=counts.__getitem__, reverse=True
    )  # the longest first, so that all workers end together
    spare = spare_core(workers)
    left = Lazy(len(waiting), lambda place: replace(plan.jobs[waiting[place]], spare=spare))
    display.start("packing", total, "slices", before)
    try:
        with stopping(lambda: _stopped(plan, workspace)):
            run_shards(left, workers, limits, lambda done: display.reach(before + done), device, crew)
    finally:
        workspace.clean()  # what workers that were ended had begun to write
    return total - before


def run_shards(
    jobs: Sequence[ShardJob],
    workers: int,
    limits: Limits,
    reach: Callable[[int], None] = lambda done: None,
    device: Device | None = None,
    crew: Crew | None = None,
) -> None:
    """Run the jobs, again without the file that ended their worker twice.

    reach: told the frames that are done; device: that decodes what it can, told what it did; None: the CPU decodes.
        crew: whose workers are used.

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
        function: Callable[[ShardJob, Beat], Report | None] = pack_shard if device is None else device.packer
        with closing(run_jobs(function, waiting, workers, tick, limits, crew)) as results:
            for position, result in results:
                if isinstance(result, Died):
                    again.append(after_death(waiting[position], result))
                    if device is not None and result.item == DEVICE:
                        device.account.failed(result.hung)
                else:
                    if device is not None and result is not None:
                        device.account.add(result)
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
        raise RadloadError(f"packing stopped ({disk_failure(error)}): {state()}") from None


def after_death(job: ShardJob, died: Died) -> ShardJob:
    """The job as it is to be run again: without the file that hung its worker, or that ended it for the second time.

    A crash has a second try, because an innocent file may have been read when the machine ran out of memory.
    """
    if died.item == DEVICE:
        return replace(job, tried=job.tried | {DEVICE})  # without it, see `device.DevicePacker`
    if died.item in job.skip or (died.item < 0 and died.item in job.tried):
        raise RadloadError(
            f"the worker that writes {job.name} ended twice, and no single file explains it (too little memory?): {_stopped_hint()} "
            "with fewer --workers"
        )
    if died.hung or died.item in job.tried:
        return replace(job, skip={**job.skip, died.item: TIMEOUT if died.hung else DECODER_CRASHED})
    return replace(job, tried=job.tried | {died.item})


def _finished(out: Path, plan: Plan, number: int) -> bool:
    """Whether a job is done; it is made only where it has left something."""
    if not part_path(out, stem_of(plan.sizes[number].name)).is_file():
        return False
    job = plan.jobs[number]
    return is_finished(out, job.stem, job.name, job.digest)


def _stopped(plan: Plan, workspace: Workspace) -> str:
    finished = sum(_finished(workspace.out, plan, number) for number in range(len(plan.jobs)))
    return f"{finished} of {len(plan.jobs)} shards are finished; {_stopped_hint()} to go on"


def _stopped_hint() -> str:
    return "run the same command again"


def finish_pack(options: PackOptions, workspace: Workspace, made: Made, slices: int, started: float) -> PackSummary:
    """From shards that are finished to a data set. slices: worked on; started: on the monotonic clock."""
    screened, division = made.screened, made.division
    written = write_dataset(workspace, made.plan, screened.catalog, made.files, division.patients, division.labels)
    if not written.segment.samples:
        workspace.discard()
        codes = ", ".join(f"{code} {count}" for code, count in written.rejected.items())
        raise UsageError(f"none of the images in --src {options.source} can be packed ({codes}): nothing was written")
    notes = [*division.notes, *selection_notes(options), *mask_notes(written), *quarantine.notes(options, screened)]
    empty = [name for name in SPLITS if not written.segment.splits[name]["samples"]]
    wanted = [name for name, share in zip(SPLITS, division.rule["ratio"], strict=True) if share]
    if set(empty) & set(wanted):
        names = " and the ".join(name for name in empty if name in wanted)
        notes.append(f"the {names} split is empty: there are too few patients for --split {options.split}")
    if (suspects := describe(written.suspect)) is not None:
        notes.append(suspects)
    for folder in (workspace.out / name for name in empty):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    write_manifest(workspace.out, _manifest(options, workspace, written, division, tuple(notes)))
    shutil.rmtree(workspace.out / PACKING, ignore_errors=True)
    remove_planned(workspace.private)
    return summarise(written, True, slices, started, (*notes, *reuse_notes(made.scan)))


def summarise(written: Written, new: bool, slices: int, started: float, notes: tuple[str, ...]) -> PackSummary:
    """What a pack says in the end. new: a version was made; slices: worked on; started: on the monotonic clock."""
    return PackSummary(
        new,
        written.segment.samples,
        written.packed,
        written.rejected,
        written.ignored,
        written.segment.splits,
        written.frames_rejected,
        count_classes(written.labels),
        written.bytes_in,
        written.bytes_out,
        written.pixels,
        time.monotonic() - started,
        slices,
        notes,
        written.masks,
    )


def mask_notes(written: Written) -> list[str]:
    """What the user should know about segmentations."""
    notes = []
    if written.overlaps:
        notes.append(f"{written.overlaps:,} mask pixels lie in several segments: the last segment has them")
    if written.fractional:
        notes.append(f"{written.fractional:,} fractional segmentations were cut at one half")
    return notes


def _manifest(
    options: PackOptions, workspace: Workspace, written: Written, division: Division, notes: tuple[str, ...]
) -> Manifest:
    segment = written.segment
    return Manifest(
        generation=GENERATION,
        generations=[GENERATION],
        fingerprint=segment.fingerprint,
        samples=segment.samples,
        series=segment.series,
        patients=sum(split["patients"] for split in segment.splits.values()),
        unknown_patients=written.unknown,
        splits=segment.splits,
        split_rule=split_rule(options, division, workspace.key),
        patient_rule=_public_rule(options.patients),
        codec=options.codec,
        key_id=privacy.key_id(workspace.key),
        tools={name: version(name) for name in ("radload", "imagecodecs", "pydicom", "nibabel", "numpy")},
        source={"packed": written.packed, "rejected": sum(written.rejected.values()), "ignored": written.ignored},
        notes=list(notes),
        masks=segment.masks,
        kept=sorted(set(options.keep)),
        retained=sorted(set(options.retain)),
        transform=options.transform,
        burned_in=quarantine.account(options, options.identity()["--decisions"]),
        encoding=encoding(options),
    )


def _public_rule(rule_text: str | None) -> str:
    """The rule without its argument where that could name something: an expression or a file."""
    if rule_text is None:
        return "tag:PatientID, and path: BIDS sub- for other formats"
    return rule_text if rule_text.startswith("tag:") else rule_text.partition(":")[0]
