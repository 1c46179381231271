"""Damaged shards written anew from the source: the same plan, the same jobs, and nothing is put in place but the same bytes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from radload.dataset.files import sync_folder
from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.errors import UsageError
from radload.pack import privacy
from radload.pack.catalog import scan_without_writing
from radload.pack.compact import SourceFiles
from radload.pack.display import Display
from radload.pack.flow import run_shards
from radload.pack.masks import mask_patterns
from radload.pack.options import PackOptions, check
from radload.pack.part import PACKING, part_path, read_part
from radload.pack.plan import ShardJob, with_seen
from radload.pack.prepare import plan_shards, prepare
from radload.pack.private import check_private, default_private
from radload.pack.walk import walk
from radload.pack.workspace import Folders, State, read_plan
from radload.versions.forget import locked

_STAGE: Final = ".repack"
_FILES: Final = {  # options that name a file: plan.json has its checksum, not the file
    "--labels": "labels",
    "--splits": "splits",
    "--decisions": "decisions",
}


@dataclass(frozen=True, slots=True)
class Repacked:
    """Shards that are as they were, and those of which the source gives other bytes now."""

    restored: tuple[str, ...]
    differing: tuple[str, ...]


def repack(
    root: Path,
    names: Collection[str],
    source: Path,
    private: Path | None = None,
    *,
    workers: int | None = None,
    display: Display | None = None,
    files: Mapping[str, Path] | None = None,
    timeout: float = 120.0,
) -> Repacked:
    """Write the shards `names` of the data set in `root` anew from `source`; one whose SHA-256 is that of the index is put in place.

    Args:
        private: private folder; None: `<root>.private`. It has the options and the key of the pack.
        files: "--labels", "--splits" and "--decisions" as they were given to the pack: labels decide how patients are divided.
        timeout: seconds after which a file that yields nothing more is given up, and a folder that does not answer ends the repair.

    Raises:
        RadloadError: the source does not answer.
        UsageError: no private folder, a source or option file that is not that of the pack, or another program writes to the data set.
    """
    with locked(root.resolve(), "repairing"):
        return _repack(root, names, source, private or default_private(root), workers, display, files or {}, timeout)


def _repack(
    root: Path,
    names: Collection[str],
    source: Path,
    folder: Path,
    workers: int | None,
    display: Display | None,
    files: Mapping[str, Path],
    timeout: float,
) -> Repacked:
    check_private(root, folder)
    folders = Folders(source.resolve(), root.resolve(), folder.resolve(), State.FINISHED)
    key, plan = read_plan(folders)
    options = replace(_options(plan["options"], folders, files), timeout=timeout)
    index = open_index(root, read_manifest(root))
    stage = root / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    shown = display if display is not None else Display(None)
    try:
        count = workers if workers is not None else len(os.sched_getaffinity(0))
        jobs = _jobs(options, folders, stage, key, names, count, shown)
        (stage / PACKING / "parts").mkdir(parents=True)
        for split in {job.name.partition("/")[0] for job in jobs}:
            (stage / split).mkdir()
        shown.start("packing", sum(job.count for job in jobs), "slices")
        run_shards(jobs, count, check(options).limits, shown.reach)
        return _put_in_place(root, stage, index, names)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _options(said: Mapping[str, Any], folders: Folders, files: Mapping[str, Path]) -> PackOptions:
    """The options of the pack, from what plan.json says of them."""
    own = {name.removeprefix("--").replace("-", "_"): value for name, value in said.items()}
    for name in _FILES.values():
        own.pop(name)
    own["split"] = "/".join(f"{100 * share:.12g}" for share in own["split"])
    own |= {name: tuple(own[name]) for name in ("masks", "include", "keep", "retain")}
    if str(own["patients"] or "").startswith("csv:"):
        raise UsageError(
            "the data set was packed with --patients csv:FILE, so its shards cannot be written anew one by one: pack again"
        )
    for option, field in _FILES.items():
        if said[option] is not None:
            if option not in files:
                raise UsageError(f"the data set was packed with {option}: give the same file by {option}")
            own[field] = files[option]
    options = PackOptions(folders.source, folders.out, folders.private, **own)
    now = options.identity()
    changed = [name for name in now if now[name] != said.get(name)]
    if changed:
        raise UsageError(
            f"{', '.join(changed)} is not that of the pack: give the same file, or pack again to another folder"
        )
    return options


def _jobs(
    options: PackOptions,
    folders: Folders,
    stage: Path,
    key: bytes,
    names: Collection[str],
    workers: int,
    display: Display,
) -> list[ShardJob]:
    """The jobs of the shards `names`, which write below `stage`."""
    checked = check(options)
    if not folders.source.is_dir():
        raise UsageError(f"there is no folder {options.source}: give the folder that was packed by --src")
    files = SourceFiles(walk(folders.source, checked.limits.timeout))
    masks = mask_patterns(options.masks, files)
    display.start("scanning", len(files), "files")
    scan = scan_without_writing(
        folders.source, files, checked.axis, workers, folders.private, display.advance, checked.limits
    )
    prepared = prepare(options, checked, folders, files, scan, masks, workers, display)
    plan, screened = plan_shards(options, checked, stage, prepared, partial(privacy.pseudonym, key))
    return [job for job in with_seen(plan, files, screened.catalog.rows).jobs if job.name in names]


def _put_in_place(root: Path, stage: Path, index: Index, names: Collection[str]) -> Repacked:
    restored, differing = [], []
    for row in index.table("shards").to_pylist():
        name = row["name"]
        if name not in names:
            continue
        part = part_path(stage, name.removesuffix(".tar").replace("/", "-"))
        if part.is_file() and read_part(part).shard.sha256 == row["sha256"]:
            (root / name).parent.mkdir(exist_ok=True)
            (stage / name).replace(root / name)
            sync_folder((root / name).parent)
            restored.append(name)
        else:
            differing.append(name)
    return Repacked(tuple(restored), tuple(differing))
