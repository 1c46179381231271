"""A pack, whole: stored values survive, files add up, patients stay in one split, and the same plan gives the same shards."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, WriteSeries, shards_of

import radload
from radload.dataset.schema import SPLITS
from radload.pack import PackOptions, PackSummary, pack
from radload.pack.plan import DEFAULT_SHARD, shard_target
from radload.sources import Refused, Slice, read

MEBIBYTE = 1 << 20


def run(source: Path, out: Path, **options: Any) -> PackSummary:
    return pack(PackOptions(source, out, **{"workers": 0, **options}))


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out.with_name(out.name + ".private") / f"{table}.parquet").to_pylist()
    return found


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
def test_stored_values_order_and_meaning_survive(tmp_path: Path, write_dicom: WriteDicom, codec: str) -> None:
    pixels = {place: write_dicom(tmp_path / "src" / f"{9 - place}.dcm", place=place) for place in range(5)}
    summary = run(tmp_path / "src", tmp_path / "out", codec=codec, split="100/0/0")
    assert (summary.samples, summary.packed, summary.files) == (5, 5, 5)
    with radload.open(tmp_path / "out") as dataset:
        for place, sample in enumerate(dataset.series(0)):
            np.testing.assert_array_equal(sample.stored, pixels[place])
            assert sample.stored.dtype == np.int16
            np.testing.assert_array_equal(sample.modality(), pixels[place].astype(np.float32) - 1000)
            meta = sample.meta
            assert (meta["position"], meta["image_position"], meta["slice_spacing"]) == (
                place,
                [0, 0, 2.5 * place],
                2.5,
            )
            assert (meta["modality"], meta["exact"], meta["lossy"], meta["codec"]) == ("CT", True, False, codec)
            assert meta["spacing"] == pytest.approx((0.7, 0.8))
        everything = np.stack([pixels[place] for place in range(5)]) - 1000.0
        assert meta["statistics"]["p995"] == pytest.approx(np.percentile(everything, 99.5), rel=1e-6)
        assert meta["statistics"]["mean"] == pytest.approx(everything.mean(), rel=1e-6)
    assert [row["source"] for row in rows(tmp_path / "out", "crosswalk")] == [f"{9 - place}.dcm" for place in range(5)]


def test_workers_change_nothing(clinic: Path, tmp_path: Path) -> None:
    """Shards, records and fingerprint are the same; only pseudonyms differ, because each private folder has its own key."""
    options: dict[str, Any] = {"labels_from": "folder:1", "shard_size": 0.005}
    run(clinic, tmp_path / "one", **options)
    run(clinic, tmp_path / "two", **options, workers=2)
    assert shards_of(tmp_path / "one") == shards_of(tmp_path / "two") and len(shards_of(tmp_path / "one")) > 4
    for name in (
        "index/000000/records.bin",
        "index/000000/series.bin",
        "index/000000/samples.arrow",
        "labels/default.arrow",
    ):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    manifests = [json.loads((tmp_path / name / "manifest.json").read_bytes()) for name in ("one", "two")]
    assert manifests[0].pop("key_id") != manifests[1].pop("key_id")
    assert manifests[0] == manifests[1]
    pseudonyms = [
        radload.open(tmp_path / name).index.table("patients").column("pseudonym").to_pylist() for name in ("one", "two")
    ]
    assert not set(pseudonyms[0]) & set(pseudonyms[1])


def test_a_key_put_into_the_private_folder_keeps_the_pseudonyms(clinic: Path, tmp_path: Path) -> None:
    run(clinic, tmp_path / "one")
    private = tmp_path / "two.private"
    private.mkdir()
    (private / "key").write_bytes((tmp_path / "one.private" / "key").read_bytes())
    run(clinic, tmp_path / "two")
    tables = [radload.open(tmp_path / name).index.table("series") for name in ("one", "two")]
    assert tables[0].equals(tables[1])
    assert private.stat().st_mode & 0o777 == 0o700


def test_each_patient_is_in_one_split_and_keeps_it(clinic: Path, tmp_path: Path, write_series: WriteSeries) -> None:
    run(clinic, tmp_path / "out", split="50/25/25", labels_from="folder:1")
    where = defaultdict(set)
    with radload.open(tmp_path / "out") as dataset:
        for sample, row in zip(dataset, rows(tmp_path / "out", "crosswalk"), strict=True):
            assert row["key"] == sample.key
            assert sample.label == row["source"].split("/")[0]
            where[row["patient"]].add(sample.split)
        assert {name: split["patients"] for name, split in dataset.manifest.splits.items()} == {
            "train": 3,
            "val": 2,
            "test": 1,
        }
        assert dataset.manifest.unknown_patients == 0
    assert all(len(splits) == 1 for splits in where.values()) and len(where) == 6
    private = {row["name"]: row["split"] for row in rows(tmp_path / "out", "splits")}
    assert private == {patient: next(iter(splits)) for patient, splits in where.items()}


def test_a_rejected_frame_leaves_a_hole_and_costs_nothing_else(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking_read(path: Path, *others: Any) -> Iterator[Any]:
        if path.name == "001.dcm" and path.parts[0] == "Doe_3":
            yield 0, Refused("decode-failed", "damaged")
        elif path.name == "002.dcm" and path.parts[0] == "Doe_4":
            raise KeyError(f"no {path}")
        elif path.parts[0] != "Doe_5":
            yield from read(path, *others)

    monkeypatch.setattr("radload.pack.frames.read", breaking_read)
    summary = run(clinic, tmp_path / "out")
    keys = [int(row["key"]) for row in rows(tmp_path / "out", "crosswalk")]
    assert keys == sorted(keys) and len(keys) == summary.samples == 19 and max(keys) > 19
    assert summary.rejected == {"missing-frame": 3, "decode-failed": 1, "internal-error": 1}
    assert (summary.packed, summary.ignored, summary.files) == (19, 1, 25)
    found = {row["source"]: (row["frame"], row["code"], row["reason"]) for row in rows(tmp_path / "out", "rejects")}
    assert found["Doe_3/a/001.dcm"] == (None, "decode-failed", "damaged")
    assert found["Doe_4/a/002.dcm"] == (None, "internal-error", "KeyError")
    with radload.open(tmp_path / "out") as dataset:
        assert len(dataset) == 19 and dataset.manifest.source == {"packed": 19, "rejected": 5, "ignored": 1}
        assert sorted(dataset.index.series["count"].tolist()) == [2, 2, 3, 3, 3, 3, 3]
        assert len({sample.stored.tobytes() for sample in dataset}) == 19


def test_frames_lost_from_a_packed_file_are_rejects_of_their_own(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom(tmp_path / "src/a.dcm", np.arange(3 * 12, dtype=np.int16).reshape(9, 4), NumberOfFrames=3, Rows=3)

    def breaking_read(*arguments: Any) -> Iterator[Any]:
        for image in read(*arguments):
            yield (1, Refused("decode-failed", "damaged")) if isinstance(image, Slice) and image.frame == 1 else image

    monkeypatch.setattr("radload.pack.frames.read", breaking_read)
    summary = run(tmp_path / "src", tmp_path / "out", split="100/0/0")
    assert (summary.packed, summary.rejected, summary.frames_rejected, summary.samples) == (1, {}, 1, 2)
    assert [(row["frame"], row["code"]) for row in rows(tmp_path / "out", "rejects")] == [(1, "decode-failed")]
    assert [(row["key"], row["frame"]) for row in rows(tmp_path / "out", "crosswalk")] == [
        ("000000000000", 0),
        ("000000000002", 2),
    ]


def test_series_stay_together_and_neighbouring_paths_do_not(tmp_path: Path, write_series: WriteSeries) -> None:
    for number in range(12):
        write_series(tmp_path / "src" / f"{number:02d}", patient=f"P{number}", series=f"s{number}")
    run(tmp_path / "src", tmp_path / "out", split="100/0/0", shard_size=0.006)
    found = [row["source"].split("/")[0] for row in rows(tmp_path / "out", "crosswalk")]
    runs = [name for i, name in enumerate(found) if i == 0 or found[i - 1] != name]
    assert len(runs) == 12 and runs != sorted(runs)
    assert len(shards_of(tmp_path / "out")) == 6


def test_small_data_sets_have_shards_to_share_and_large_ones_full_shards() -> None:
    assert shard_target(0) == 16 * MEBIBYTE
    assert shard_target(4096 * MEBIBYTE) == 64 * MEBIBYTE
    assert shard_target(10**13) == DEFAULT_SHARD == 128 * MEBIBYTE


def test_a_second_run_says_so_and_another_plan_is_refused(clinic: Path, tmp_path: Path) -> None:
    run(clinic, tmp_path / "out")
    before = shards_of(tmp_path / "out")
    again = run(clinic, tmp_path / "out", workers=1)
    assert not again.fresh and again.samples == 24
    with pytest.raises(radload.UsageError, match=r"different: --codec, --split-seed\)"):
        run(clinic, tmp_path / "out", codec="raw", split_seed=3)
    (clinic / "new.txt").write_text("one more")
    with pytest.raises(radload.UsageError, match="different: the files under --src"):
        run(clinic, tmp_path / "out")
    assert shards_of(tmp_path / "out") == before


def test_given_splits_are_taken_and_one_patient_in_two_is_refused(clinic: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("patient,split\nP0,test\nP1,val\nP2,Validation\n")
    summary = run(clinic, tmp_path / "out", splits=table, split="100/0/0")
    assert {name: summary.splits[name]["patients"] for name in SPLITS} == {"train": 3, "val": 2, "test": 1}
    assert any("3 patients are in no list" in note for note in summary.notes)
    table.write_text("path,split\nDoe_0/a,train\nDoe_0/b,test\n")
    with pytest.raises(radload.UsageError, match="two splits"):
        run(clinic, tmp_path / "other", splits=table)
    table.write_text("path,split\nDoe_0,training\n")
    with pytest.raises(radload.UsageError, match="line 2"):
        run(clinic, tmp_path / "other", splits=table)
    assert not (tmp_path / "other").exists() and not (tmp_path / "other.private").exists()


def test_patients_without_a_number_are_said(tmp_path: Path, write_series: WriteSeries) -> None:
    for number in range(4):
        write_series(tmp_path / "src" / str(number), patient="ANONYMOUS", study=f"st{number // 2}", series=f"s{number}")
    summary = run(tmp_path / "src", tmp_path / "out")
    with radload.open(tmp_path / "out") as dataset:
        assert dataset.manifest.unknown_patients == dataset.manifest.patients == 2
        assert dataset.index.table("patients").column("known").to_pylist() == [False, False]
        assert any("2 of 2 patients are unknown" in note for note in dataset.manifest.notes)
    assert summary.notes


def test_colour_and_wide_values_keep_their_truth(tmp_path: Path, write_dicom: WriteDicom) -> None:
    random = np.random.default_rng(0)
    rgb = write_dicom(
        tmp_path / "src/rgb.dcm", random.integers(0, 256, (9, 8, 3), np.uint8), series="rgb", BurnedInAnnotation="NO"
    )
    wide = write_dicom(tmp_path / "src/wide.dcm", random.integers(0, 2**32, (9, 8), np.uint32), series="wide")
    run(tmp_path / "src", tmp_path / "out", split="100/0/0")
    found = {row["source"]: key for key, row in enumerate(rows(tmp_path / "out", "crosswalk"))}
    with radload.open(tmp_path / "out") as dataset:
        np.testing.assert_array_equal(dataset[found["rgb.dcm"]].stored, rgb)
        np.testing.assert_array_equal(dataset[found["wide.dcm"]].stored, wide)
        assert (dataset[found["wide.dcm"]].meta["codec"], dataset[found["rgb.dcm"]].meta["photometric"]) == (
            "raw",
            "RGB",
        )


def test_real_series_have_the_sums_of_the_golden_table(shared_data: Path, tmp_path: Path) -> None:
    summary = run(shared_data / "series", tmp_path / "out", labels=shared_data / "series_labels.csv", workers=2)
    assert (summary.samples, summary.rejected, summary.ignored) == (440, {}, 0)
    assert summary.classes == {"CT_chest": 50, "MR_brain_T1": 36, "MR_brain_T2": 55, "PT_wholebody": 299}
    with (shared_data / "golden.csv").open(newline="") as file:
        golden = {(row["file"], int(row["frame"])): row for row in csv.DictReader(file)}
    patients = defaultdict(set)
    with radload.open(tmp_path / "out") as dataset:
        assert len(dataset.classes) == 4
        for sample, row in zip(dataset, rows(tmp_path / "out", "crosswalk"), strict=True):
            expected = golden[f"series/{row['source']}", row["frame"]]
            stored = sample.stored
            assert int(stored.sum(dtype=np.int64)) == int(expected["sum_stored"]), row["source"]
            assert (stored.dtype.name, sample.label) == (expected["dtype"], _label(row["source"]))
            patients[row["patient"]].add(sample.split)
    assert len(patients) == 3 and all(len(splits) == 1 for splits in patients.values())


def _label(source: str) -> str:
    names = {"ct_chest_lidc0314": "CT_chest", "mr_brain_t1_adi": "MR_brain_T1", "mr_brain_t2_adi": "MR_brain_T2"}
    return names.get(source.split("/")[0], "PT_wholebody")


def test_all_real_files_end_packed_rejected_or_ignored(shared_data: Path, all_decided: Path, tmp_path: Path) -> None:
    source = shared_data
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    summary = run(source, tmp_path / "out", workers=2, decisions=all_decided)
    assert summary.files == len(expected) and not {"quarantined", "burned-in"} & set(summary.rejected)
    packed = {row["source"] for row in rows(tmp_path / "out", "crosswalk")}
    rejected = {row["source"] for row in rows(tmp_path / "out", "rejects")} - packed
    assert packed <= expected and rejected <= expected
    assert len(rejected) == sum(summary.rejected.values())
    assert "internal-error" not in summary.rejected
    digest = hashlib.sha256()
    with radload.open(tmp_path / "out") as dataset:
        for sample in dataset:
            assert sample.stored.shape == sample.shape
            digest.update(sample.meta["pixel_hash"])
        assert digest.hexdigest() == dataset.manifest.fingerprint
