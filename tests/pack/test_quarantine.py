"""Quarantine in a pack, whole: counted, nothing of it under --out, and packed when options or decisions say so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, shards_of, write_png
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import radload
from radload.audit.proof import audit
from radload.loading.planning.plan import Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.preparation import Preparation
from radload.pack import PackOptions, PackSummary, append, dry_run, pack
from radload.pack.duplicates import hash_images
from radload.pack.executor import Limits
from radload.pack.groups import group_of
from radload.pack.quarantine import prepared
from radload.pack.redact import Redaction
from radload.pack.scan_command import ScanOptions, scan_folder
from radload.review import review
from radload.sources import scan
from radload.verify import verify

US = "1.2.840.10008.5.1.4.1.1.6.1"


def run(source: Path, out: Path, **options: Any) -> PackSummary:
    return pack(PackOptions(source, out, **{"workers": 0, "split": "100/0/0", **options}))


def rejects(out: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(out.with_name(out.name + ".private") / "rejects.parquet").to_pylist()
    return {row["source"]: (row["code"], row["reason"]) for row in rows}


def group_name(source: Path, name: str) -> str:
    return group_of(prepared(scan(source / name, name))).name


def decide(path: Path, **groups: str) -> Path:
    path.write_text("version = 1\n" + "".join(f'[groups."{name}"]\n{text}\n' for name, text in groups.items()))
    return path


@pytest.fixture
def write_us(write_dicom: WriteDicom) -> Any:
    """write_us(path, regions=((left, top, right, bottom), …), **as write_dicom): ultrasound of 40 x 50; returns its pixels."""

    def write(path: Path, regions: Any = (), **options: Any) -> NDArray[Any]:
        items = []
        for left, top, right, bottom in regions:
            item = Dataset()
            item.RegionSpatialFormat = 1
            item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
            item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
            items.append(item)
        if items:
            options["SequenceOfUltrasoundRegions"] = items
        pixels = np.random.default_rng(len(str(path))).integers(20, 200, (40, 50), np.uint8)
        pixels[2:6, 3:30] = 251  # the banner with the name
        base = {
            "SOPClassUID": US,
            "Modality": "US",
            "RescaleSlope": None,
            "RescaleIntercept": None,
            "series": path.name,
        }
        return write_dicom(path, pixels, **(base | options))

    return write


def test_what_may_hold_text_is_counted_and_stays_outside(
    tmp_path: Path, write_us: Any, write_dicom: WriteDicom
) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    write_dicom(source / "ct.dcm", ImageType=["DERIVED", "PRIMARY"])
    secret = write_us(source / "doe_us.dcm")
    write_us(source / "clean.dcm", BurnedInAnnotation="NO")
    write_us(source / "screen.dcm", BurnedInAnnotation="YES", ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    write_png(source / "a.png", np.full((8, 9), 77, np.uint8))
    (source / "readme.txt").write_text("no image")
    summary = run(source, out, codec="raw", include=("screen-save",))
    assert (summary.samples, summary.packed, summary.ignored, summary.files) == (2, 2, 1, 6)
    assert summary.rejected == {"quarantined": 2, "burned-in": 1}
    assert any("2 files in 2 groups may hold burned-in text" in note for note in summary.notes)
    found = rejects(out)
    assert found["doe_us.dcm"] == (
        "quarantined",
        f"may hold burned-in text: ultrasound, group {group_name(source, 'doe_us.dcm')}",
    )
    assert found["a.png"][0] == "quarantined" and found["screen.dcm"][0] == "burned-in"
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert secret[10:12].tobytes() not in everything and b"doe_us" not in everything
    with radload.open(out) as dataset:
        assert dataset.manifest.source == {"packed": 2, "rejected": 3, "ignored": 1}
        assert dataset.manifest.burned_in == {"attested": False, "us_regions_cropped": False, "decisions": []}
        assert {(sample.meta["cropped"], sample.meta["masked"]) for sample in dataset} == {(None, 0)}


def test_a_folder_of_which_nothing_is_left_is_told_what_to_do(tmp_path: Path) -> None:
    write_png(tmp_path / "src/a.png", np.full((8, 9), 77, np.uint8))
    with pytest.raises(radload.UsageError, match=r"1 file in 1 group may hold .*radload review.*--attest-no-phi"):
        run(tmp_path / "src", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.private").exists()


def test_attested_files_are_packed_and_the_manifest_says_so(tmp_path: Path, write_us: Any) -> None:
    write_png(tmp_path / "src/a.png", np.full((8, 9), 77, np.uint8))
    write_us(tmp_path / "src/us.dcm")
    summary = run(tmp_path / "src", tmp_path / "out", attest_no_phi=True)
    assert (summary.packed, summary.rejected) == (1, {"quarantined": 1})
    assert json.loads((tmp_path / "out/manifest.json").read_bytes())["burned_in"]["attested"] is True
    with pytest.raises(radload.UsageError, match="different: --attest-no-phi"):
        run(tmp_path / "src", tmp_path / "out")


def test_ultrasound_is_cropped_to_its_regions(tmp_path: Path, write_us: Any) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    pixels = write_us(source / "two.dcm", regions=[(5, 10, 20, 39), (30, 15, 50, 39)], BurnedInAnnotation="YES")
    write_us(source / "none.dcm")
    write_us(source / "whole.dcm", regions=[(0, 0, 50, 40)])
    summary = run(source, out, crop_us_regions=True)
    assert (summary.packed, summary.rejected) == (1, {"quarantined": 2})
    with radload.open(out) as dataset:
        sample = dataset[0]
        expected = pixels[10:40, 5:50].copy()
        expected[:, 16:25] = expected[:5, 25:] = 0
        hidden = expected == 0
        np.testing.assert_array_equal(sample.stored[~hidden], expected[~hidden])
        assert (sample.stored[hidden] == expected[~hidden].min()).all()
        assert sample.meta["cropped"] == [10, 5, 30, 45] and sample.meta["masked"] == 3
        assert sample.meta["exact"] and (sample.meta["rows"], sample.meta["cols"]) == (30, 45)
        assert sample.meta["image_position"] == pytest.approx([5 * 0.8, 10 * 0.7, 0])
        assert dataset.manifest.burned_in["us_regions_cropped"] is True
        assert 251 not in sample.stored


def test_the_manifest_lists_the_decisions_of_every_append(tmp_path: Path, write_us: Any) -> None:
    """Older slices keep what the first file cut; the list says that there was a first one. A new file is prepared by the last."""
    source, out = tmp_path / "src", tmp_path / "out"
    options = PackOptions(source, out, workers=0, split="100/0/0")
    settings = Settings((24, 24), make_recipe(), "float32", 1.0, "auto", None, 4)
    write_us(source / "a.dcm", ManufacturerModelName="first")
    first = decide(tmp_path / "1.toml", **{group_name(source, "a.dcm"): 'decision = "pack"\ncrop = [1, 2, 30, 40]'})
    pack(replace(options, decisions=first))
    write_us(source / "b.dcm", ManufacturerModelName="second")
    second = decide(
        tmp_path / "2.toml",
        **{
            group_name(source, "a.dcm"): 'decision = "pack"\ncrop = [8, 8, 20, 20]',
            group_name(source, "b.dcm"): 'decision = "pack"\ncrop = [0, 0, 10, 12]',
        },
    )
    assert append(replace(options, decisions=second)).packed == 1
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
    with radload.open(out) as dataset:
        assert dataset.manifest.burned_in["decisions"] == digests
        assert sorted(sample.meta["cropped"] for sample in dataset) == [[0, 0, 10, 12], [1, 2, 30, 40]]
        assert Preparation.of(settings, dataset.manifest).decisions == digests[1]
    write_us(source / "c.dcm", BurnedInAnnotation="NO")
    for path, count in ((second, 1), (None, 0)):
        assert append(replace(options, decisions=path)).packed == count
        assert radload.open(out).manifest.burned_in["decisions"] == digests
    with radload.open(out, version=0) as dataset:
        assert dataset.manifest.burned_in["decisions"] == digests[:1]
    assert verify(out, workers=0).whole and audit(out).proven


def test_decisions_pack_leave_out_and_keep_asking(tmp_path: Path, write_us: Any) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    written = [write_us(source / name, ManufacturerModelName="cropped") for name in ("one.dcm", "second.dcm")]
    write_us(source / "left.dcm", ManufacturerModelName="left out")
    write_us(source / "asked.dcm", ManufacturerModelName="asked")
    write_us(source / "open.dcm", ManufacturerModelName="not in the file")
    write_png(source / "plain.png", np.full((8, 9), 77, np.uint8))
    path = decide(
        tmp_path / "decisions.toml",
        **{
            group_name(source, "one.dcm"): 'decision = "pack"\ncrop = [1, 2, 30, 40]\nmask = [[2, 3, 4, 27]]',
            group_name(source, "left.dcm"): 'decision = "leave-out"',
            group_name(source, "asked.dcm"): 'decision = "ask"',
            group_name(source, "plain.png"): 'decision = "pack"',
        },
    )
    summary = run(source, out, decisions=path)
    assert (summary.packed, summary.files, summary.rejected) == (3, 6, {"quarantined": 2, "burned-in": 1})
    assert rejects(out)["left.dcm"] == (
        "burned-in",
        f"left out by decision on group {group_name(source, 'left.dcm')}",
    )
    with radload.open(out) as dataset:
        assert dataset.manifest.burned_in["decisions"] == [hashlib.sha256(path.read_bytes()).hexdigest()]
        shapes = sorted((sample.shape, sample.meta["masked"], sample.meta["cropped"]) for sample in dataset)
        assert shapes == [((8, 9), 0, None), ((30, 40), 1, [1, 2, 30, 40]), ((30, 40), 1, [1, 2, 30, 40])]
        assert all(251 not in sample.stored and sample.meta["exact"] for sample in dataset)
        visible = np.ones((30, 40), bool)
        visible[1:5, 1:28] = False
        packed = {sample.stored[visible].tobytes() for sample in dataset if sample.shape == (30, 40)}
        assert packed == {pixels[1:31, 2:42][visible].tobytes() for pixels in written}
        assert b'"cropped":[1,2,30,40],"masked":1' in next(out.glob("train/*.tar")).read_bytes()


def test_a_mask_is_cropped_with_its_image(tmp_path: Path) -> None:
    """And no mask is quarantined, which has labels and no text."""
    source, random = tmp_path / "src", np.random.default_rng(0)
    pixels, labels = random.integers(9, 200, (40, 50), np.uint8), random.integers(0, 3, (40, 50), np.uint8)
    write_png(source / "a.png", pixels)
    write_png(source / "a_seg.png", labels)
    name = group_name(source, "a.png")
    path = decide(tmp_path / "d.toml", **{name: 'decision = "pack"\ncrop = [8, 3, 20, 30]\nmask = [[0, 0, 10, 50]]'})
    summary = run(source, tmp_path / "out", decisions=path, masks=("*_seg.png",))
    assert (summary.packed, summary.rejected) == (2, {})
    with radload.open(tmp_path / "out") as dataset:
        sample = dataset[0]
        np.testing.assert_array_equal(sample.stored[2:], pixels[10:28, 3:33])
        np.testing.assert_array_equal(sample.mask, labels[8:28, 3:33])
    decide(path, **{name: 'decision = "leave-out"'})
    with pytest.raises(radload.UsageError, match="holds no image that can be packed"):
        run(source, tmp_path / "none", decisions=path, masks=("*_seg.png",))
    write_png(source / "b.png", pixels[1:])
    decide(path, **{name: 'decision = "leave-out"', group_name(source, "b.png"): 'decision = "pack"'})
    summary = run(source, tmp_path / "other", decisions=path, masks=("*_seg.png",))
    assert (summary.packed, summary.rejected) == (1, {"burned-in": 1, "mask-without-image": 1})


def test_images_that_differ_only_where_they_are_cropped_link_their_patients(tmp_path: Path) -> None:
    source = tmp_path / "src"
    pixels = np.random.default_rng(0).integers(20, 200, (40, 50), np.uint8)
    other = pixels.copy()
    other[2:6, 3:30] = 17  # another name in the banner
    write_png(source / "c.png", pixels)
    write_png(source / "d.png", other)
    headers = [scan(source / name, name) for name in ("c.png", "d.png")]
    cropped = {header.source: Redaction((8, 0, 32, 50)) for header in headers}
    whole, part = (hash_images(source, headers, 2, "auto", 0, Limits(), redactions=found) for found in ({}, cropped))
    assert whole[0] != whole[1] and part[0] == part[1] != ()
    path = decide(tmp_path / "d.toml", **{group_name(source, "c.png"): 'decision = "pack"\ncrop = [8, 0, 32, 50]'})
    run(source, tmp_path / "out", decisions=path, link_duplicates=True, split="50/50/0")
    with radload.open(tmp_path / "out") as dataset:
        assert len({sample.split for sample in dataset}) == 1 and len(dataset) == 2
        assert {sample.meta["pixel_hash"] for sample in dataset} == {part[0][0]}


def test_decisions_belong_to_the_plan(tmp_path: Path, write_us: Any, write_dicom: WriteDicom) -> None:
    source, out = tmp_path / "src", tmp_path / "out"
    write_us(source / "us.dcm")
    write_dicom(source / "ct.dcm")
    name = group_name(source, "us.dcm")
    path = decide(tmp_path / "d.toml", **{name: 'decision = "pack"\ncrop = [8, 0, 20, 50]'})
    run(source, out, decisions=path)
    before = shards_of(out)
    assert not run(source, out, decisions=path).fresh
    decide(path, **{name: 'decision = "pack"'})
    with pytest.raises(radload.UsageError, match="different: --decisions"):
        run(source, out, decisions=path)
    assert shards_of(out) == before


def test_decisions_change_nothing_about_other_files(tmp_path: Path, write_us: Any, write_dicom: WriteDicom) -> None:
    """Whatever the number of workers, and although a CT has the size that is cropped."""
    source = tmp_path / "src"
    write_us(source / "us.dcm")
    write_dicom(source / "ct.dcm", np.arange(2000, dtype=np.int16).reshape(40, 50))
    path = decide(tmp_path / "d.toml", **{group_name(source, "us.dcm"): 'decision = "pack"\ncrop = [8, 0, 20, 50]'})
    for workers in (0, 2):
        out = tmp_path / f"out{workers}"
        run(source, out, decisions=path, workers=workers)
        with radload.open(out) as dataset:
            assert sorted((sample.meta["modality"], sample.shape) for sample in dataset) == [
                ("CT", (40, 50)),
                ("US", (20, 50)),
            ]
    assert shards_of(tmp_path / "out0") == shards_of(tmp_path / "out2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('decision = "pack"\ncrop = [0, 0, 41, 50]', r"crop \[0, 0, 41, 50\] of group US-\w+ is not inside its frames of 40 x 50"),
        ('decision = "pack"\nmask = [[39, 49, 1, 2]]', r"mask \[39, 49, 1, 2\] of group US-\w+ is not inside"),
    ],
)  # fmt: skip
def test_rectangles_outside_are_refused_before_anything_is_written(
    tmp_path: Path, write_us: Any, text: str, sentence: str
) -> None:
    write_us(tmp_path / "src/us.dcm")
    path = decide(tmp_path / "d.toml", **{group_name(tmp_path / "src", "us.dcm"): text})
    with pytest.raises(radload.UsageError, match=sentence):
        run(tmp_path / "src", tmp_path / "out", decisions=path)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.private").exists()


def test_decisions_are_read_before_the_folders_are(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("version = 1\nnothing")
    with pytest.raises(radload.UsageError, match="is no TOML"):
        run(tmp_path / "no such folder", tmp_path / "out", decisions=tmp_path / "d.toml")


def test_a_group_that_is_not_there_is_refused(tmp_path: Path, write_us: Any) -> None:
    write_us(tmp_path / "src/us.dcm")
    path = decide(tmp_path / "d.toml", **{"US-00000000": 'decision = "pack"'})
    with pytest.raises(radload.UsageError, match="no quarantined file under --src is of group US-00000000"):
        run(tmp_path / "src", tmp_path / "out", decisions=path)


def test_real_ultrasound_is_cropped_exactly(shared_data: Path, tmp_path: Path) -> None:
    """Files of one picture in several encodings: a scan region, ECG traces below it, and a banner above."""
    source = tmp_path / "src"
    source.mkdir()
    for path in shared_data.glob("photometric/pydicom-data__OBXXXX1A*.dcm"):
        (source / path.name).symlink_to(path)
    whole = len(list(source.iterdir()))
    assert whole >= 3
    with pytest.raises(radload.UsageError, match=f"{whole} files in 1 group may hold"):
        run(source, tmp_path / "none")
    summary = run(source, tmp_path / "out", crop_us_regions=True)
    path = decide(tmp_path / "d.toml", **{group_name(source, next(source.iterdir()).name): 'decision = "pack"'})
    run(source, tmp_path / "all", decisions=path)
    assert summary.packed == whole
    with radload.open(tmp_path / "out") as cropped, radload.open(tmp_path / "all") as full:
        for one in cropped:
            assert one.shape[:2] == (459, 680) and one.meta["cropped"] == [60, 120, 459, 680]
        pictures = {sample.stored[60:519, 120:800].tobytes() for sample in full}
        assert {sample.stored.tobytes() for sample in cropped} == pictures


def test_every_real_file_is_accounted_for(shared_data: Path, tmp_path: Path) -> None:
    """All folders of real files, without options: packed, rejected and ignored add up, and quarantine holds no CT, MR or PT series."""
    names = {path.relative_to(shared_data).as_posix() for path in shared_data.rglob("*") if path.is_file()}
    summary = run(shared_data, tmp_path / "out", workers=2)
    assert summary.files == len(names)
    found = rejects(tmp_path / "out")
    waiting = {name for name, (code, _) in found.items() if code == "quarantined"}
    assert len(waiting) == summary.rejected["quarantined"] > 50 and waiting <= names
    assert not any(name.startswith("series/") for name in waiting)
    packed = {
        row["source"]
        for row in pq.read_table(tmp_path / "out.private/crosswalk.parquet", columns=["source"]).to_pylist()
    }
    assert not packed & waiting
    for name in sorted(packed):
        if not name.endswith((".nii", ".nii.gz", ".hdr", ".img")):
            header = prepared(scan(shared_data / name, name))
            assert header.attributes.modality != "US" or header.burned_in == "NO", name


def test_regions_stay_with_their_files_whatever_a_condition_leaves_out(tmp_path: Path, write_us: Any) -> None:
    """And the condition does not ask about what waits in quarantine: that keeps its code."""
    regions = {"a.dcm": ((5, 10, 24, 29),), "b.dcm": ((6, 11, 30, 35),), "c.dcm": ()}
    pixels = {name: write_us(tmp_path / "src" / name, found, patient=name) for name, found in regions.items()}
    options: dict[str, Any] = {"crop_us_regions": True, "where": "patient <> 'a.dcm'"}
    counted = dry_run(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, **options))
    summary = run(tmp_path / "src", tmp_path / "out", **options)
    assert summary.rejected == {"quarantined": 1, "not-selected": 1} == counted.rejected
    assert {name: code for name, (code, _) in rejects(tmp_path / "out").items()} == {
        "a.dcm": "not-selected",
        "c.dcm": "quarantined",
    }
    assert any("1 file in 1 group may hold burned-in text" in note for note in counted.notes)
    with radload.open(tmp_path / "out") as dataset:
        np.testing.assert_array_equal(dataset[0].stored, pixels["b.dcm"][11:36, 6:31])


def test_a_scan_goes_into_the_private_folder_of_a_review(tmp_path: Path) -> None:
    write_png(tmp_path / "src/a.png", np.full((8, 9), 77, np.uint8))
    review(tmp_path / "out", tmp_path / "src", workers=0)
    assert [path.name for path in (tmp_path / "out.private").iterdir()] == ["review"]
    assert scan_folder(ScanOptions(tmp_path / "src", tmp_path / "out.private", workers=0)).files == 1
