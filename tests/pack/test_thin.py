"""--slices and --frames: the chosen frames alone have keys, in order of position; every file is still accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, WriteSeries, shards_of
from hypothesis import given
from hypothesis import strategies as st

import radload
from radload.pack import PackOptions, PackSummary, pack
from radload.pack.thin import Thinning, parse_thinning
from radload.sources import Refused, Slice, read


def run(source: Path, out: Path, **options: Any) -> PackSummary:
    return pack(PackOptions(source, out, **{"workers": 0, "split": "100/0/0", **options}))


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out.with_name(out.name + ".private") / f"{table}.parquet").to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("every:1", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("every:4", [0, 4, 8]),
        ("every:99", [0]),
        ("first", [0]),
        ("central:4", [3, 4, 5, 6]),
        ("central:3", [3, 4, 5]),
        ("max:3", [1, 5, 8]),
        ("max:1", [5]),
        ("max:10", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("central:999999999", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_what_a_rule_chooses_of_ten(text: str, expected: list[int]) -> None:
    assert parse_thinning(text, "--frames", True).choose(10) == expected


@given(st.sampled_from(["every", "central", "max"]), st.integers(1, 50), st.integers(1, 300))
def test_a_rule_keeps_at_least_one_and_no_more_than_asked_for(kind: str, number: int, count: int) -> None:
    chosen = Thinning(kind, number).choose(count)
    assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < count
    assert len(chosen) == (-(-count // number) if kind == "every" else min(number, count))
    if kind == "max":  # evenly: what lies between two of them differs by one at most
        assert len(set(np.diff(chosen))) <= 2 and abs(chosen[0] - (count - 1 - chosen[-1])) <= 1


@pytest.mark.parametrize("text", ["", "none", "every", "every:0", "max:-1", "central:1.5", "max:3 ", "every:1٣"])
def test_an_unknown_rule_is_refused(clinic: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(radload.UsageError, match=r"--slices .*is unknown: give all, every:N"):
        run(clinic, tmp_path / "out", slices=text)
    with pytest.raises(radload.UsageError, match="--slices first is unknown"):
        run(clinic, tmp_path / "out", slices="first")
    with pytest.raises(radload.UsageError, match=r"--frames .*is unknown: give all, first, every:N"):
        run(clinic, tmp_path / "out", frames=text)


@pytest.mark.parametrize(
    ("rule", "places", "spacing"), [("central:3", [3, 4, 5], 2.5), ("every:4", [0, 4, 8], 10.0), ("max:1", [4], None)]
)
def test_slices_are_chosen_by_position_and_the_others_are_said(
    tmp_path: Path, write_series: WriteSeries, rule: str, places: list[int], spacing: float | None
) -> None:
    write_series(tmp_path / "src/a", 9, series="a")
    write_series(tmp_path / "src/b", 1, series="b")
    run(tmp_path / "src", tmp_path / "all")
    summary = run(tmp_path / "src", tmp_path / "out", slices=rule)
    assert (summary.files, summary.packed) == (10, len(places) + 1)
    assert summary.rejected == {"not-selected": 9 - len(places)} and summary.frames_rejected == 0
    by_source = {row["source"]: row for row in rows(tmp_path / "all", "crosswalk")}
    with radload.open(tmp_path / "all") as whole, radload.open(tmp_path / "out") as thinned:
        keys = [int(row["key"]) for row in rows(tmp_path / "out", "crosswalk")]
        assert keys == list(range(len(places) + 1)), "the chosen have keys without holes"
        wholes = {sample.key: sample for sample in whole}
        found = []
        for sample, row in zip(thinned, rows(tmp_path / "out", "crosswalk"), strict=True):
            same = wholes[by_source[row["source"]]["key"]]
            np.testing.assert_array_equal(sample.stored, same.stored)
            if row["source"].startswith("a/"):
                found.append((sample.meta["position"], round(sample.meta["image_position"][2] / 2.5)))
                assert sample.meta["slice_spacing"] == spacing
        assert found == list(enumerate(places))
    rejected = {row["source"] for row in rows(tmp_path / "out", "rejects")}
    assert rejected.isdisjoint(row["source"] for row in rows(tmp_path / "out", "crosswalk"))


def test_workers_and_repetition_choose_the_same(tmp_path: Path, write_series: WriteSeries) -> None:
    for number in range(4):
        write_series(tmp_path / f"src/{number}", 6, patient=f"P{number}", series=f"s{number}")
    for name, workers in (("one", 0), ("two", 2)):
        run(tmp_path / "src", tmp_path / name, slices="max:4", workers=workers, shard_size=0.004)
    assert shards_of(tmp_path / "one") == shards_of(tmp_path / "two") and len(shards_of(tmp_path / "one")) > 1


def clip(path: Path, write_dicom: WriteDicom, frames: int, series: str, **elements: Any) -> np.ndarray[Any, Any]:
    """A cine without positions; frame f is filled with noise around 100 f."""
    random = np.random.default_rng(frames)
    pixels = (random.integers(0, 50, (frames, 6, 5)) + 100 * np.arange(frames)[:, None, None]).astype(np.uint16)
    none: dict[str, Any] = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    flat = pixels.reshape(frames * 6, 5)
    write_dicom(
        path,
        flat,
        series=series,
        Rows=6,
        NumberOfFrames=frames,
        Modality="US",
        BurnedInAnnotation="NO",
        **none,
        **elements,
    )
    return pixels


@pytest.mark.parametrize(
    ("rule", "expected"), [("all", range(8)), ("first", [0]), ("every:3", [0, 3, 6]), ("central:2", [3, 4])]
)
def test_frames_of_a_clip_are_chosen_per_file(
    tmp_path: Path, write_dicom: WriteDicom, write_series: WriteSeries, rule: str, expected: Any
) -> None:
    pixels = [clip(tmp_path / f"src/{n}.dcm", write_dicom, 8, "us", place=n, InstanceNumber=n) for n in range(2)]
    write_series(tmp_path / "src/ct", 3, series="ct")
    summary = run(tmp_path / "src", tmp_path / "out", frames=rule)
    assert (summary.packed, summary.rejected, summary.frames_rejected) == (5, {}, 0)
    assert summary.samples == 2 * len(expected) + 3, "--frames leaves the slices of a stack alone"
    found = [row for row in rows(tmp_path / "out", "crosswalk") if "ct" not in row["source"]]
    assert [(row["source"], row["frame"]) for row in found] == [
        (f"{n}.dcm", frame) for n in range(2) for frame in expected
    ]
    with radload.open(tmp_path / "out") as dataset:
        samples = {sample.key: sample for sample in dataset}
        for row in found:
            np.testing.assert_array_equal(samples[row["key"]].stored, pixels[int(row["source"][0])][row["frame"]])


def test_frames_behind_the_last_chosen_one_are_not_decoded(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(tmp_path / "src/us.dcm", write_dicom, 8, "us")
    decoded = []

    def counting_read(*arguments: Any) -> Any:
        for item in read(*arguments):
            decoded.append(item)
            yield item

    monkeypatch.setattr("radload.pack.frames.read", counting_read)
    assert run(tmp_path / "src", tmp_path / "out", frames="central:2").samples == 2
    assert len(decoded) == 5


def test_slices_leave_clips_alone_and_thin_volumes_of_one_file(tmp_path: Path, write_dicom: WriteDicom) -> None:
    clip(tmp_path / "src/us.dcm", write_dicom, 8, "us")
    summary = run(tmp_path / "src", tmp_path / "out", slices="max:2")
    assert summary.samples == 8


def test_a_volume_of_one_file_is_thinned_by_slices(shared_data: Path, tmp_path: Path) -> None:
    volume = next(path for path in sorted((shared_data / "nifti").glob("*.nii*")) if _frames(path) > 4)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / volume.name).write_bytes(volume.read_bytes())
    frames = _frames(volume)
    summary = run(tmp_path / "src", tmp_path / "out", slices="central:3", frames="first", include=("looks-like-mask",))
    found = [row["frame"] for row in rows(tmp_path / "out", "crosswalk")]
    start = min(found)  # the volume may run either way through the body
    assert sorted(found) == [start, start + 1, start + 2] and start in ((frames - 3) // 2, (frames - 2) // 2)
    assert (summary.packed, summary.rejected) == (1, {})


def _frames(path: Path) -> int:
    from radload.sources import scan

    try:
        return scan(path, path.name).frames
    except Refused:
        return 0


def test_a_broken_clip_is_one_reject_whatever_was_chosen(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(tmp_path / "src/a.dcm", write_dicom, 8, "us")
    clip(tmp_path / "src/b.dcm", write_dicom, 8, "us", place=1)

    def breaking_read(path: Path, *others: Any) -> Any:
        for item in read(path, *others):
            bad = isinstance(item, Slice) and path.name == "a.dcm"
            yield (item.frame, Refused("decode-failed", "damaged")) if bad else item

    monkeypatch.setattr("radload.pack.frames.read", breaking_read)
    summary = run(tmp_path / "src", tmp_path / "out", frames="max:3")
    assert (summary.packed, summary.rejected, summary.samples) == (1, {"decode-failed": 1}, 3)
    assert [(row["source"], row["frame"]) for row in rows(tmp_path / "out", "rejects")] == [("a.dcm", None)]
