"""Writing an index segment: the rows of one generation, from the results of its shard jobs.

Rows come in order of (split, shard, place in the shard): a split is a range of rows, in which keys ascend, and a series is one too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radload.dataset.files import sync_files, sync_folder, write_json
from radload.dataset.schema import (
    LUTS,
    MASK_RECORD,
    PATIENTS,
    SAMPLES,
    SERIES,
    SHARDS,
    SPLITS,
    STUDIES,
    Codec,
)

MASKS_FILE = "masks.bin"
ARROW_FILES = {
    "samples": SAMPLES,
    "series": SERIES,
    "luts": LUTS,
    "shards": SHARDS,
    "patients": PATIENTS,
    "studies": STUDIES,
}


@dataclass(frozen=True, slots=True)
class ShardPart:
    """What one finished shard contributes to the index.

    Attributes:
        name: "train/000000.tar"; split: index into SPLITS; size: bytes; sha256: of the whole file.
        records: (n,) RECORD in order of keys; "shard" and "series" are local (shard 0, series from 0) and are rebased here.
        samples: SAMPLES table of n rows; LUT references are local.
        series_records: (m,) SERIES_RECORD with local "first_row", and global "patient" and "study".
        modalities: (m,) DICOM modality of each series; series: SERIES table of m rows; luts: LUTS table.
        masks: (n,) MASK_RECORD; may be left empty where no sample has a mask.
        generation: in which the shard was written; None: in that of the segment.
    """

    name: str
    split: int
    size: int
    sha256: bytes
    records: NDArray[np.void]
    samples: pa.Table
    series_records: NDArray[np.void]
    modalities: list[str]
    series: pa.Table
    luts: pa.Table = field(default_factory=LUTS.empty_table)
    masks: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, MASK_RECORD))
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """Totals of a written segment: samples, series, per split counts, the fingerprint of all pixels, and the samples with a mask."""

    samples: int
    series: int
    splits: dict[str, dict[str, int]]
    fingerprint: str
    masks: int = 0


@dataclass(frozen=True, slots=True)
class Largest:
    """What no sample of a split exceeds: bytes and pixels of a grey HTJ2K stream, and pixels of an image that is anything else."""

    stream: int = 0
    pixels: int = 0
    coded: int = 0  # pixels of a grey HTJ2K stream

    def and_of(self, records: NDArray[np.void]) -> Largest:
        """The same with more RECORDs (n,)."""
        streams = (records["codec"] == Codec.HTJ2K) & (records["channels"] == 1)
        pixels = records["rows"].astype(np.int64) * records["cols"]
        return Largest(
            max(self.stream, int(records["length"][streams].max(initial=0))),
            max(self.pixels, int(pixels[~streams].max(initial=0))),
            max(self.coded, int(pixels[streams].max(initial=0))),
        )


class KeysDigest:
    """What tells one list of keys from another without reading it: BLAKE2b-128 over the keys, uint64 in order."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, keys: NDArray[np.uint64]) -> None:
        """Append keys (n,)."""
        self._digest.update(np.ascontiguousarray(keys, "<u8").data)

    def text(self) -> str:
        """32 hex digits."""
        return self._digest.hexdigest()


def write_segment(
    folder: Path,
    generation: int,
    parts: Iterable[ShardPart],
    patients: pa.Table,
    studies: pa.Table,
    samples: pa.Schema = SAMPLES,
    used: tuple[int, int] = (0, 0),
) -> SegmentSummary:
    """Write index segment `folder` (made here, must not exist). `parts` come in order of (split, shard); one is held at a time.

    Args:
        samples: schema of the parts' samples: SAMPLES, and columns that a pack was asked to add.
        used: next_key and next_shard of the generation before: what those that come may be called at least.

    The caller renames the folder into place: a reader never sees half a segment.
    """
    folder.mkdir(parents=True)
    modalities: dict[str, int] = {}
    counts = np.zeros((len(SPLITS), 2), np.int64)  # samples, series
    totals = {"samples": 0, "series": 0, "shards": 0, "luts": 0}
    masks = 0
    starts = np.zeros(len(SPLITS) + 1, np.int64)
    patient_of_row: list[NDArray[np.uint32]] = []
    seen_patients: list[set[int]] = [set() for _ in SPLITS]
    digest, keys = hashlib.sha256(), KeysDigest()
    largest = {name: Largest() for name in SPLITS}
    next_key, next_shard = used
    with ExitStack() as stack:
        records_file = stack.enter_context((folder / "records.bin").open("wb"))
        series_file = stack.enter_context((folder / "series.bin").open("wb"))
        masks_file = stack.enter_context((folder / MASKS_FILE).open("wb"))
        tables = {
            name: stack.enter_context(pa.ipc.new_file(str(folder / f"{name}.arrow"), schema))
            for name, schema in (ARROW_FILES | {"samples": samples}).items()
        }
        tables["patients"].write_table(patients)
        tables["studies"].write_table(studies)
        last_split = 0
        for part in parts:
            if part.split < last_split:
                raise ValueError("shard parts must come in order of their splits")
            last_split = part.split
            records, series_records = part.records.copy(), part.series_records.copy()
            series_records["first_row"] += totals["samples"]
            series_records["modality"] = [modalities.setdefault(m, len(modalities)) for m in part.modalities]
            patient_of_row.append(np.repeat(series_records["patient"], series_records["count"]))
            seen_patients[part.split].update(series_records["patient"].tolist())
            records["shard"] = totals["shards"]
            records["series"] += totals["series"]
            records["split"] = part.split
            keys.add(records["key"])
            largest[SPLITS[part.split]] = largest[SPLITS[part.split]].and_of(records)
            records_file.write(records.tobytes())
            series_file.write(series_records.tobytes())
            of_samples = part.masks if len(part.masks) else np.zeros(len(records), MASK_RECORD)
            masks_file.write(of_samples.tobytes())
            masks += int(np.count_nonzero(of_samples["length"]))
            tables["samples"].write_table(_rebase_luts(part.samples, totals["luts"]))
            tables["series"].write_table(part.series)
            tables["luts"].write_table(part.luts)
            row = {"name": part.name, "split": part.split, "samples": len(records), "bytes": part.size}
            row |= {"sha256": part.sha256, "generation": generation if part.generation is None else part.generation}
            next_key = max(next_key, int(records["key"].max(initial=0)) + 1) if len(records) else next_key
            next_shard = max(next_shard, shard_number(part.name) + 1)
            tables["shards"].write_table(pa.Table.from_pylist([row], schema=SHARDS))
            for value in part.samples.column("pixel_hash").to_pylist():
                digest.update(value)
            counts[part.split] += len(records), len(series_records)
            totals["samples"] += len(records)
            totals["series"] += len(series_records)
            totals["shards"] += 1
            totals["luts"] += part.luts.num_rows
        np.cumsum(counts[:, 0], out=starts[1:])
        offsets, rows = rows_by(
            np.concatenate(patient_of_row) if patient_of_row else np.zeros(0, np.uint32), patients.num_rows
        )
        (folder / "patient_offsets.bin").write_bytes(offsets.tobytes())
        (folder / "patient_rows.bin").write_bytes(rows.tobytes())
    if not masks:
        (folder / MASKS_FILE).unlink()
    splits = {
        name: {"samples": int(counts[i, 0]), "series": int(counts[i, 1]), "patients": len(seen_patients[i])}
        for i, name in enumerate(SPLITS)
    }
    files = {path.name: {"bytes": path.stat().st_size, "crc32c": file_crc(path)} for path in sorted(folder.iterdir())}
    summary = {
        "generation": generation,
        **totals,
        "patients": patients.num_rows,
        "studies": studies.num_rows,
        "modalities": list(modalities),
        "ranges": {name: [int(starts[i]), int(starts[i + 1])] for i, name in enumerate(SPLITS)},
        "next_key": next_key,
        "next_shard": next_shard,
        "keys": keys.text(),
        "largest": {name: [one.stream, one.pixels, one.coded] for name, one in largest.items()},
        "files": files,
    }
    write_json(folder / "segment.json", summary)
    sync_files(folder.iterdir())
    sync_folder(folder)
    return SegmentSummary(totals["samples"], totals["series"], splits, digest.hexdigest(), masks)


def shard_number(name: str) -> int:
    """Number of a shard by its name, -1 where it has none."""
    stem = Path(name).stem
    return int(stem) if stem.isascii() and stem.isdecimal() else -1


def file_crc(path: Path) -> int:
    """CRC-32C of a whole file, read in pieces."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            crc = google_crc32c.extend(crc, piece)
    return crc


def rows_by(groups: NDArray[np.integer], count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Row lists by group: `rows[offsets[g]:offsets[g + 1]]` are the rows whose group is g, ascending."""
    order = np.argsort(groups, kind="stable").astype("<u8")
    offsets = np.zeros(count + 1, "<u8")
    np.cumsum(np.bincount(groups, minlength=count), out=offsets[1:])
    return offsets, order


def _rebase_luts(samples: pa.Table, base: int) -> pa.Table:
    if base == 0:
        return samples
    for name in ("modality_lut", "voi_lut"):
        column = samples.schema.get_field_index(name)
        shifted = pc.add(samples.column(name), pa.scalar(base, pa.int32()))
        samples = samples.set_column(column, SAMPLES.field(name), shifted)
    mappings = samples.column("real_world")
    if pc.sum(pc.is_valid(pc.struct_field(pc.list_flatten(mappings), "lut"))).as_py():
        rows = mappings.to_pylist()  # tables of this kind are rare: a few files
        for mapping in (mapping for row in rows for mapping in row or () if mapping["lut"] is not None):
            mapping["lut"] += base
        column = samples.schema.get_field_index("real_world")
        samples = samples.set_column(column, SAMPLES.field(column), pa.array(rows, SAMPLES.field(column).type))
    return samples
