"""Masks from a folder to `Sample.mask`: NIfTI, pictures and DICOM segmentations, whatever happens to them on the way."""

from __future__ import annotations

import json
import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, shards_of, write_png
from numpy.typing import NDArray
from segmentation_make import write_segmentation

import radload
from radload.errors import CorruptSample, UsageError
from radload.pack import PackOptions, PackSummary, pack
from radload.pack.executor import Beat
from radload.pack.job import pack_shard
from radload.pack.plan import ShardJob
from radload.sources import read

RANDOM = np.random.default_rng(7)


def run(source: Path, out: Path, *masks: str, **options: Any) -> PackSummary:
    return pack(
        PackOptions(source, out, masks=masks, **{"workers": 0, "split": "100/0/0", "attest_no_phi": True, **options})
    )


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out.with_name(out.name + ".private") / f"{table}.parquet").to_pylist()
    return found


def by_source(out: Path) -> dict[tuple[str, int], radload.dataset.Sample]:
    dataset = radload.open(out)
    return {(row["source"], row["frame"]): dataset[row["key"]] for row in rows(out, "crosswalk")}


def write_nifti(path: Path, values: NDArray[Any], affine: NDArray[Any] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2, 3, 1]) if affine is None else affine), path)  # type: ignore[no-untyped-call]


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    """Three NIfTI images with masks of several types, one image without, and a picture with a mask."""
    source = tmp_path / "src"
    masks: dict[str, NDArray[Any]] = {}
    for name, dtype in (("a", np.uint8), ("b", np.int32), ("c", np.float32)):
        write_nifti(source / f"{name}.nii.gz", RANDOM.integers(-900, 900, (9, 8, 4)).astype(np.int16))
        masks[name] = RANDOM.integers(0, 5, (9, 8, 4)).astype(dtype)
        write_nifti(source / f"{name}_seg.nii.gz", masks[name])
    masks["b"][0, 0, 2] = 300
    write_nifti(source / "b_seg.nii.gz", masks["b"])
    masks["c"][:, :, 1] = 0
    write_nifti(source / "c_seg.nii.gz", masks["c"])
    write_nifti(source / "d.nii.gz", RANDOM.integers(-900, 900, (9, 8, 2)).astype(np.int16))
    write_png(source / "images/1.png", RANDOM.integers(0, 256, (7, 5), dtype=np.uint8))
    masks["1"] = (RANDOM.integers(0, 2, (7, 5)) * 255).astype(np.uint8)
    write_png(source / "masks/1.png", masks["1"])
    return source, masks


@pytest.mark.parametrize("axis", ["last", "0"])
def test_masks_of_volumes_and_pictures_travel_with_their_slices(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]], axis: str
) -> None:
    source, masks = volumes
    summary = run(source, tmp_path / "out", "*_seg.nii.gz", "masks/*.png", axis=axis)
    assert (summary.packed, summary.masks, summary.rejected, summary.ignored, summary.files) == (9, 4, {}, 0, 9)
    found = by_source(tmp_path / "out")
    counted = 0
    for (name, frame), sample in found.items():
        stem = Path(name).name.split(".")[0]
        if stem == "d":
            assert sample.mask is None
            continue
        expected = masks[stem] if stem == "1" else np.take(masks[stem], frame, axis=2 if axis == "last" else 0).T
        assert sample.mask is not None and sample.mask.shape == sample.shape
        np.testing.assert_array_equal(sample.mask, expected)
        assert sample.mask.dtype == (np.uint16 if expected.max() > 255 else np.uint8)
        counted += 1
    with radload.open(tmp_path / "out") as dataset:
        assert dataset.manifest.masks == counted and counted > 12
        assert dataset.manifest.source == {"packed": 9, "rejected": 0, "ignored": 0}
        assert dataset.index.masks is not None and dataset.index.masks.shape == (len(dataset),)
    said = {row["source"]: row["mask_source"] for row in rows(tmp_path / "out", "crosswalk")}
    assert said["a.nii.gz"] == "a_seg.nii.gz" and said["images/1.png"] == "masks/1.png" and said["d.nii.gz"] is None


def test_without_the_option_masks_are_left_out_with_their_reason(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]]
) -> None:
    summary = run(volumes[0], tmp_path / "out")
    assert (summary.packed, summary.rejected, summary.masks) == (5, {"looks-like-mask": 4}, 0)
    assert not (tmp_path / "out/index/000000/masks.bin").exists()
    with radload.open(tmp_path / "out") as dataset:
        assert dataset.index.masks is None and dataset[0].mask is None and dataset.manifest.masks == 0
        assert all(row["mask_source"] is None for row in rows(tmp_path / "out", "crosswalk"))


def test_a_label_map_is_found_by_its_values(tmp_path: Path) -> None:
    labels = np.zeros((32, 32, 8), np.int16)
    labels[8:20, 8:20] = 2
    write_nifti(tmp_path / "src/atlas.nii.gz", labels)
    write_nifti(tmp_path / "src/scan.nii.gz", RANDOM.integers(0, 900, (32, 32, 8)).astype(np.int16))
    write_nifti(tmp_path / "src/empty.nii.gz", np.zeros((32, 32, 8), np.int16))
    summary = run(tmp_path / "src", tmp_path / "out")
    assert (summary.packed, summary.rejected) == (2, {"looks-like-mask": 1})
    assert [row["source"] for row in rows(tmp_path / "out", "rejects")] == ["atlas.nii.gz"]


def test_masks_that_cannot_be_used_cost_themselves_only(tmp_path: Path) -> None:
    source, affine = tmp_path / "src", np.diag([1.0, 2, 3, 1])
    for name in "abcdef":
        write_nifti(source / f"{name}.nii.gz", RANDOM.integers(0, 900, (9, 8, 3)).astype(np.int16))
    mask = RANDOM.integers(0, 3, (9, 8, 3)).astype(np.uint8)
    moved = affine.copy()
    moved[0, 3] = 0.2
    write_nifti(source / "a_seg.nii.gz", mask, moved)
    write_nifti(
        source / "b_seg.nii.gz", mask[::-1], affine @ np.diag([-1, 1, 1, 1])
    )  # mirrored, stored the other way round
    write_nifti(source / "c_seg.nii.gz", mask.astype(np.float32) / 2)
    write_nifti(source / "d_seg.nii.gz", mask)
    content = (source / "d_seg.nii.gz").read_bytes()
    (source / "d_seg.nii.gz").write_bytes(content[:-40])
    half = mask.astype(np.float32)
    half[2, 2, 1] = 0.5
    write_nifti(source / "e_seg.nii.gz", half)
    write_nifti(source / "f_seg.nii.gz", mask)
    summary = run(source, tmp_path / "out", "*_seg.nii.gz")
    assert summary.samples == 18 and summary.files == 12
    assert summary.rejected == {"mask-grid-differs": 2, "mask-values": 1, "truncated": 1} and summary.masks == 2
    rejects = {row["source"]: (row["frame"], row["code"]) for row in rows(tmp_path / "out", "rejects")}
    assert rejects["a_seg.nii.gz"] == (None, "mask-grid-differs") == rejects["b_seg.nii.gz"]
    assert rejects["d_seg.nii.gz"] == (None, "truncated") and rejects["e_seg.nii.gz"] == (1, "mask-values")
    masked = {key for key, sample in by_source(tmp_path / "out").items() if sample.mask is not None}
    assert masked == {("e.nii.gz", 0), ("e.nii.gz", 2), *(("f.nii.gz", frame) for frame in range(3))}


def test_a_mask_whose_image_cannot_be_packed_is_no_packed_file(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for name in "ab":
        write_nifti(source / f"{name}.nii.gz", RANDOM.integers(0, 900, (9, 8, 3)).astype(np.int16))
    write_nifti(source / "a_seg.nii.gz", np.ones((9, 8, 3), np.uint8))
    content = (source / "a.nii.gz").read_bytes()
    (source / "a.nii.gz").write_bytes(content[:-40])
    summary = run(source, tmp_path / "out", "*_seg.nii.gz")
    assert summary.rejected == {"truncated": 1, "mask-without-image": 1} and (summary.packed, summary.files) == (1, 3)


def test_both_files_of_a_paired_mask_are_packed_files(tmp_path: Path) -> None:
    source = tmp_path / "src"
    mask = RANDOM.integers(0, 3, (9, 8, 3)).astype(np.uint8)
    write_nifti(source / "a.nii", RANDOM.integers(0, 900, (9, 8, 3)).astype(np.int16))
    nibabel.save(nibabel.Nifti1Pair(mask, np.diag([1.0, 2, 3, 1])), source / "a_seg.hdr")  # type: ignore[no-untyped-call]
    summary = run(source, tmp_path / "out", "*_seg.hdr")
    assert (summary.packed, summary.masks, summary.rejected, summary.ignored, summary.files) == (3, 1, {}, 0, 3)
    for (_, frame), sample in by_source(tmp_path / "out").items():
        np.testing.assert_array_equal(sample.mask, mask[:, :, frame].T)


@pytest.fixture
def series(tmp_path: Path, write_dicom: WriteDicom) -> list[Path]:
    """Five slices of 13 x 11 pixels (143 bits: no frame but the first starts at a byte), and another series."""
    paths = [tmp_path / f"src/ct/{(place * 3) % 5}.dcm" for place in range(5)]
    for place, path in enumerate(paths):
        write_dicom(path, RANDOM.integers(-900, 900, (13, 11)).astype(np.int16), place=place)
    write_dicom(tmp_path / "src/other.dcm", RANDOM.integers(-900, 900, (13, 11)).astype(np.int16), series="other")
    return paths


def bits(*places: int) -> dict[int, NDArray[Any]]:
    return {place: RANDOM.integers(0, 2, (13, 11)).astype(np.uint8) for place in places}


@pytest.mark.parametrize("refer", [True, False])
def test_a_segmentation_is_packed_with_the_images_that_it_refers_to(
    tmp_path: Path, series: list[Path], refer: bool
) -> None:
    first, second = bits(1, 2), bits(2, 3)
    second[2] &= 1 - first[2]
    write_segmentation(
        tmp_path / "src/seg/s.dcm",
        [(series[p], 1, first[p]) for p in (2, 1)] + [(series[p], 260, second[p]) for p in second],
        codes={260: ("99SECRET", "HINTERPFUITEUFEL")},
        refer=refer,
    )
    summary = run(tmp_path / "src", tmp_path / "out")
    assert (summary.packed, summary.masks, summary.rejected, summary.samples) == (7, 1, {}, 6)
    with radload.open(tmp_path / "out") as dataset:
        (number,) = np.flatnonzero(dataset.index.series["count"] == 5)
        zeros = np.zeros((13, 11), np.uint8)
        for place, sample in enumerate(dataset.series(int(number))):
            expected = first.get(place, zeros).astype(np.uint16)
            expected[second.get(place, zeros) > 0] = 260
            np.testing.assert_array_equal(sample.mask, expected)  # places 0 and 4: looked at, and nothing there
            assert sample.meta["mask_labels"] == [{"label": 1, "scheme": "SCT", "code": "10200004"}]
        (other,) = dataset.series(1 - int(number))
        assert other.mask is None and other.meta["mask_labels"] is None
        assert dataset.manifest.masks == 5 and not any("mask" in note for note in dataset.manifest.notes)
    assert {row["mask_source"] for row in rows(tmp_path / "out", "crosswalk")} == {"seg/s.dcm", None}


def test_overlapping_segments_are_counted_and_the_last_has_the_pixels(tmp_path: Path, series: list[Path]) -> None:
    first, second = bits(0)[0], bits(0)[0]
    write_segmentation(tmp_path / "src/s.dcm", [(series[0], 1, first), (series[0], 2, second)])
    run(tmp_path / "src", tmp_path / "out")
    sample = next(
        s
        for (name, _), s in by_source(tmp_path / "out").items()
        if name == series[0].relative_to(tmp_path / "src").as_posix()
    )
    np.testing.assert_array_equal(sample.mask, np.where(second, 2, first))
    (note,) = [note for note in radload.open(tmp_path / "out").manifest.notes if "mask" in note]
    assert note.startswith(f"{int((first & second).sum())} mask pixels lie in several segments")


def test_fractional_and_label_map_segmentations(tmp_path: Path, series: list[Path]) -> None:
    fractions = RANDOM.integers(0, 101, (13, 11)).astype(np.uint8)
    labels = RANDOM.integers(0, 300, (13, 11)).astype(np.uint16)
    write_segmentation(tmp_path / "src/f.dcm", [(series[1], 3, fractions)], kind="FRACTIONAL", maximum=100)
    write_segmentation(tmp_path / "src/l.dcm", [(tmp_path / "src/other.dcm", 1, labels)], kind="LABELMAP")
    summary = run(tmp_path / "src", tmp_path / "out")
    assert summary.masks == 2 and summary.notes[-1] == "1 fractional segmentations were cut at one half"
    found = by_source(tmp_path / "out")
    np.testing.assert_array_equal(found["ct/3.dcm", 0].mask, np.where(fractions >= 50, 3, 0))
    np.testing.assert_array_equal(found["other.dcm", 0].mask, labels)


def test_frames_of_a_multi_frame_image_are_found_by_their_numbers(tmp_path: Path, write_dicom: WriteDicom) -> None:
    image = tmp_path / "src/a.dcm"
    write_dicom(image, np.arange(4 * 143, dtype=np.int16).reshape(52, 11), NumberOfFrames=4, Rows=13)
    drawn = bits(0, 1)
    write_segmentation(tmp_path / "src/s.dcm", [(image, 5, drawn[0]), (image, 5, drawn[1])], numbers=[4, 2])
    run(tmp_path / "src", tmp_path / "out")
    found = by_source(tmp_path / "out")
    for frame, expected in ((3, drawn[0]), (1, drawn[1]), (0, 0 * drawn[0]), (2, 0 * drawn[0])):
        np.testing.assert_array_equal(found["a.dcm", frame].mask, expected * 5)


def test_a_segmentation_of_two_series_is_the_mask_of_both(
    tmp_path: Path, series: list[Path], write_dicom: WriteDicom
) -> None:
    """In two shards. What lies elsewhere in one of them costs that slice its mask, and the file is packed."""
    other = tmp_path / "src/other.dcm"
    moved = tmp_path / "src/moved.dcm"
    write_dicom(moved, np.zeros((13, 11), np.int16), series="other", place=1, ImagePositionPatient=[0, 0.5, 2.5])
    drawn = bits(0, 1, 2)
    write_segmentation(tmp_path / "src/s.dcm", [(series[1], 1, drawn[0]), (other, 1, drawn[1]), (moved, 1, drawn[2])])
    content = (tmp_path / "src/s.dcm").read_bytes()
    assert content.count(b"0\\0.5\\2.5") == 1  # DS: the position that the frame took over from the image
    (tmp_path / "src/s.dcm").write_bytes(content.replace(b"0\\0.5\\2.5", b"0\\0.0\\2.5"))
    summary = run(tmp_path / "src", tmp_path / "out", shard_size=0.0005)
    assert (summary.masks, summary.rejected, summary.frames_rejected) == (1, {}, 1)
    found = by_source(tmp_path / "out")
    assert len({sample.meta["shard"] for sample in found.values()}) > 1
    np.testing.assert_array_equal(found[f"ct/{series[1].name}", 0].mask, drawn[0])
    np.testing.assert_array_equal(found["other.dcm", 0].mask, drawn[1])
    assert found["moved.dcm", 0].mask is None and found[f"ct/{series[0].name}", 0].mask is not None
    (reject,) = rows(tmp_path / "out", "rejects")
    assert (reject["source"], reject["frame"], reject["code"]) == ("s.dcm", 2, "mask-grid-differs")


def test_segmentations_that_cannot_be_used(tmp_path: Path, series: list[Path], write_dicom: WriteDicom) -> None:
    other = tmp_path / "src/other.dcm"
    write_dicom(tmp_path / "elsewhere.dcm", np.zeros((13, 11), np.int16), series="elsewhere")
    write_segmentation(tmp_path / "src/gone.dcm", [(tmp_path / "elsewhere.dcm", 1, bits(0)[0])])
    write_segmentation(tmp_path / "src/moved.dcm", [(other, 1, bits(0)[0])], moved=1.0)
    cut = tmp_path / "src/cut.dcm"
    write_segmentation(cut, [(path, 1, bits(0)[0]) for path in series])
    cut.write_bytes(cut.read_bytes()[:-30])  # frames 0 and 1 are whole
    summary = run(tmp_path / "src", tmp_path / "out")
    assert summary.rejected == {"looks-like-mask": 1, "mask-grid-differs": 1, "truncated": 1}
    assert (summary.masks, summary.samples, summary.files) == (0, 6, 9)
    assert {row["source"]: row["frame"] for row in rows(tmp_path / "out", "rejects")} == dict.fromkeys(
        ("gone.dcm", "moved.dcm", "cut.dcm")
    )
    assert all(sample.mask is None for sample in by_source(tmp_path / "out").values())
    assert not (tmp_path / "out/index/000000/masks.bin").exists()


def test_workers_change_nothing_and_a_stopped_pack_goes_on(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]], series: list[Path]
) -> None:
    source = volumes[0]
    write_segmentation(source / "s.dcm", [(path, 1, bits(0)[0]) for path in series])
    globs, size = ("*_seg.nii.gz", "masks/*.png"), {"shard_size": 0.0005}
    run(source, tmp_path / "one", *globs, **size)
    run(source, tmp_path / "two", *globs, **size, workers=2)

    calls = 0

    def stopping(job: ShardJob, beat: Beat) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError(28, "No space left on device")
        pack_shard(job, beat)

    with (
        mock.patch("radload.pack.flow.pack_shard", stopping),
        pytest.raises(radload.RadloadError, match="no space left"),
    ):
        run(source, tmp_path / "three", *globs, **size)
    resumed = run(source, tmp_path / "three", *globs, **size)
    assert len(shards_of(tmp_path / "one")) > 4 and resumed.masks == 5
    for other in ("two", "three"):
        assert shards_of(tmp_path / "one") == shards_of(tmp_path / other)
        for name in ("masks.bin", "records.bin", "samples.arrow"):
            first, second = (tmp_path / one / "index/000000" / name for one in ("one", other))
            assert first.read_bytes() == second.read_bytes(), (other, name)
    with pytest.raises(UsageError, match="different: --masks"):
        run(source, tmp_path / "one", "*_seg.nii.gz", **size)


def deadly_pack_shard(job: ShardJob, beat: Beat) -> None:
    """In a worker: reading a mask called "b" or a segmentation ends the process, as a crash in a decoder would."""

    def deadly_read(path: Path, *others: Any) -> Iterator[Any]:
        if path.name in ("b_seg.nii.gz", "s.dcm"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from read(path, *others)

    with mock.patch("radload.pack.frames.read", deadly_read):
        pack_shard(job, beat)


def test_a_mask_that_kills_its_worker_costs_itself(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]], series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radload.pack.flow.pack_shard", deadly_pack_shard)
    write_segmentation(volumes[0] / "s.dcm", [(series[0], 1, bits(0)[0])])
    summary = run(volumes[0], tmp_path / "out", "*_seg.nii.gz", "masks/1.png", workers=2)
    assert summary.rejected == {"decoder-crashed": 2} and (summary.masks, summary.samples) == (3, 21)
    assert {row["source"]: row["code"] for row in rows(tmp_path / "out", "rejects")} == {
        "b_seg.nii.gz": "decoder-crashed",
        "s.dcm": "decoder-crashed",
    }


def test_a_damaged_mask_is_found_before_it_is_used(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]]
) -> None:
    run(volumes[0], tmp_path / "out", "*_seg.nii.gz")
    dataset = radload.open(tmp_path / "out")
    row = next(sample.row for sample in dataset if sample.mask is not None)
    assert dataset.index.masks is not None
    record = dataset.index.masks[row]
    shard = tmp_path / "out" / dataset[row].meta["shard"]
    with shard.open("r+b") as file:
        file.seek(int(record["offset"]) + int(record["length"]) - 1)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CorruptSample, match=rf"the mask of sample {dataset[row].key} .* wrong checksum"):
        _ = dataset[row].mask
    assert dataset[row].stored.size
    with pytest.raises(ValueError, match="has no mask"):
        dataset.shards.read_mask(np.zeros((), record.dtype), dataset.index.records[row])  # type: ignore[arg-type]
    os.truncate(shard, int(record["offset"]) + 3)
    with pytest.raises(CorruptSample, match="is cut: 3 of"):
        _ = dataset[row].mask


def test_no_name_reaches_the_shards(tmp_path: Path, write_dicom: WriteDicom) -> None:
    """Names in paths, labels and meanings of segments, private codes."""
    source = tmp_path / "src"
    write_dicom(source / "Xaver/1.dcm", patient="PID4711")
    write_segmentation(
        source / "Xaver/Hinterpfuiteufel.dcm",
        [(source / "Xaver/1.dcm", 1, np.ones((24, 20), np.uint8)), (source / "Xaver/1.dcm", 2, np.ones((24, 20), np.uint8))],
        codes={1: ("99LOCAL", "Zwetschgenmus"), 2: ("SCT", "Xaver Quasten")},
        SeriesDescription="Zwetschgenmus",
        ContentCreatorName="Quastenflosser",
    )  # fmt: skip
    write_nifti(source / "Xaver_1.nii", RANDOM.integers(0, 900, (9, 8, 3)).astype(np.int16))
    write_nifti(source / "Xaver_1_seg.nii", np.ones((9, 8, 3), np.uint8))
    summary = run(source, tmp_path / "out", "*_seg.nii", workers=1)
    assert summary.masks == 2
    words = [
        "Xaver",
        "Hinterpfuiteufel",
        "Zwetschgenmus",
        "Quasten",
        "Secret",
        "PID4711",
        "99LOCAL",
        "1.2.826.0.1.3680043",
    ]
    public = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert any(path.name == "masks.bin" for path in public)
    for path in public:
        for word in words:
            assert word.encode() not in path.read_bytes(), (word, path.name)
    assert not any(word in note for word in words for note in summary.notes)
    with radload.open(tmp_path / "out") as dataset:
        assert {sample.meta["mask_labels"] for sample in dataset} == {None}


def test_the_mask_stands_behind_the_json_in_the_tar(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]]
) -> None:
    run(volumes[0], tmp_path / "out", "*_seg.nii.gz", "masks/1.png")
    with tarfile.open(tmp_path / "out/train/000000.tar") as tar:
        names = tar.getnames()
    with radload.open(tmp_path / "out") as dataset:
        expected = []
        for sample in dataset:
            expected += [f"{sample.key}.j2c", f"{sample.key}.json"] + [f"{sample.key}.mask.npy"] * (
                sample.mask is not None
            )
    assert names == expected and sum(name.endswith("mask.npy") for name in names) == 13


def test_real_segmentations_are_packed_with_the_pixels_that_pydicom_reads(tmp_path: Path, shared_data: Path) -> None:
    """A PET series of 299 slices whose tumour was drawn on 9 of them, and one frame on a CT slice."""
    from pydicom import dcmread

    source = tmp_path / "src"
    source.mkdir()
    for name in ("series/pt_wholebody_qinhn0024", "vendors/highdicom__ct_image.dcm"):
        (source / name.replace("/", "_")).symlink_to(shared_data / name)
    segs = [
        "multiframe/cornerstone3D__tumor_User1_Manual_Trial1.dcm",
        "multiframe/highdicom__seg_image_ct_binary_single_frame.dcm",
    ]
    for name in segs:
        (source / Path(name).name).symlink_to(shared_data / name)
    summary = run(source, tmp_path / "out")
    assert summary.masks == 2 and not summary.rejected
    expected: dict[str, NDArray[Any]] = {}
    for name in segs:
        seg = dcmread(shared_data / name)
        frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
        for pixels, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
            uid = str(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
            segment = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            before = expected.setdefault(uid, np.zeros(pixels.shape, np.uint8))
            before[pixels > 0] = segment
    sop = {row["key"]: row["sop"] for row in rows(tmp_path / "out", "crosswalk")}
    drawn = 0
    with radload.open(tmp_path / "out") as dataset:
        assert dataset.manifest.masks == len(dataset) == 300
        for sample in dataset:
            assert sample.mask is not None
            np.testing.assert_array_equal(sample.mask, expected.get(sop[sample.key], np.zeros(sample.shape)))
            drawn += bool(sample.mask.any())
            assert json.dumps(sample.meta["mask_labels"]).count("code") in (1, 2)
    assert drawn == len(expected) == 10
