"""A data set of any number of samples whose index is real and whose shards are few: for measuring what opening costs.

The rows of a small packed data set are repeated; all shards of the index are the same few files. Records, series, patients and labels
are there for every row. samples.arrow, which a loader without `meta` does not open, is left empty beyond `DESCRIBED` samples.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from make import Image, Series, ct_slice, write_dataset

from radload.dataset.index import open_index, segment_folder
from radload.dataset.labels import LabelSet, write_labels
from radload.dataset.manifest import Manifest, read_manifest, write_manifest
from radload.dataset.schema import SAMPLES, SERIES_RECORD, SHARDS
from radload.dataset.segment import KeysDigest, file_crc

BASE, PER_SERIES, PER_PATIENT, PER_SHARD, CLASSES = 512, 100, 200, 4096, 165
DESCRIBED = 2_000_000
_PIECE = 1 << 20  # rows written in one go


def write_big(root: Path, samples: int) -> Path:
    """Write a data set of `samples` slices of 64 x 64 (CT; a series of 100, a patient of 200, a shard of 4,096; 165 classes)."""
    images = [Image(ct_slice(i % 16), intercept=-1024.0) for i in range(BASE)]
    write_dataset(root, [Series(images, body_part="CHEST")])
    index = open_index(root, read_manifest(root))
    base, kind, table = np.array(index.records), np.array(index.series[0]), index.table("samples")
    folder = root / segment_folder(0)
    digest = KeysDigest()
    with (folder / "records.bin").open("wb") as file:
        for start in range(0, samples, _PIECE):
            rows = np.arange(start, min(start + _PIECE, samples), dtype=np.uint64)
            records = base[rows % BASE]
            records["key"], records["shard"], records["series"] = rows, rows // PER_SHARD, rows // PER_SERIES
            digest.add(records["key"])
            file.write(records.tobytes())
    count = -(-samples // PER_SERIES)
    series = np.full(count, kind, SERIES_RECORD)
    series["first_row"] = np.arange(count) * PER_SERIES
    series["count"] = PER_SERIES
    series["count"][-1] = samples - (count - 1) * PER_SERIES
    series["patient"] = series["study"] = np.arange(count) // (PER_PATIENT // PER_SERIES)
    (folder / "series.bin").write_bytes(series.tobytes())
    patients = -(-samples // PER_PATIENT)
    offsets = np.minimum(np.arange(patients + 1, dtype=np.uint64) * PER_PATIENT, samples)
    (folder / "patient_offsets.bin").write_bytes(offsets.tobytes())
    np.arange(samples, dtype=np.uint64).tofile(folder / "patient_rows.bin")
    shards = -(-samples // PER_SHARD)
    listed = index.table("shards").take(pa.array(np.zeros(shards, np.int64)))
    _rewrite(folder / "shards.arrow", SHARDS, [listed])
    described = samples if samples <= DESCRIBED else 0
    pieces = [table.slice(0, min(BASE, described - start)) for start in range(0, described, BASE)]
    _rewrite(folder / "samples.arrow", SAMPLES, pieces)
    summary = json.loads((folder / "segment.json").read_text())
    ranges = {"train": range(samples), "val": range(samples, samples), "test": range(samples, samples)}
    summary |= {"samples": samples, "series": count, "patients": patients, "shards": shards, "keys": digest.text()}
    summary["ranges"] = {name: [rows.start, rows.stop] for name, rows in ranges.items()}
    summary["files"] = {
        path.name: {"bytes": path.stat().st_size, "crc32c": file_crc(path)}
        for path in sorted(folder.iterdir())
        if path.name != "segment.json"
    }
    (folder / "segment.json").write_text(json.dumps(summary))
    manifest = read_manifest(root)
    write_manifest(root, Manifest(**{**_fields(manifest), "samples": samples, "series": count, "patients": patients}))
    codes = (np.arange(samples, dtype=np.int64) // PER_SERIES % CLASSES).astype(np.int32)
    labels = LabelSet("default", "single", tuple(f"class {i}" for i in range(CLASSES)), codes, "csv")
    write_labels(root, labels, np.arange(samples, dtype=np.uint64), ranges)
    return root


def _fields(manifest: Manifest) -> dict[str, object]:
    return {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}


def _rewrite(path: Path, schema: pa.Schema, tables: list[pa.Table]) -> None:
    path.unlink()  # the tables that are written are views of it, mapped
    with pa.ipc.new_file(str(path), schema) as writer:
        for table in tables:
            writer.write_table(table)
