"""Which slice goes where: series in shuffled order into shards of their split, a key for every frame, before a pixel is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.codecs import CodecName
from radload.dataset.schema import PATIENTS, SAMPLES, SPLITS, STUDIES
from radload.pack.colour import ColourMode
from radload.pack.compact import Lazy, SourceFiles
from radload.pack.keep import Kept, samples_schema
from radload.pack.masks import NO_MASKS, Masks, PairedMask
from radload.pack.options import MEBIBYTE
from radload.pack.patients import Patient
from radload.pack.places import SeriesFiles, find_series
from radload.pack.redact import Redaction
from radload.pack.scan import InputFile
from radload.pack.stacks import Geometry
from radload.pack.thin import EVERYTHING, LEFT_OUT, Thinnings, thin
from radload.pack.wide import WideMode
from radload.sources import Header

DEFAULT_SHARD: Final = 128 * MEBIBYTE
_SMALLEST_SHARD: Final = 16 * MEBIBYTE
_ENOUGH_SHARDS: Final = 64

Pseudonym = Callable[[str, str], str]  # (domain, identity) -> pseudonym


@dataclass(frozen=True, slots=True)
class FileJob:
    """A file of a series: its catalog row, its header, and the place in the series of each of its frames."""

    row: int
    header: Header
    places: tuple[int, ...]  # thin.LEFT_OUT for a frame that is not packed
    mask: PairedMask | None = None

    @property
    def chosen(self) -> list[int]:
        """The frames that are packed."""
        return [frame for frame, place in enumerate(self.places) if place != LEFT_OUT]


@dataclass(frozen=True, slots=True)
class SegmentsJob:
    """The segmentation of a series: its catalog row, its header, and per frame of it the places in the series that it lies on."""

    row: int
    header: Header
    places: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class SeriesJob:
    """A series of a shard. The slice at place p has key first_key + p. patient, study: rows of patients.arrow, studies.arrow."""

    first_key: int
    count: int
    files: tuple[FileJob, ...]
    patient: int
    study: int
    pseudonym: str
    geometry: Geometry
    segments: SegmentsJob | None = None


@dataclass(frozen=True, slots=True)
class ShardJob:
    """All that a worker needs to write one shard.

    Attributes:
        name: "train/000000.tar"; split: index into SPLITS; root: source folder; out: the data set.
        axis: along which NIfTI volumes are cut.
        skip: catalog row -> reject code of files that cost a worker; tried: rows that ended a worker once.
        kept: attributes added by --keep and --retain; transform: "module:function", see `transform`.
        drop_empty: whether slices without content are rejected (`empty.is_empty`).
        redactions: catalog row -> what is cut away or blanked in all frames of that file.
        seen: source -> (bytes, time of modification in ns) of its files as the walk saw them; empty: nobody compares.
        spare: whether the machine has a core that no worker takes; it changes no byte.
    """

    name: str
    split: int
    series: tuple[SeriesJob, ...]
    root: Path
    out: Path
    codec: CodecName
    color: ColourMode
    axis: int
    skip: Mapping[int, str] = field(default_factory=dict)
    tried: frozenset[int] = frozenset()
    wide: WideMode = "raw"
    kept: tuple[Kept, ...] = ()
    transform: str | None = None
    drop_empty: bool = False
    redactions: Mapping[int, Redaction] = field(default_factory=dict)
    seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    spare: bool = False

    @property
    def count(self) -> int:
        """Frames."""
        return sum(series.count for series in self.series)

    @property
    def digest(self) -> str:
        """Of what the job writes: keys, files, masks and places. A file whose header could be read only in the second of two runs
        changes it."""
        digest = hashlib.sha256(f"{self.name}\0{self.drop_empty}".encode())
        for series in self.series:
            digest.update(
                repr((series.first_key, series.count, series.patient, series.study, series.pseudonym)).encode()
            )
            for file in series.files:
                mask = None if file.mask is None else (file.mask.row, file.mask.header.source)
                digest.update(
                    repr((file.row, file.header.source, file.places, mask)).encode("utf-8", "surrogateescape")
                )
            if series.segments is not None:
                drawn = (series.segments.row, series.segments.header.source, series.segments.places)
                digest.update(repr(drawn).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def stem(self) -> str:
        """The name as one file name without suffix: "train-000000"."""
        return stem_of(self.name)


def stem_of(name: str) -> str:
    """The stem of the job that writes the shard `name`."""
    return name.removesuffix(".tar").replace("/", "-")


@dataclass(frozen=True, slots=True)
class ShardSize:
    """What is known of a job before it is made: name, split and count of frames as in `ShardJob`."""

    name: str
    split: int
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs in order of (split, shard), made when asked for, the tables that their rows refer to, and the schema of samples.arrow.

    Attributes:
        sizes: of the jobs; they cost next to nothing.
        masks: headers of the catalog rows behind those of the images; left_out: rows of images of which no frame is packed.
    """

    jobs: Sequence[ShardJob]
    sizes: Sequence[ShardSize]
    patients: pa.Table
    studies: pa.Table
    masks: tuple[Header, ...] = ()
    samples: pa.Schema = SAMPLES
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Following:
    """What a plan goes on from, where the data set holds something: next key and shard number, and the tables whose rows stay."""

    key: int = 0
    shard: int = 0
    patients: pa.Table = field(default_factory=PATIENTS.empty_table)
    studies: pa.Table = field(default_factory=STUDIES.empty_table)


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """What is the same for all shards."""

    root: Path
    out: Path
    codec: CodecName
    color: ColourMode
    axis: int
    target: int | None  # bytes of stored pixels; None: `shard_target`
    wide: WideMode = "raw"
    kept: tuple[Kept, ...] = ()
    transform: str | None = None
    thinnings: Thinnings = EVERYTHING
    drop_empty: bool = False


def shard_target(total: int) -> int:
    """Bytes of stored pixels per shard: 128 MiB, less where that would leave too few shards to share among cores and readers.

    At least 16 MiB. A function of the data alone: the number of workers never moves a shard's border.
    """
    return max(_SMALLEST_SHARD, min(DEFAULT_SHARD, total // _ENOUGH_SHARDS))


def make_plan(
    headers: Sequence[Header],
    patients: Sequence[Patient],
    splits: Mapping[str, int],
    seed: int,
    options: ShardOptions,
    pseudonym: Pseudonym,
    masks: Masks = NO_MASKS,
    following: Following | None = None,
) -> Plan:
    """Plan the shards of a catalog.

    Series are shuffled by a hash of (seed, series), so neither keys nor shards are in order of paths; a shard takes series until the
    target is reached, a larger series has a shard of its own.

    Args:
        patients: of each header; splits: patient identity -> split; masks: those of the files.
        following: what the data set has already, None: nothing.
    """
    following = following or Following()
    found = find_series(headers, [patient.identity for patient in patients])
    series, left_out = thin(found, headers, options.thinnings)
    split_of = {one.identity: splits[patients[one.rows[0]].identity] for one in series}
    series.sort(key=lambda one: (split_of[one.identity], _shuffle(seed, one.identity)))
    target = options.target or shard_target(sum(one.size for one in series))
    tables = _Tables(pseudonym, following)
    planned: list[_Shard] = []
    next_key = following.key
    for split, split_name in enumerate(SPLITS):
        chosen = [one for one in series if split_of[one.identity] == split]
        for number, group in enumerate(_fill(chosen, target), following.shard):
            parts = []
            for one in group:
                patient, study = tables.rows(patients[one.rows[0]], split, headers[one.rows[0]])
                parts.append(_Part(one, next_key, patient, study, pseudonym("series", one.identity)))
                next_key += one.count
            planned.append(_Shard(f"{split_name}/{number:06d}.tar", split, tuple(parts)))

    def job(number: int) -> ShardJob:
        shard = planned[number]
        return ShardJob(
            shard.name,
            shard.split,
            tuple(_series_job(part, headers, masks) for part in shard.parts),
            options.root,
            options.out,
            options.codec,
            options.color,
            options.axis,
            wide=options.wide,
            kept=options.kept,
            transform=options.transform,
            drop_empty=options.drop_empty,
        )

    samples = samples_schema(options.kept)
    sizes = Lazy(len(planned), lambda number: planned[number].shard_size)
    return Plan(Lazy(len(planned), job), sizes, *tables.arrow(), masks.headers, samples, tuple(left_out))


@dataclass(frozen=True, slots=True)
class _Part:
    """A series of a shard, of which a `SeriesJob` can be made."""

    series: SeriesFiles
    first_key: int
    patient: int
    study: int
    pseudonym: str


@dataclass(frozen=True, slots=True)
class _Shard:
    name: str
    split: int
    parts: tuple[_Part, ...]

    @property
    def shard_size(self) -> ShardSize:
        return ShardSize(self.name, self.split, sum(part.series.count for part in self.parts))


def _series_job(part: _Part, headers: Sequence[Header], masks: Masks) -> SeriesJob:
    one = part.series
    files = tuple(
        FileJob(row, headers[row], places, masks.paired.get(row))
        for row, places in zip(one.rows, one.places, strict=True)
    )
    segments = _segments(one, masks)
    return SeriesJob(part.first_key, one.count, files, part.patient, part.study, part.pseudonym, one.geometry, segments)


def with_seen(plan: Plan, files: SourceFiles, rows: NDArray[np.int64]) -> Plan:
    """`plan`, whose workers refuse a file that is no longer the one that was scanned.

    Args:
        rows: (images,) the place of each image's file among `files`.
    """

    def seen(number: int) -> ShardJob:
        job = plan.jobs[number]
        known: dict[str, InputFile | None] = {}
        for series in job.series:
            known |= {file.header.source: files[int(rows[file.row])] for file in series.files}
            beside = [file.mask.header for file in series.files if file.mask is not None]
            beside += [series.segments.header] if series.segments is not None else []
            parts = [part for file in series.files for part in file.header.parts]
            names = (*parts, *(name for header in beside for name in (header.source, *header.parts)))
            known |= {name: files.find(name) for name in names}
        there = ((source, known[source]) for source in sorted(known))
        return replace(job, seen={source: (file.size, file.modified) for source, file in there if file is not None})

    return replace(plan, jobs=Lazy(len(plan.jobs), seen))


def _segments(series: SeriesFiles, masks: Masks) -> SegmentsJob | None:
    """The segmentation of a series, None where it has none."""
    found = {row: masks.segments[row] for row in series.rows if row in masks.segments}
    if not found:
        return None
    first = next(iter(found.values()))
    places: list[set[int]] = [set() for _ in range(first.header.frames)]
    for row, of_row in zip(series.rows, series.places, strict=True):
        for frame, lying in found[row].frames.items() if row in found else ():
            for number in lying if of_row[frame] != LEFT_OUT else ():
                places[number].add(of_row[frame])
    return SegmentsJob(first.row, _without_images(first.header), tuple(tuple(sorted(one)) for one in places))


def _without_images(header: Header) -> Header:
    """What a worker needs of a segmentation's header: `places` stand for the images, of which each frame may name all."""
    if header.segmentation is None:
        return header
    said = replace(header.segmentation, images=(), instances=frozenset(), series=frozenset())
    return replace(header, segmentation=said)


class _Tables:
    """patients.arrow and studies.arrow while they grow: rows in order of first appearance, which is the shuffled one.

    Rows that are there stay where they are: KEY.json of shards that stay names them.
    """

    def __init__(self, pseudonym: Pseudonym, following: Following) -> None:
        self._pseudonym = pseudonym
        self._patients: dict[str, int] = {}  # by identity
        self._studies: dict[str, int] = {}
        self._patient_rows: list[dict[str, object]] = following.patients.to_pylist()
        self._study_rows: list[dict[str, object]] = following.studies.to_pylist()
        self._known_patients = {row["pseudonym"]: number for number, row in enumerate(self._patient_rows)}
        self._known_studies = {row["pseudonym"]: number for number, row in enumerate(self._study_rows)}

    def rows(self, patient: Patient, split: int, header: Header) -> tuple[int, int]:
        """Rows of a series' patient and study."""
        row = self._patients.get(patient.identity)
        if row is None:
            pseudonym = self._pseudonym("patient", patient.identity)
            row = self._patients[patient.identity] = self._known_patients.get(pseudonym, len(self._patient_rows))
            if row == len(self._patient_rows):
                self._patient_rows.append({"pseudonym": pseudonym, "split": split, "known": patient.known})
        own = header.study or header.series if header.format == "dicom" else None
        identity = "\0".join((patient.identity, own or f"\0{header.source}"))
        study = self._studies.get(identity)
        if study is None:
            pseudonym = self._pseudonym("study", identity)
            study = self._studies[identity] = self._known_studies.get(pseudonym, len(self._study_rows))
            if study == len(self._study_rows):
                self._study_rows.append({"pseudonym": pseudonym, "patient": row})
        return row, study

    def arrow(self) -> tuple[pa.Table, pa.Table]:
        """(patients, studies)."""
        return (
            pa.Table.from_pylist(self._patient_rows, schema=PATIENTS),
            pa.Table.from_pylist(self._study_rows, schema=STUDIES),
        )


def _shuffle(seed: int, identity: str) -> bytes:
    key = f"radload-order-{seed}".encode()
    return hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16, key=key).digest()


def _fill(series: Sequence[SeriesFiles], target: int) -> list[list[SeriesFiles]]:
    groups: list[list[SeriesFiles]] = []
    size = 0
    for one in series:
        if not groups or size + one.size > target:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += one.size
    return groups
