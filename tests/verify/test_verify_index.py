"""An index that contradicts itself, the manifest or the shards, though every checksum in segment.json is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from verify_make import change, flip, opened, rewrite

from radload.dataset.labels import read_labels
from radload.dataset.manifest import read_manifest, write_manifest
from radload.dataset.schema import MASK_RECORD, RECORD, SERIES_RECORD
from radload.verify import shard, verify

RECORDS: dict[str, tuple[int, str, Any, str]] = {
    "a key twice": (3, "key", 2, "its key does not follow"),
    "an offset beyond the shard": (0, "offset", 1 << 40, "end behind its shard"),
    "an offset that wraps": (0, "offset", (1 << 64) - 4, "end behind its shard"),
    "a length beyond the shard": (5, "length", (1 << 32) - 1, "end behind its shard"),
    "another offset": (2, "offset", 512, "bytes at"),
    "another length": (2, "length", 300, "levels are impossible"),
    "an unknown shard": (-1, "shard", 99, "that shards.arrow does not have"),
    "another shard": (0, "shard", 1, "its shard comes before"),
    "another split": (0, "split", 2, "its split is not"),
    "no rows": (0, "rows", 0, "it has no pixels"),
    "fewer rows": (2, "rows", 5, "the index says"),
    "an unknown codec": (0, "codec", 7, "unknown"),
    "an unknown type": (0, "dtype", 200, "unknown"),
    "another type": (2, "dtype", 2, ""),
    "five channels": (0, "channels", 5, "unknown"),
    "nine levels": (0, "levels", 9, "levels are impossible"),
    "levels that are not there": (0, "safe_levels", 6, "levels are impossible"),
    "another bias": (2, "bias", 12, ""),
    "another slope": (2, "slope", 7.0, "contradicts the index (slope)"),
    "another intercept": (2, "intercept", float("nan"), "contradicts the index (intercept)"),
    "another spacing": (2, "spacing_row", 9.0, "contradicts the index (spacing)"),
    "another series": (1, "series", 2, "disagree on which sample is in which series"),
    "another flag": (2, "flags", 5, "contradicts the index"),
}


def test_an_index_without_shards_is_found(data: Path) -> None:
    table, sink = opened(data).table("shards"), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.slice(0, 0))
    rewrite(data, "shards.arrow", sink.getvalue().to_pybytes())
    path = opened(data).folder / "segment.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "shards": 0}))
    report = verify(data, workers=0)
    assert not report.index_ok and "no shard" in " ".join(map(str, report.problems)), report.problems


def test_only_what_is_looked_at_is_counted(data: Path) -> None:
    index = opened(data)
    name = index.shard_names[0]
    report = verify(data, workers=0, only=[name])
    assert report.whole and report.shards == 1
    assert report.samples == int((index.records["shard"] == 0).sum()) < len(index.records)


def test_texts_that_are_read_in_between_are_as_those_at_the_end(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, field, value, _ = RECORDS["another slope"]
    change(data, "records.bin", RECORD, row, field, value)
    at_the_end = verify(data, workers=0)
    monkeypatch.setattr(shard, "_TEXTS", 1000)  # one or two of them
    assert verify(data, workers=0) == at_the_end and len(at_the_end.bad) == 1


@pytest.mark.parametrize("name", RECORDS)
def test_a_wrong_record_is_found(data: Path, name: str) -> None:
    row, field, value, text = RECORDS[name]
    change(data, "records.bin", RECORD, row, field, value)
    report = verify(data, workers=0)
    assert not report.whole and text in " ".join(map(str, report.problems)), report.problems


def test_wrong_ends_and_checksums_of_levels_are_found(data: Path) -> None:
    records = np.fromfile(opened(data).folder / "records.bin", RECORD)
    row = int(np.flatnonzero(records["levels"] > 0)[0])
    for field, change_by in (("level_end", 1), ("level_crc", 5)):
        for level in range(5):
            wrong = records.copy()
            wrong[field][row, level] += change_by
            rewrite(data, "records.bin", wrong.tobytes())
            assert not verify(data, workers=0).whole, (field, level)
    rewrite(data, "records.bin", records.tobytes())
    assert verify(data, workers=0).whole


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("first_row", 1, "are not all rows"),
        ("count", 2, "are not all rows"),
        ("patient", 99, "in no table"),
        ("patient", 1, "of two patients"),
        ("study", 99, "in no table"),
        ("modality", 77, "unknown modalities"),
        ("units", 99, "unknown modalities or units"),
    ],
)
def test_a_wrong_series_is_found(data: Path, field: str, value: int, text: str) -> None:
    change(data, "series.bin", SERIES_RECORD, 0, field, value)
    assert text in " ".join(map(str, verify(data, workers=0).problems))


def test_a_wrong_mask_record_is_found(data: Path) -> None:
    row = int(np.flatnonzero(np.fromfile(opened(data).folder / "masks.bin", MASK_RECORD)["length"])[0])
    for field in ("offset", "length", "crc"):
        whole = (opened(data).folder / "masks.bin").read_bytes()
        change(data, "masks.bin", MASK_RECORD, row, field, 700)
        assert "mask" in " ".join(problem.what for problem in verify(data, workers=0).problems), field
        rewrite(data, "masks.bin", whole)


def test_lists_of_rows_are_compared(data: Path) -> None:
    for name in ("patient_offsets.bin", "patient_rows.bin"):
        whole = (opened(data).folder / name).read_bytes()
        values = np.frombuffer(whole, "<u8").copy()
        values[1] += 1
        rewrite(data, name, values.tobytes())
        assert "lists of rows by patient" in " ".join(map(str, verify(data, workers=0).problems))
        rewrite(data, name, whole)


def test_counts_and_fingerprint_of_the_manifest_are_compared(data: Path) -> None:
    manifest = read_manifest(data)
    for field in ("samples", "series", "patients", "masks"):
        write_manifest(data, replace(manifest, **{field: 1_000}))
        assert [problem.what for problem in verify(data, workers=0).problems] == [f"{field} is not what the index has"]
    write_manifest(data, replace(manifest, fingerprint="0" * 64))
    assert "fingerprint" in verify(data, workers=0).problems[0].what
    splits = asdict(manifest)["splits"]
    splits["val"]["samples"] += 1
    write_manifest(data, replace(manifest, splits=splits))
    assert "splits" in verify(data, workers=0).problems[0].what


def _table(data: Path, name: str, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    table = opened(data).table(name)
    rows = table.to_pylist()
    edit(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=table.schema))
    rewrite(data, f"{name}.arrow", sink.getvalue().to_pybytes())


TABLES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], None], str]] = {
    "pixel hash": ("samples", lambda rows: rows[2].update(pixel_hash=bytes(16)), "not those of pixel_hash"),
    "key": ("samples", lambda rows: rows[2].update(key=999), "key of its own in samples.arrow"),
    "a row less": ("samples", lambda rows: rows.pop(), "disagree on the number of samples"),
    "view": ("samples", lambda rows: rows[2].update(view="CC"), "contradicts the index (view)"),
    "kept": ("samples", lambda rows: rows[0].update(kept_KVP=1.0), "contradicts the index (kept)"),
    "a table that is not there": ("samples", lambda rows: [r.update(voi_lut=77) for r in rows] and None, ""),
    "body part": ("series", lambda rows: rows[0].update(body_part="HEAD"), "contradicts the index (body_part)"),
    "a study's patient": ("studies", lambda rows: rows[0].update(patient=3), "of two patients"),
    "a patient's split": ("patients", lambda rows: rows[0].update(split=2), "outside of his split"),
    "a shard's digest": ("shards", lambda rows: rows[0].update(sha256=bytes(32)), "another SHA-256"),
    "a shard's size": ("shards", lambda rows: rows[1].update(bytes=rows[1]["bytes"] + 1024), "is cut"),
    "a shard's samples": ("shards", lambda rows: rows[1].update(samples=1), "counts other numbers"),
    "a shard elsewhere": ("shards", lambda rows: rows[0].update(name="../../etc/passwd"), "no shard of the data set"),
    "a shard at the root": ("shards", lambda rows: rows[0].update(name="/etc/passwd"), "no shard of the data set"),
    "an entry of a table": ("luts", lambda rows: rows[0]["values"].__setitem__(0, 3.5), "contradicts the index"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_wrong_table_is_found(data: Path, name: str) -> None:
    table, edit, text = TABLES[name]
    _table(data, table, edit)
    report = verify(data, workers=0)
    assert not report.whole and text in " ".join(map(str, report.problems)), report.problems


@pytest.mark.parametrize(
    "name", ["records.bin", "series.bin", "samples.arrow", "shards.arrow", "luts.arrow", "segment.json"]
)
def test_a_damaged_file_of_the_index_is_one_line(data: Path, name: str) -> None:
    path = opened(data).folder / name
    if name == "segment.json":
        path.write_text(path.read_text()[:50])
    else:
        flip(path, path.stat().st_size // 2)
    report = verify(data, workers=0)
    assert len(report.problems) == 1 and not report.index_ok and report.problems[0].shard == "index"
    assert "restore it from a copy" in report.problems[0].remedy


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("samples", 3, "disagree on the number of samples"),
        ("luts", 30, "disagree on the number of luts"),
        ("next_key", 3, "not below next_key"),
        ("keys", "0" * 32, "the digest of other keys"),
        ("largest", {"train": [1, 1, 1], "val": [0, 0, 0], "test": [0, 0, 0]}, "other largest sizes of split train"),
        ("ranges", {"train": [0, 1], "val": [1, 2], "test": [2, 22]}, "another range of split train"),
    ],
)
def test_what_segment_json_says_is_compared(data: Path, field: str, value: Any, text: str) -> None:
    path = opened(data).folder / "segment.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {field: value}))
    assert text in " ".join(map(str, verify(data, workers=0).problems))


def test_labels_are_compared_with_their_lists_and_digest(data: Path) -> None:
    path = data / "labels/default.arrow"
    table = pa.ipc.open_file(path).read_all()
    labels = read_labels(data, "default", opened(data).keys)
    assert labels.task == "single" and len(labels.classes) > 2

    def written(**columns: pa.Array) -> str:
        changed = table
        for name, column in columns.items():
            changed = changed.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(changed)
        return " ".join(map(str, verify(data, workers=0).problems))

    assert written() == ""
    codes = table.column("label").to_numpy().copy()
    codes[0] = (codes[0] + 1) % len(labels.classes)
    assert "not those of its digest" in written(label=pa.array(codes, pa.int32()))
    assert "lists of rows by class" in written(by_class=table.column("by_class").combine_chunks()[::-1])
    keys = table.column("key").to_numpy() + np.uint64(1)
    assert "its rows are not those of the index" in written(key=pa.array(keys, pa.uint64()))


def test_a_manifest_that_is_no_json_is_a_finding(data: Path) -> None:
    (data / "manifest.json").write_text(json.dumps({"format": "radload", "version": 1}))
    report = verify(data, workers=0)
    assert not report.whole and "manifest.json is damaged" in report.problems[0].what
