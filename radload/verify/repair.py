"""What can be done about a damaged data set: leave the bad samples out, or write the damaged shards anew from the source.

`drop` writes new shards beside the damaged ones, and an index of the next generation, before anything that is in use goes; what is
ready is then moved into place, and a repair that is killed there is finished by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radload.codecs import EXTENSIONS
from radload.dataset.files import atomic_file, sync_folder
from radload.dataset.index import Index, open_index, segment_folder
from radload.dataset.labels import label_names, read_labels, write_labels
from radload.dataset.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from radload.dataset.schema import MASK_RECORD, SAMPLES, SPLITS, Codec, key_text
from radload.dataset.segment import ShardPart, write_segment
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.pack.shard import BLOCK, TarWriter
from radload.verify.members import read_member
from radload.verify.run import Report, lut_range

_STAGE: Final = ".repair"  # what is being written
_READY: Final = ".repair.ready"  # what is written and waits to be moved into place


@dataclass(frozen=True, slots=True)
class Dropped:
    """What `drop` did: samples left out, and the shards that it wrote and took away."""

    samples: int
    written: tuple[str, ...]
    removed: tuple[str, ...]


def unfinished(root: Path) -> bool:
    """Whether a repair was killed after its new files were ready: `finish` moves them into place."""
    return (root / _READY).is_dir()


def finish(root: Path) -> None:
    """Move what an earlier repair had ready into place."""
    with _locked(root):
        if unfinished(root):
            _apply(root)


def drop(root: Path, report: Report) -> Dropped:
    """Leave the bad samples of `report` out: their shards are written anew without them, index, labels and manifest too.

    The data set gets another fingerprint and its next generation; keys and splits of what stays do not change.

    Raises:
        UsageError: index damaged, nothing would be left, or another program writes to the data set.
    """
    if not report.index_ok:
        raise UsageError(
            f"the index of {root} is damaged, so nothing says which samples are good: restore it from a copy"
        )
    with _locked(root):
        manifest = read_manifest(root)
        index = open_index(root, manifest)
        keep = np.ones(len(index.records), np.bool_)
        keep[list(report.bad)] = False
        if not keep.any():
            raise UsageError(f"no sample of {root} can be used: restore the shards from a copy, or pack again")
        damaged = {problem.shard for problem in report.problems} & set(index.shard_names)
        shutil.rmtree(root / _STAGE, ignore_errors=True)
        writer = _Writer(root, root / _STAGE, index, keep, damaged)
        _stage(root, manifest, index, keep, writer)
        (root / _STAGE).rename(root / _READY)
        sync_folder(root)
        _apply(root)
        return Dropped(int((~keep).sum()), tuple(writer.written), tuple(sorted(damaged)))


def _stage(root: Path, manifest: Manifest, index: Index, keep: NDArray[np.bool_], writer: _Writer) -> None:
    """Write shards, index, labels and manifest below the stage."""
    stage, generation = root / _STAGE, manifest.generation + 1
    for name in (*SPLITS, "labels", "index"):
        (stage / name).mkdir(parents=True)
    schema = index.table("samples").schema.remove_metadata()
    folder = stage / segment_folder(generation)
    segment = write_segment(folder, generation, writer.parts(), index.table("patients"), index.table("studies"), schema)
    ranges, start = {}, 0
    for name in SPLITS:
        ranges[name] = range(start, start := start + segment.splits[name]["samples"])
    for name in label_names(root):
        labels = read_labels(root, name, index.keys)
        write_labels(stage, replace(labels, codes=labels.codes[keep]), index.records["key"][keep], ranges)
    dropped = int((~keep).sum())
    changed = replace(
        manifest,
        generation=generation,
        generations=[generation],
        fingerprint=segment.fingerprint,
        samples=segment.samples,
        series=segment.series,
        patients=sum(split["patients"] for split in segment.splits.values()),
        splits=segment.splits,
        masks=segment.masks,
        notes=[*manifest.notes, f"{dropped:,} damaged samples were left out afterwards (radload verify --repair drop)"],
    )
    write_manifest(stage, changed)


def _apply(root: Path) -> None:
    """Move all that is ready into place, the manifest before labels, and take away what no manifest names. May be repeated."""
    ready = root / _READY
    for name in (*SPLITS, "index"):
        for path in sorted((ready / name).glob("*")):
            (root / name).mkdir(exist_ok=True)
            path.replace(root / name / path.name)
    for path in (*sorted((ready / "labels").glob("*")), ready / MANIFEST):
        if path.exists():
            path.replace(root / path.relative_to(ready))
    sync_folder(root)
    manifest = read_manifest(root)
    index = open_index(root, manifest)
    known = set(index.shard_names)
    for split in SPLITS:
        for path in (root / split).glob("*.tar"):
            if path.relative_to(root).as_posix() not in known:
                path.unlink()
    for path in (root / "index").iterdir():
        if path != index.folder:
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(ready)


class _Writer:
    """Writes the damaged shards anew, without the samples that are bad, and gives the parts of the new index."""

    def __init__(
        self, root: Path, stage: Path, index: Index, keep: NDArray[np.bool_], damaged: Collection[str]
    ) -> None:
        self._root, self._stage, self._index, self._keep, self._damaged = root, stage, index, keep, damaged
        self.written: list[str] = []
        self._free = {split: 1 + max(_numbers(index.shard_names, split), default=-1) for split in SPLITS}

    def parts(self) -> Iterator[ShardPart]:
        """A part of each shard that holds something, in their order."""
        index = self._index
        bounds = np.searchsorted(index.records["shard"], np.arange(len(index.shard_names) + 1))
        with ShardFiles(self._root, index.shard_names) as shards:
            for number, shard in enumerate(index.table("shards").to_pylist()):
                rows = np.arange(bounds[number], bounds[number + 1])
                rows = rows[self._keep[rows]]
                if len(rows):
                    yield self._part(shard["name"], shard["split"], shard["bytes"], shard["sha256"], rows, shards)

    def _part(
        self, name: str, split: int, size: int, sha256: bytes, rows: NDArray[np.int64], shards: ShardFiles
    ) -> ShardPart:
        index = self._index
        records = np.array(index.records[rows])
        masks = np.zeros(0, MASK_RECORD) if index.masks is None else np.array(index.masks[rows])
        if name in self._damaged:
            name, size, sha256 = self._write(name, records, masks, shards)
        series, first, counts = np.unique(records["series"], return_index=True, return_counts=True)
        series_records = np.array(index.series[series])
        series_records["first_row"], series_records["count"] = first, counts
        modalities = [index.modalities[code] for code in series_records["modality"].tolist()]
        records["series"] = np.searchsorted(series, records["series"])
        samples = index.table("samples").take(pa.array(rows))
        tables = lut_range(samples)
        return ShardPart(
            name,
            split,
            size,
            sha256,
            records,
            _local_luts(samples, tables.start),
            series_records,
            modalities,
            index.table("series").take(pa.array(series)),
            index.table("luts").slice(tables.start, len(tables)),
            masks,
        )

    def _write(
        self, name: str, records: NDArray[np.void], masks: NDArray[np.void], shards: ShardFiles
    ) -> tuple[str, int, bytes]:
        """Copy the good samples of a shard to a new one; their offsets are changed in place. Every byte of pixels is checked again."""
        split = name.partition("/")[0]
        new = f"{split}/{self._free[split]:06d}.tar"
        self._free[split] += 1
        with (self._root / name).open("rb") as old, atomic_file(self._stage / new) as file:
            tar = TarWriter(file)
            for row, record in enumerate(records):
                key, data = key_text(int(record["key"])), shards.read(record)
                text = read_member(old, int(record["offset"]) + len(data) + -len(data) % BLOCK, f"{key}.json")
                mask = shards.read_mask(masks[row], record) if len(masks) and masks[row]["length"] else None
                record["offset"] = tar.add(f"{key}.{EXTENSIONS[Codec(int(record['codec']))]}", data)
                tar.add(f"{key}.json", text)
                if mask is not None:
                    masks[row]["offset"] = tar.add(f"{key}.mask.npy", mask)
            digest = tar.finish()
        self.written.append(new)
        return new, tar.size, digest


def _numbers(names: Sequence[str], split: str) -> list[int]:
    """Numbers of the shards of a split."""
    stems = [Path(name).stem for name in names if name.startswith(f"{split}/")]
    return [int(stem) for stem in stems if stem.isdecimal()]


def _local_luts(samples: pa.Table, base: int) -> pa.Table:
    """`samples` whose references to tables begin at 0 again: those of a shard stand together."""
    if base == 0:
        return samples
    for name in ("modality_lut", "voi_lut"):
        column = samples.schema.get_field_index(name)
        shifted = pc.subtract(samples.column(name), pa.scalar(base, pa.int32()))
        samples = samples.set_column(column, SAMPLES.field(name), shifted)
    rows = samples.column("real_world").to_pylist()
    for mapping in (mapping for row in rows for mapping in row or () if mapping["lut"] is not None):
        mapping["lut"] -= base
    field = SAMPLES.field("real_world")
    return samples.set_column(samples.schema.get_field_index("real_world"), field, pa.array(rows, field.type))


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Nobody else packs or repairs meanwhile."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another radload program is writing to {root}: wait for its end") from None
        except OSError:  # some network file systems cannot
            pass
        yield
    finally:
        os.close(descriptor)
