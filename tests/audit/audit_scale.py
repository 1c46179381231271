"""An index of many rows and no shards, and an audit of it that prints its seconds and its memory: run as a program of its own.

python tests/audit/audit_scale.py make FOLDER SAMPLES
python tests/audit/audit_scale.py audit FOLDER
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from radload.audit import audit
from radload.audit.report import write_report
from radload.dataset.index import segment_folder
from radload.dataset.labels import LabelSet, write_labels
from radload.dataset.manifest import Manifest, write_manifest
from radload.dataset.schema import LUTS, PATIENTS, RECORD, SAMPLES, SERIES, SERIES_RECORD, STUDIES
from radload.dataset.segment import ShardPart, write_segment

SLICES, SHARD = 50, 20_000  # samples of a series, of a shard
SHARES = (0.75, 0.1, 0.15)
PLANTED = 1000  # one sample in so many has the pixels of another one


def make(root: Path, samples: int) -> None:
    """Every series is a patient; hashes are random, and 1 in PLANTED is that of another row."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 1 << 63, (samples, 2), np.uint64)
    rows = random.permutation(samples)
    count = samples // PLANTED
    hashes[rows[:count]] = hashes[rows[count : 2 * count]]
    series = samples // SLICES
    split = np.repeat([0, 1, 2], np.diff([0, *(np.cumsum(SHARES) * series).astype(int).tolist()])).astype(np.uint8)
    names = pa.array([f"{number:032x}" for number in random.permutation(series).tolist()])
    patients = pa.table([names, split, np.ones(series, np.bool_)], schema=PATIENTS)
    studies = pa.table([names, np.arange(series, dtype=np.uint32)], schema=STUDIES)
    parts = _parts(hashes, split, names)
    summary = write_segment(root / segment_folder(0), 0, parts, patients, studies)
    manifest = Manifest(
        0, [0], summary.fingerprint, samples, series, series, 0, summary.splits, {}, "tag:PatientID", "htj2k", "0", {}, {}
    )  # fmt: skip
    write_manifest(root, manifest)
    ranges, first = {}, 0
    for name, counts in summary.splits.items():
        ranges[name] = range(first, first := first + counts["samples"])
    codes = np.arange(samples, dtype=np.int32) % 165
    labels = LabelSet("default", "single", tuple(f"c{number}" for number in range(165)), codes, "csv")
    write_labels(root, labels, np.arange(samples, dtype=np.uint64), ranges)


def _parts(hashes: np.ndarray, split: np.ndarray, names: pa.Array):  # type: ignore[no-untyped-def]
    for code in range(3):
        mine = np.flatnonzero(split == code)
        for number, chunk in enumerate(np.array_split(mine, max(1, len(mine) * SLICES // SHARD))):
            first, n = int(chunk[0]), len(chunk)
            keys = np.arange(first * SLICES, (first + n) * SLICES, dtype=np.uint64)
            records = np.zeros(n * SLICES, RECORD)
            records["key"], records["series"] = keys, np.repeat(np.arange(n), SLICES)
            series = np.zeros(n, SERIES_RECORD)
            series["first_row"], series["count"] = np.arange(n) * SLICES, SLICES
            series["patient"] = series["study"] = chunk
            columns = {field.name: pa.nulls(len(keys), field.type) for field in SAMPLES}
            columns["key"] = pa.array(keys)
            data = pa.py_buffer(hashes[keys[0] : keys[-1] + np.uint64(1)].tobytes())
            columns["pixel_hash"] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(keys), [None, data])
            about = {field.name: pa.nulls(n, field.type) for field in SERIES}
            about["pseudonym"], about["modality"] = names.slice(first, n), pa.array(["CT"] * n)
            yield ShardPart(
                f"{('train', 'val', 'test')[code]}/{number:06d}.tar", code, 0, bytes(32), records,
                pa.table(list(columns.values()), schema=SAMPLES), series, ["CT"] * n,
                pa.table(list(about.values()), schema=SERIES), LUTS.empty_table(),
            )  # fmt: skip


def main() -> None:
    what, root = sys.argv[1], Path(sys.argv[2])
    if what == "make":
        make(root, int(sys.argv[3]))
        return
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    result = audit(root)
    seconds = time.perf_counter() - start
    write_report(root.parent / "report.json", result)
    counts = {check.name: len(check.findings) for check in result.checks}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": round(seconds, 2), "mebibytes": (peak - before) // 1024, "counts": counts}))


if __name__ == "__main__":
    main()
