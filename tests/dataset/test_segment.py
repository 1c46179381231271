"""The index: rows in order of split and shard, lists by patient, lengths checked at open, one clear sentence for damage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.dataset.index import open_index, segment_folder, split_range
from radload.dataset.manifest import Manifest, read_manifest, write_manifest
from radload.dataset.schema import LUTS, MASK_RECORD, PATIENTS, RECORD, SAMPLES, SERIES, SERIES_RECORD, STUDIES, Codec
from radload.dataset.segment import KeysDigest, Largest, ShardPart, file_crc, rows_by, write_segment
from radload.errors import FormatError, UsageError

MANIFEST = Manifest(
    generation=0,
    generations=[0],
    fingerprint="00",
    samples=0,
    series=0,
    patients=0,
    unknown_patients=0,
    splits={},
    split_rule={},
    patient_rule="tag:PatientID",
    codec="htj2k",
    key_id="00",
    tools={},
    source={},
)


def part(name: str, split: int, first_key: int, sizes: list[int], patients: list[int], luts: int = 0) -> ShardPart:
    """A shard without pixels: `sizes[i]` samples in its series i, which belongs to `patients[i]`."""
    n = sum(sizes)
    records = np.zeros(n, RECORD)
    records["key"] = np.arange(first_key, first_key + n)
    records["series"] = np.repeat(np.arange(len(sizes)), sizes)
    series_records = np.zeros(len(sizes), SERIES_RECORD)
    series_records["first_row"] = np.cumsum([0, *sizes[:-1]])
    series_records["count"] = sizes
    series_records["patient"] = patients
    rows = [{"key": first_key + i, "voi_lut": i if i < luts else None, "pixel_hash": bytes([i] * 16)} for i in range(n)]
    series = [{"pseudonym": f"s{i}", "modality": "CT", "units": 1} for i in range(len(sizes))]
    return ShardPart(
        name,
        split,
        size=1000,
        sha256=bytes(32),
        records=records,
        samples=pa.Table.from_pylist(rows, schema=SAMPLES),
        series_records=series_records,
        modalities=["CT"] * len(sizes),
        series=pa.Table.from_pylist(series, schema=SERIES),
        luts=pa.Table.from_pylist([{"first": 0, "values": [float(i)]} for i in range(luts)], schema=LUTS),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    patients = pa.Table.from_pylist(
        [{"pseudonym": f"p{i}", "split": i // 2, "known": True} for i in range(3)], schema=PATIENTS
    )
    studies = pa.Table.from_pylist([{"pseudonym": "t", "patient": 0}], schema=STUDIES)
    parts = [
        part("train/000000.tar", 0, 10, [2, 3], [0, 1], luts=2),
        part("train/000001.tar", 0, 20, [1], [0], luts=1),
        part("val/000000.tar", 1, 30, [4], [2]),
    ]
    summary = write_segment(tmp_path / segment_folder(0), 0, parts, patients, studies)
    assert (summary.samples, summary.series) == (10, 4)
    assert summary.splits["train"] == {"samples": 6, "series": 3, "patients": 2}
    write_manifest(tmp_path, MANIFEST)
    return tmp_path


def test_rows_are_ranges_of_splits_and_series(folder: Path) -> None:
    index = open_index(folder, read_manifest(folder))
    assert index.ranges == {"train": range(6), "val": range(6, 10), "test": range(10, 10)}
    assert index.records["shard"].tolist() == [0] * 5 + [1] + [2] * 4
    for i, series in enumerate(index.series):
        rows = slice(int(series["first_row"]), int(series["first_row"] + series["count"]))
        assert (index.records["series"][rows] == i).all()
        assert (index.records["series"] == i).sum() == series["count"]
    assert index.rows_of_patient(0).tolist() == [0, 1, 5]
    assert index.row_of(30) == 6
    with pytest.raises(KeyError):
        index.row_of(31 + 4)
    assert index.table("samples").column("voi_lut").to_pylist()[:6] == [0, 1, None, None, None, 2]
    assert split_range(index, None) == range(10)
    with pytest.raises(UsageError, match="train, val, test"):
        split_range(index, "dev")


@pytest.mark.parametrize("name", ["records.bin", "series.bin", "samples.arrow", "patient_rows.bin"])
@pytest.mark.parametrize("damage", ["cut", "gone", "flipped"])
def test_damage_is_named_at_open(folder: Path, name: str, damage: str) -> None:
    path = folder / segment_folder(0) / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(FormatError, match=name):
        open_index(folder, MANIFEST)


def test_other_versions_are_refused(folder: Path) -> None:
    for change, words in [
        ({"version": 2}, "version 2"),
        ({"format": "tar"}, "not a radload manifest"),
        ({"extra": 1}, "damaged"),
    ]:
        content = json.loads((folder / "manifest.json").read_text()) | change
        (folder / "manifest.json").write_text(json.dumps(content))
        with pytest.raises(FormatError, match=words):
            read_manifest(folder)
        write_manifest(folder, MANIFEST)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(FormatError, match="damaged"):
        read_manifest(folder)
    with pytest.raises(UsageError, match="no folder"):
        read_manifest(folder / "nowhere")
    with pytest.raises(UsageError, match="not a finished data set"):
        read_manifest(folder / "index")
    with pytest.raises(FormatError, match="2 index segments"):
        open_index(folder, replace(MANIFEST, generations=[0, 1]))


def test_parts_out_of_order_are_a_programming_error(tmp_path: Path) -> None:
    parts = [part("val/000000.tar", 1, 0, [1], [0]), part("train/000000.tar", 0, 5, [1], [0])]
    with pytest.raises(ValueError, match="order"):
        write_segment(tmp_path / "s", 0, parts, PATIENTS.empty_table(), STUDIES.empty_table())


@given(st.lists(st.integers(0, 6), max_size=40))
def test_rows_by_lists_every_row_once(groups: list[int]) -> None:
    offsets, rows = rows_by(np.array(groups, np.uint32), 7)
    for group in range(7):
        assert rows[int(offsets[group]) : int(offsets[group + 1])].tolist() == [
            i for i, g in enumerate(groups) if g == group
        ]


def test_masks_have_a_record_per_sample_and_a_file_only_where_there_are_any(folder: Path, tmp_path: Path) -> None:
    assert open_index(folder, MANIFEST).masks is None and not (folder / segment_folder(0) / "masks.bin").exists()
    masks = np.zeros(5, MASK_RECORD)
    masks[3] = (512, 200, 77)
    parts = [
        replace(part("train/000000.tar", 0, 10, [2, 3], [0, 1]), masks=masks),
        part("val/000000.tar", 1, 30, [4], [1]),
    ]
    root = tmp_path / "masked"
    tables = (pa.Table.from_pylist([{"pseudonym": "p"}] * 2, schema=PATIENTS), STUDIES.empty_table())
    summary = write_segment(root / segment_folder(0), 0, parts, *tables)
    index = open_index(root, MANIFEST)
    assert summary.masks == 1 and index.masks is not None
    assert index.masks.tolist() == [(0, 0, 0)] * 3 + [(512, 200, 77)] + [(0, 0, 0)] * 5
    path = root / segment_folder(0) / "masks.bin"
    path.write_bytes(path.read_bytes()[:-16])
    with pytest.raises(FormatError, match=r"masks\.bin has 128 bytes instead of 144"):
        open_index(root, MANIFEST)


def test_masks_that_are_not_one_per_sample_are_damage(folder: Path) -> None:
    segment = folder / segment_folder(0)
    (segment / "masks.bin").write_bytes(bytes(32))
    summary = json.loads((segment / "segment.json").read_bytes())
    summary["files"]["masks.bin"] = {"bytes": 32, "crc32c": file_crc(segment / "masks.bin")}
    (segment / "segment.json").write_text(json.dumps(summary))
    with pytest.raises(FormatError, match=r"masks\.bin has 2 records for 10 samples"):
        open_index(folder, MANIFEST)


def test_keys_and_sizes_are_known_without_reading_records(tmp_path: Path) -> None:
    """segment.json tells one list of keys from another, and what no sample of a split exceeds."""
    digests = []
    for name, first in (("one", 10), ("same", 10), ("other", 11)):
        parts = [part("train/000000.tar", 0, first, [3], [0]), part("val/000000.tar", 1, 30, [2], [1])]
        parts[0].records["codec"], parts[0].records["channels"] = Codec.HTJ2K, [1, 1, 3]
        parts[0].records["length"], parts[0].records["rows"], parts[0].records["cols"] = [500, 700, 900], [9, 9, 60], 50
        parts[1].records["codec"], parts[1].records["rows"], parts[1].records["cols"] = Codec.RAW, [60_000, 8], 60_000
        patients = pa.Table.from_pylist([{"pseudonym": f"p{i}", "split": i, "known": True} for i in range(2)], PATIENTS)
        write_segment(tmp_path / name / segment_folder(0), 0, parts, patients, STUDIES.empty_table())
        index = open_index(tmp_path / name, MANIFEST)
        digests.append(index.keys)
        assert index.largest == {"train": Largest(700, 3000, 450), "val": Largest(0, 3_600_000_000), "test": Largest()}
        found = KeysDigest()
        found.add(index.records["key"])
        assert found.text() == index.keys
    assert digests[0] == digests[1] != digests[2]
    assert index.row_of(13) == 2 and index.row_of(31) == 4
    for key in (10, 14, 32, 1 << 64, -1):
        with pytest.raises(KeyError):
            index.row_of(key)


def test_scattered_reading_finds_the_same(folder: Path) -> None:
    one, other = open_index(folder, MANIFEST), open_index(folder, MANIFEST, scattered=True)
    assert np.array_equal(one.records, other.records) and np.array_equal(one.series, other.series)
    assert np.array_equal(other.series_in_order(), one.series)
    assert not other.records.flags.writeable
