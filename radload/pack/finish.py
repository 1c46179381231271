"""From finished shards to a data set: index, crosswalk, rejects, labels, and last the manifest."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radload.dataset.files import sync_folder
from radload.dataset.index import segment_folder
from radload.dataset.labels import DEFAULT, LabelSet, write_labels
from radload.dataset.schema import SPLITS
from radload.dataset.segment import SegmentSummary, ShardPart, write_segment
from radload.pack.crosswalk import CrosswalkWriter, open_crosswalk, write_rejects
from radload.pack.label_sets import Labels
from radload.pack.part import PACKING, RejectedFrame, part_path, read_part
from radload.pack.patients import Patient
from radload.pack.plan import Plan
from radload.pack.scan import Catalog, InputFile, Reject
from radload.pack.workspace import CROSSWALK, REJECTS, Workspace

GENERATION = 0


@dataclass(slots=True)
class _Gathered:
    """What is learnt while the parts go by."""

    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    catalog_rows: list[NDArray[np.int64]] = field(default_factory=list)
    rejects: list[RejectedFrame] = field(default_factory=list)
    patients: set[int] = field(default_factory=set)
    bytes_out: int = 0
    pixels: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """The index as written, and what became of the input.

    Attributes:
        unknown: patients without an identity; packed, ignored: files; rejected: files by code; frames_rejected: of packed files.
        bytes_in: of packed files; bytes_out: of shards; pixels: bytes of stored values.
        labels: the label set written, or None.
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


def write_dataset(
    workspace: Workspace,
    plan: Plan,
    catalog: Catalog,
    files: Sequence[InputFile],
    patients: Sequence[Patient],
    labels: Labels | None,
) -> Written:
    """Write everything but the manifest. Index and tables appear whole, or not at all."""
    gathered = _Gathered()
    temporary = workspace.out / PACKING / "index"
    folder = workspace.out / segment_folder(GENERATION)
    for path in (temporary, folder):
        shutil.rmtree(path, ignore_errors=True)
    with open_crosswalk(workspace.private / CROSSWALK, catalog.headers, patients) as crosswalk:
        parts = _parts(workspace.out, plan, crosswalk, gathered)
        segment = write_segment(temporary, GENERATION, parts, plan.patients, plan.studies, plan.samples)
    folder.parent.mkdir(exist_ok=True)
    temporary.rename(folder)
    sync_folder(folder.parent)
    rows = np.concatenate([np.zeros(0, np.int64), *gathered.catalog_rows])
    frames = _frame_rejects(catalog, gathered.rejects)
    rejects = [*catalog.rejects, *frames]
    write_rejects(workspace.private / REJECTS, rejects)
    written = _write_labels(
        workspace.out, labels, rows, np.concatenate([np.zeros(0, np.uint64), *gathered.keys]), segment
    )
    packed, rejected = _files(catalog, rows, rejects)
    sizes = {file.source: file.size for file in files}
    known = plan.patients.column("known").to_pylist()
    return Written(
        segment,
        sum(not known[patient] for patient in gathered.patients),
        len(packed),
        dict(Counter(rejected.values()).most_common()),
        len(files) - len(packed) - len(rejected),
        sum(reject.source in packed for reject in frames),
        sum(sizes[name] for name in packed if name in sizes),
        gathered.bytes_out,
        gathered.pixels,
        written,
    )


def _parts(out: Path, plan: Plan, crosswalk: CrosswalkWriter, gathered: _Gathered) -> Iterator[ShardPart]:
    for job in plan.jobs:
        part = read_part(part_path(out, job.stem))
        gathered.rejects += part.rejects
        gathered.pixels += part.pixels
        if not len(part.shard.records):
            continue
        keys = part.shard.records["key"]
        gathered.keys.append(keys)
        gathered.catalog_rows.append(crosswalk.add(job, keys))
        gathered.patients.update(part.shard.series_records["patient"].tolist())
        gathered.bytes_out += part.shard.size
        yield part.shard


def _frame_rejects(catalog: Catalog, rejects: Sequence[RejectedFrame]) -> list[Reject]:
    """Rejects of planned frames; a file all of whose frames have one reason is one row, and its parts are rows too."""
    by_row: dict[int, list[RejectedFrame]] = defaultdict(list)
    for reject in rejects:
        by_row[reject.row].append(reject)
    found: list[Reject] = []
    for row in sorted(by_row):
        header, frames = catalog.headers[row], sorted(by_row[row], key=lambda reject: reject.frame)
        code, reason = frames[0].code, frames[0].reason
        whole = len(frames) == header.frames
        if whole and all((frame.code, frame.reason) == (code, reason) for frame in frames):
            found.append(Reject(header.source, None, code, reason))
        else:
            found += [Reject(header.source, frame.frame, frame.code, frame.reason) for frame in frames]
        if whole:
            found += [Reject(part, None, code, reason) for part in header.parts]
    return found


def _files(catalog: Catalog, rows: NDArray[np.int64], rejects: Sequence[Reject]) -> tuple[set[str], dict[str, str]]:
    """(packed files, rejected file -> code): a file is packed where one of its frames is."""
    packed: set[str] = set()
    for row in np.unique(rows):
        header = catalog.headers[row]
        packed.update((header.source, *header.parts))
    rejected: dict[str, str] = {}
    for reject in rejects:
        if reject.source not in packed:
            rejected.setdefault(reject.source, reject.code)
    return packed, rejected


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
