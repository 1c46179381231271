"""From finished shards to a data set: index, crosswalk, rejects, labels, and last the manifest."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radload.dataset.files import sync_folder
from radload.dataset.generation import MoreLabels, write_generation
from radload.dataset.index import Index, segment_folder
from radload.dataset.labels import DEFAULT, LabelSet, write_labels
from radload.dataset.manifest import Manifest
from radload.dataset.parts import index_parts
from radload.dataset.schema import SPLITS
from radload.dataset.segment import SegmentSummary, ShardPart, write_segment
from radload.pack.before import Before
from radload.pack.codes import MASK_WITHOUT_IMAGE
from radload.pack.compact import SourceFiles, joined
from radload.pack.crosswalk import CrosswalkWriter, PackedRows, open_crosswalk, write_rejects
from radload.pack.label_sets import Labels
from radload.pack.part import PACKING, RejectedFrame, part_path, read_part
from radload.pack.patients import Patient
from radload.pack.plan import Plan
from radload.pack.scan import Catalog, Reject
from radload.pack.suspect import count_flags
from radload.pack.workspace import CROSSWALK, REJECTS, Workspace
from radload.sources import Header, SegmentationType

GENERATION = 0  # of a data set that is new


@dataclass(slots=True)
class _Gathered:
    """What is learnt while the parts go by."""

    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    catalog_rows: list[NDArray[np.int64]] = field(default_factory=list)
    mask_rows: set[int] = field(default_factory=set)
    rejects: list[RejectedFrame] = field(default_factory=list)
    patients: set[int] = field(default_factory=set)
    bytes_out: int = 0
    pixels: int = 0
    overlaps: int = 0
    suspect: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Written:
    """The index as written, and what became of the input.

    Attributes:
        unknown: patients without an identity; packed, ignored: files; rejected: files by code; frames_rejected: of packed files.
        bytes_in: of packed files; bytes_out: of shards; pixels: bytes of stored values.
        labels: the label set written, or None.
        suspect: samples by their `suspect` flags, 0 left out.
        masks: mask files packed; overlaps: pixels of them that several segments claim; fractional: those that held fractions.
        manifest: of the next version, to be written; None for a new data set, or where nothing came of the files.
    """

    segment: SegmentSummary
    unknown: int
    packed: int
    rejected: dict[str, int]
    ignored: int
    frames_rejected: int
    bytes_in: int
    bytes_out: int
    pixels: int
    labels: LabelSet | None
    suspect: Counter[int]
    masks: int = 0
    overlaps: int = 0
    fractional: int = 0
    manifest: Manifest | None = None


def write_dataset(
    workspace: Workspace,
    plan: Plan,
    catalog: Catalog,
    files: SourceFiles,
    patients: Sequence[Patient],
    labels: Labels | None,
    before: Before | None = None,
) -> Written:
    """Write everything but the manifest. Index and tables appear whole, or not at all.

    Args:
        before: the data set that the shards are added to, as its next version; None: they are a new one.
    """
    gathered = _Gathered()
    for folder in {(workspace.out / one.name).parent for one in plan.sizes}:
        sync_folder(folder)  # the names of shards, before anything refers to them
    headers = joined(catalog.headers, plan.masks)
    manifest = None
    if before is None or before.manifest is None or before.index is None:
        segment = _write_first(workspace, plan, headers, patients, gathered)
    elif not any(len(read_part(part_path(workspace.out, job.stem)).shard.records) for job in plan.jobs):
        list(_parts(workspace.out, plan, None, gathered))
        segment = _totals(before.manifest)
    else:
        manifest = _write_next(
            workspace, plan, headers, patients, gathered, labels, before.manifest, before.index, before.crosswalk
        )
        segment = _totals(manifest)
    rows = np.concatenate([np.zeros(0, np.int64), *gathered.catalog_rows])
    packed = np.zeros(len(headers), np.bool_)  # by catalog row: whether something of the file is
    packed[rows] = True
    packed[np.fromiter(gathered.mask_rows, np.int64)] = True
    frames = _frame_rejects(headers, plan, packed, gathered.rejects)
    rejects = [*catalog.rejects, *frames]
    rejects += _unused_masks(headers, len(catalog.headers), gathered, rejects)
    write_rejects(workspace.private / REJECTS, rejects)
    if manifest is None and before is None:
        written = _write_labels(workspace.out, labels, rows, _keys(gathered), segment)
    else:
        written = None if labels is None else labels.take(rows, DEFAULT)
    outcome = _outcome(headers, packed, rejects, files)
    known = plan.patients.column("known").to_pylist()
    return Written(
        segment,
        sum(not known[patient] for patient in gathered.patients),
        outcome.packed,
        dict(Counter(outcome.rejected.values()).most_common()),
        len(files) - outcome.packed - len(outcome.rejected),
        sum(reject.source not in outcome.rejected for reject in frames),
        outcome.bytes,
        gathered.bytes_out,
        gathered.pixels,
        written,
        gathered.suspect,
        len(gathered.mask_rows),
        gathered.overlaps,
        sum(_fractional(headers[row]) for row in gathered.mask_rows),
        manifest,
    )


def _write_first(
    workspace: Workspace, plan: Plan, headers: Sequence[Header], patients: Sequence[Patient], gathered: _Gathered
) -> SegmentSummary:
    temporary = workspace.out / PACKING / "index"
    folder = workspace.out / segment_folder(GENERATION)
    for path in (temporary, folder):
        shutil.rmtree(path, ignore_errors=True)
    with open_crosswalk(workspace.private / CROSSWALK, headers, patients) as crosswalk:
        parts = _parts(workspace.out, plan, crosswalk, gathered)
        segment = write_segment(temporary, GENERATION, parts, plan.patients, plan.studies, plan.samples)
    folder.parent.mkdir(exist_ok=True)
    temporary.rename(folder)
    sync_folder(folder.parent)
    return segment


def _write_next(
    workspace: Workspace,
    plan: Plan,
    headers: Sequence[Header],
    patients: Sequence[Patient],
    gathered: _Gathered,
    labels: Labels | None,
    manifest: Manifest,
    index: Index,
    crosswalk_before: PackedRows | None,
) -> Manifest:
    """The index of all samples, old ones first in each split. The crosswalk is complete before anything refers to it."""

    def more() -> MoreLabels | None:
        if labels is None:
            return None
        return MoreLabels(labels.take(np.concatenate(gathered.catalog_rows), DEFAULT), _keys(gathered))

    with open_crosswalk(workspace.private / CROSSWALK, headers, patients, crosswalk_before) as crosswalk:
        new = _parts(workspace.out, plan, crosswalk, gathered)
        parts = merge(index_parts(index), new, key=lambda part: part.split)
        out, samples = workspace.out, index.table("samples").schema
        return write_generation(out, manifest, index, parts, plan.patients, plan.studies, samples, more)


def _totals(manifest: Manifest) -> SegmentSummary:
    return SegmentSummary(manifest.samples, manifest.series, manifest.splits, manifest.fingerprint, manifest.masks)


def _keys(gathered: _Gathered) -> NDArray[np.uint64]:
    return np.concatenate([np.zeros(0, np.uint64), *gathered.keys])


def _parts(out: Path, plan: Plan, crosswalk: CrosswalkWriter | None, gathered: _Gathered) -> Iterator[ShardPart]:
    for job in plan.jobs:
        part = read_part(part_path(out, job.stem))
        gathered.rejects += part.rejects
        gathered.pixels += part.pixels
        gathered.overlaps += part.overlaps
        if crosswalk is None or not len(part.shard.records):
            continue
        keys = part.shard.records["key"]
        gathered.keys.append(keys)
        gathered.catalog_rows.append(crosswalk.add(job, keys, part.mask_rows))
        gathered.mask_rows.update(row for row in np.unique(part.mask_rows).tolist() if row >= 0)
        gathered.patients.update(part.shard.series_records["patient"].tolist())
        gathered.bytes_out += part.shard.size
        gathered.suspect += count_flags(part.shard.samples.column("suspect").to_numpy())
        yield part.shard


def _frame_rejects(
    headers: Sequence[Header], plan: Plan, packed: NDArray[np.bool_], rejects: Sequence[RejectedFrame]
) -> list[Reject]:
    """Rejects of planned frames; a file all of whose planned frames have one reason is one row. Parts of a file of which nothing is
    packed are rows too.

    Args:
        packed: by catalog row, whether something of the file is packed.
    """
    if not rejects:
        return []
    planned = {row: header.frames for row, header in enumerate(plan.masks, len(headers) - len(plan.masks))}
    named = {reject.row for reject in rejects}
    for file in (file for job in plan.jobs for series in job.series for file in series.files):
        if file.row not in named and (file.mask is None or file.mask.row not in named):
            continue
        planned[file.row] = len(file.chosen)
        if file.mask is not None:
            planned[file.mask.row] = planned[file.row]
    by_row: dict[int, dict[int, RejectedFrame]] = defaultdict(dict)
    for reject in rejects:
        by_row[reject.row].setdefault(reject.frame, reject)  # a segmentation of two series may say everything twice
    found: list[Reject] = []
    for row in sorted(by_row):
        header, frames = headers[row], [by_row[row][frame] for frame in sorted(by_row[row])]
        code, reason = frames[0].code, frames[0].reason
        whole = len(frames) >= planned[row]  # more: a segmentation, or an internal error, is refused with all frames
        if whole and all((frame.code, frame.reason) == (code, reason) for frame in frames):
            found.append(Reject(header.source, None, code, reason))
        else:
            found += [Reject(header.source, frame.frame, frame.code, frame.reason) for frame in frames]
        if not packed[row]:
            found += [Reject(part, None, code, reason) for part in header.parts]
    return found


def _unused_masks(
    headers: Sequence[Header], first: int, gathered: _Gathered, rejects: Sequence[Reject]
) -> list[Reject]:
    """Masks, from row `first` on, of which nothing is packed and nothing was wrong: it was their images that could not be packed."""
    said = {reject.source for reject in rejects}
    return [
        Reject(source, None, MASK_WITHOUT_IMAGE, "none of its images could be packed")
        for row, header in enumerate(headers[first:], first)
        if row not in gathered.mask_rows and header.source not in said
        for source in (header.source, *header.parts)
    ]


def _fractional(header: Header) -> bool:
    return header.segmentation is not None and header.segmentation.type is SegmentationType.FRACTIONAL


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Of the input files: how many are packed, of how many bytes, and the code of each rejected one."""

    packed: int
    bytes: int
    rejected: dict[str, str]


def _outcome(
    headers: Sequence[Header], packed: NDArray[np.bool_], rejects: Sequence[Reject], files: SourceFiles
) -> _Outcome:
    """A file is packed where one of its frames is. packed: by catalog row."""
    rejected: dict[str, str] = {}
    for reject in rejects:
        rejected.setdefault(reject.source, reject.code)
    count = size = 0
    parts: set[str] = set()
    for row in np.flatnonzero(packed).tolist():
        header = headers[row]
        for name in (header.source, *(part for part in header.parts if part not in parts)):
            count += 1
            file = files.find(name)
            size += file.size if file is not None else 0
            rejected.pop(name, None)
        parts.update(header.parts)
    return _Outcome(count, size, rejected)


def _write_labels(
    out: Path, labels: Labels | None, rows: NDArray[np.int64], keys: NDArray[np.uint64], segment: SegmentSummary
) -> LabelSet | None:
    if labels is None:
        return None
    named = labels.take(rows, DEFAULT)
    ranges, start = {}, 0
    for name in SPLITS:
        ranges[name] = range(start, start + segment.splits[name]["samples"])
        start = ranges[name].stop
    write_labels(out, named, keys, ranges)
    return named
