"""`radload pack --append`: new files of a source become the next version of a data set. Shards, keys and splits that are there stay."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from radload.dataset.files import disk_failures_are_said, write_json
from radload.dataset.index import open_index
from radload.dataset.manifest import Manifest, read_manifest, write_manifest
from radload.dataset.schema import key_text
from radload.errors import UsageError
from radload.pack import privacy, quarantine
from radload.pack.before import Before, NothingNew, read_splits
from radload.pack.catalog import scan_catalog
from radload.pack.codes import NOT_SELECTED
from radload.pack.compact import SourceFiles
from radload.pack.crosswalk import PackedRows, write_rejects
from radload.pack.device import find_device, with_notes
from radload.pack.display import Display
from radload.pack.finish import Written, write_dataset
from radload.pack.flow import (
    make_split_folders,
    mask_notes,
    summarise,
    worker_count,
    write_private_splits,
    write_shards,
)
from radload.pack.forgotten import read_forgotten
from radload.pack.masks import mask_patterns
from radload.pack.options import PackOptions, check, in_a_folder
from radload.pack.part import PACKING
from radload.pack.plan import Following, with_seen
from radload.pack.prepare import plan_shards, prepare, reuse_notes, selection_notes
from radload.pack.scan import Reject
from radload.pack.stopped import Stopped
from radload.pack.summary import PackSummary
from radload.pack.suspect import describe
from radload.pack.sweep import remove_temporaries, remove_unused_shards
from radload.pack.walk import walk
from radload.pack.workspace import (
    CROSSWALK,
    PLAN,
    REJECTS,
    SPLITS_FILE,
    Folders,
    State,
    Workspace,
    check_folders,
    describe_plan,
    read_plan,
)

# What may be another than in the first pack: tables that grow with the data, and sizes.
_MAY_DIFFER: Final = frozenset(
    (
        "--labels",
        "--labels-from",
        "--uncertain",
        "--splits",
        "--decisions",
        "--shard-size",
        "--masks",
        "--link-duplicates",
    )
)
_NOTHING: Final = "nothing is new: the data set stays as it is"


def append(options: PackOptions, console: Console | None = None) -> PackSummary:
    """Pack what is new in a source, and add it to the data set in `options.out` as its next version.

    A file is new where the private folder does not know it (`before.only_new`). What is stopped, however that came, goes on where it
    was when the same call is made again; until its last act the data set is the version that it was.

    Raises:
        UsageError: no data set there, other options than those of its pack, or an option, folder or table that cannot be used.
        RadloadError: packing had to stop.
        Stopped: on Ctrl-C.
    """
    started = time.monotonic()
    in_a_folder(options, "--append")
    if options.scheduler is not None:
        raise UsageError("--append packs on this machine alone: leave out --scheduler")
    checked = check(options)
    folders = check_folders(options)
    if folders.state is not State.FINISHED:
        raise UsageError(
            f"--append adds to a data set, and --out {options.out} holds {folders.state.value}: pack without --append first"
        )
    identity = options.identity()
    files = SourceFiles(walk(folders.source, checked.limits.timeout))
    if not files:
        raise UsageError(f"--src {options.source} is an empty folder: give the folder with the images")
    masks_given = mask_patterns(options.masks, files)
    workers = worker_count(options)
    with Workspace(folders, checked.key) as workspace, Display(console) as display, disk_failures_are_said("packing"):
        manifest = read_manifest(workspace.out)
        before = _before(workspace, manifest, identity, folders)
        description = describe_plan(workspace.key, identity, files)
        try:
            display.start("scanning", len(files), "files")
            scan = scan_catalog(
                folders.source, files, checked.axis, workers, workspace.private, display.advance, checked.limits
            )
            prepared = prepare(options, checked, folders, files, scan, masks_given, workers, display, before)
        except KeyboardInterrupt:
            raise Stopped("stopped before the first shard; run the same command again to go on") from None
        except NothingNew as nothing:
            write_rejects(workspace.private / REJECTS, nothing.catalog.rejects)
            write_json(workspace.private / PLAN, description, 0o600)
            _clean(workspace)
            rejected = _by_code(nothing.catalog.rejects)
            left = len(files) - len(nothing.skipped) - sum(rejected.values())
            return PackSummary(False, manifest.samples, 0, rejected, left, manifest.splits, notes=(_NOTHING,))
        index = before.index
        if index is None:  # pragma: no cover - a data set that is finished has one
            raise RuntimeError("a data set without an index")
        following = Following(index.next_key, index.next_shard, index.table("patients"), index.table("studies"))
        pseudonym = partial(privacy.pseudonym, workspace.key)
        plan, screened = plan_shards(options, checked, workspace.out, prepared, pseudonym, following)
        plan = with_seen(plan, files, screened.catalog.rows)
        (workspace.out / PACKING / "parts").mkdir(parents=True, exist_ok=True)
        remove_unused_shards(workspace.out, manifest, {job.name for job in plan.jobs})
        make_split_folders(plan, workspace)
        device = find_device(options.decode_device)
        slices = write_shards(plan, workspace, workers, checked.limits, display, device)
        fresh = SourceFiles(file for file in files if file.source not in prepared.skipped)
        division = prepared.division
        written = write_dataset(workspace, plan, screened.catalog, fresh, division.patients, division.labels, before)
        notes = [*division.notes, *selection_notes(options), *mask_notes(written), *quarantine.notes(options, screened)]
        if (suspects := describe(written.suspect)) is not None:
            notes.append(suspects)
        if written.manifest is None:
            codes = ", ".join(f"{code} {count}" for code, count in written.rejected.items())
            notes.append(f"none of the new files can be packed ({codes}): the data set stays as it is")
        else:
            write_private_splits(workspace, division, add=True)  # now, and not for an append that never ends
            added = _manifest(options, manifest, written.manifest, written, identity)
            write_manifest(workspace.out, added)
            notes.append(
                f"version {added.generation}: {added.samples - manifest.samples:,} samples added to {manifest.samples:,}"
            )
        write_json(workspace.private / PLAN, description, 0o600)
        _clean(workspace)
        notes += reuse_notes(scan)
        return with_notes(summarise(written, written.manifest is not None, slices, started, tuple(notes)), device)


def _before(workspace: Workspace, manifest: Manifest, identity: dict[str, Any], folders: Folders) -> Before:
    """What the data set holds. Raises UsageError where it cannot be added to."""
    if manifest.key_id != privacy.key_id(workspace.key):
        raise UsageError(
            f"{workspace.private} has another pseudonym key than the shards in {workspace.out}: give their private folder by --private"
        )
    _, plan = read_plan(folders)
    old = plan.get("options", {})
    now = json.loads(json.dumps(identity))
    differing = [name for name in now if name not in _MAY_DIFFER and old.get(name) != now[name]]
    if differing:
        raise UsageError(
            f"--append goes by the options of the first pack, and {', '.join(differing)} differ: give what was given then, or pack to "
            "another --out"
        )
    index = open_index(workspace.out, manifest)
    return Before(
        read_forgotten(workspace.private),
        partial(privacy.pseudonym, workspace.key, "patient"),
        manifest,
        index,
        # Rows of an append that was stopped have keys from here on, which are given anew.
        PackedRows(workspace.private / CROSSWALK, key_text(index.next_key)),
        read_splits(workspace.private / SPLITS_FILE),
        _passed(workspace),
    )


def _passed(workspace: Workspace) -> frozenset[str]:
    """Files that an earlier pack did not select."""
    path = workspace.private / REJECTS
    try:
        table = pq.read_table(path, columns=["source", "frame", "code"])
    except (OSError, pa.ArrowInvalid, KeyError):
        raise UsageError(
            f"{path} cannot be read, and it says which files were left out: restore it from a copy"
        ) from None
    whole = pc.and_(pc.is_null(table.column("frame")), pc.equal(table.column("code"), NOT_SELECTED))
    return frozenset(table.filter(whole).column("source").to_pylist())


def _manifest(
    options: PackOptions, before: Manifest, added: Manifest, written: Written, identity: dict[str, Any]
) -> Manifest:
    """`added` with what this pack says of its files: packed ones add up, what else lies in the source is as it is now."""
    burned_in = quarantine.account(options, identity["--decisions"], before.burned_in["decisions"])
    return replace(
        added,
        source={
            "packed": before.source["packed"] + written.packed,
            "rejected": sum(written.rejected.values()),
            "ignored": written.ignored,
        },
        burned_in=burned_in,
    )


def _by_code(rejects: Sequence[Reject]) -> dict[str, int]:
    sources = {reject.source: reject.code for reject in rejects}
    codes, counts = np.unique(list(sources.values()), return_counts=True)
    return dict(zip(codes.tolist(), counts.tolist(), strict=True))


def _clean(workspace: Workspace) -> None:
    """Nothing is left of the way here."""
    shutil.rmtree(workspace.out / PACKING, ignore_errors=True)
    remove_temporaries(workspace.out, workspace.private)
    remove_unused_shards(workspace.out, read_manifest(workspace.out))
