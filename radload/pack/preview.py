"""`radload pack --dry-run`: what would be packed, counted from headers. Writes nothing."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from radload.dataset.schema import SPLITS
from radload.errors import UsageError
from radload.pack import quarantine
from radload.pack.catalog import scan_without_writing
from radload.pack.compact import SourceFiles
from radload.pack.display import Display
from radload.pack.label_sets import Labels
from radload.pack.masks import mask_patterns
from radload.pack.options import PackOptions, check, on_this_machine
from radload.pack.plan import Plan, SeriesJob
from radload.pack.prepare import plan_shards, prepare, reuse_notes, selection_notes
from radload.pack.scan import Catalog
from radload.pack.walk import walk
from radload.pack.workspace import check_folders

_NONE = "(none)"


@dataclass(slots=True)
class Counts:
    """Distinct patients, studies and series, and slices."""

    patients: set[int] = field(default_factory=set)
    studies: set[int] = field(default_factory=set)
    series: set[int] = field(default_factory=set)
    slices: int = 0

    def add(self, series: SeriesJob, slices: int) -> None:
        """`slices` more of `series`."""
        self.patients.add(series.patient)
        self.studies.add(series.study)
        self.series.add(series.first_key)
        self.slices += slices

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """(patients, studies, series, slices)."""
        return len(self.patients), len(self.studies), len(self.series), self.slices


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a pack with these options would do, as far as headers tell: pixels that cannot be decoded, or are empty, are not known yet.

    Attributes:
        files: input files; chosen: of them, those with a slice to pack, and their masks; rejected: by code; ignored: no images.
        splits, modalities, classes: name -> (patients, studies, series, slices); a slice with several positive classes counts in each;
            classes None without labels.
        notes: sentences about what the user should know.
        masks: those of the chosen files that are masks of others.
    """

    files: int
    chosen: int
    rejected: dict[str, int]
    ignored: int
    splits: dict[str, tuple[int, int, int, int]]
    modalities: dict[str, tuple[int, int, int, int]]
    classes: dict[str, tuple[int, int, int, int]] | None
    notes: tuple[str, ...]
    masks: int = 0


def dry_run(options: PackOptions, console: Console | None = None) -> DryRun:
    """Scan, select, divide and plan as `pack` does, and count. A catalog in the private folder is used, and left as it is.

    Raises:
        UsageError: an option, folder or table that cannot be used.
    """
    options, _ = on_this_machine(options)
    checked = check(options)
    folders = check_folders(options)
    files = SourceFiles(walk(folders.source, checked.limits.timeout))
    if not files:
        raise UsageError(f"--src {options.source} is an empty folder: give the folder with the images")
    masks_given = mask_patterns(options.masks, files)
    workers = options.workers if options.workers is not None else len(os.sched_getaffinity(0))
    with Display(console) as display:
        display.start("scanning", len(files), "files")
        scan = scan_without_writing(
            folders.source, files, checked.axis, workers, folders.private, display.advance, checked.limits
        )
        prepared = prepare(options, checked, folders, files, scan, masks_given, workers, display)
    plan, screened = plan_shards(options, checked, folders.out, prepared, lambda domain, identity: "")
    catalog, division = screened.catalog, prepared.division
    rejects = {reject.source: reject.code for reject in catalog.rejects}
    return DryRun(
        len(files),
        len(files) - len(rejects) - catalog.ignored,
        dict(Counter(rejects.values()).most_common()),
        catalog.ignored,
        _splits(plan),
        _modalities(plan, catalog),
        None if division.labels is None else _classes(plan, division.labels),
        (*division.notes, *selection_notes(options), *quarantine.notes(options, screened), *reuse_notes(scan)),
        sum(mask.source not in rejects for mask in plan.masks),
    )


def _splits(plan: Plan) -> dict[str, tuple[int, int, int, int]]:
    counts = {name: Counts() for name in SPLITS}
    for job in plan.jobs:
        for series in job.series:
            counts[SPLITS[job.split]].add(series, series.count)
    return {name: found.numbers for name, found in counts.items()}


def _modalities(plan: Plan, catalog: Catalog) -> dict[str, tuple[int, int, int, int]]:
    counts: dict[str, Counts] = defaultdict(Counts)
    for series, row, slices in _file_slices(plan):
        counts[catalog.headers[row].attributes.modality or _NONE].add(series, slices)
    return _largest_first(counts)


def _classes(plan: Plan, labels: Labels) -> dict[str, tuple[int, int, int, int]]:
    counts: dict[str, Counts] = {name: Counts() for name in labels.classes}
    for series, row, slices in _file_slices(plan):
        if labels.task == "single":
            code = int(labels.codes[row])
            names = [labels.classes[code]] if code >= 0 else []
        else:
            names = [labels.classes[code] for code in np.flatnonzero(labels.codes[row] == 1).tolist()]
        for name in names or [_NONE]:
            counts.setdefault(name, Counts()).add(series, slices)
    return _largest_first(counts)


def _file_slices(plan: Plan) -> Iterable[tuple[SeriesJob, int, int]]:
    """(series, header, slices to pack) of every file."""
    for job in plan.jobs:
        for series in job.series:
            for file in series.files:
                yield series, file.row, len(file.chosen)


def _largest_first(counts: dict[str, Counts]) -> dict[str, tuple[int, int, int, int]]:
    return {name: counts[name].numbers for name in sorted(counts, key=lambda name: (-counts[name].slices, name))}


def print_dry_run(found: DryRun, console: Console) -> None:
    """Print the tables."""
    files = Table(title="input files", title_justify="left", box=None, pad_edge=False)
    files.add_column("")
    files.add_column("files", justify="right")
    files.add_row("to pack", f"{found.chosen - found.masks:,}")
    if found.masks:
        files.add_row("to pack as masks", f"{found.masks:,}")
    for code, count in found.rejected.items():
        files.add_row(f"rejected: {code}", f"{count:,}")
    files.add_row("ignored (no image)", f"{found.ignored:,}")
    files.add_row("all", f"{found.files:,}", end_section=True)
    tables = [files, _table("splits", found.splits), _table("modalities", found.modalities)]
    if found.classes is not None:
        tables.append(_table("classes", found.classes))
    console.print(Group(*tables))
    for note in found.notes:
        console.print(Text(f"note: {note}"))
    console.print(Text("dry run: nothing was written; pixels are not decoded yet"))


def _table(title: str, rows: dict[str, tuple[int, int, int, int]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("patients", "studies", "series", "slices"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, numbers in rows.items():
        table.add_row(Text(name), *(f"{number:,}" for number in numbers))
    return table
