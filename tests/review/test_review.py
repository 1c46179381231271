"""The review of a set that is one third ultrasound: grouped, shown, decided and packed; pictures stay in the private folder."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import tomllib
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "pack"))

from conftest_pack import WriteDicom, write_dicom, write_png

import radload
from radload.cli import main
from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.executor import Beat
from radload.review import Reviewed, review
from radload.review.pictures import EDGE, LEFT, TOP
from radload.review.project import Projection, ProjectJob, grey_of, project
from radload.sources import Slice, read

__all__ = ["write_dicom"]

US = "1.2.840.10008.5.1.4.1.1.6.1"
BANNER = (slice(4, 12), slice(6, 60))  # where the scanner writes the name


def scan_picture(seed: int, shape: tuple[int, int]) -> Any:
    """A fan of speckle in a dark frame."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    fan = (
        (np.hypot(rows, cols - shape[1] / 2) < shape[0] * 0.9)
        & (np.abs(cols - shape[1] / 2) < 0.3 * rows + 4)
        & (rows > 20)
    )
    speckle = np.random.default_rng(seed).integers(20, 160, shape)
    return np.where(fan, speckle, 5).astype(np.uint8)


@pytest.fixture
def tree(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """MODALITY/anatomy/*.png, a third of it ultrasound of two devices, and ultrasound in DICOM: 12 files of CT and MR, 18 of ultrasound."""
    root = tmp_path / "src"
    for number in range(6):
        for folder in ("CT/lung", "MR/knee"):
            write_png(root / folder / f"{number}.png", scan_picture(number, (48, 48)))
        named = scan_picture(100 + number, (96, 128))
        named[BANNER] = 240  # on every picture of this device
        write_png(root / "US/gb" / f"{number}.png", named)
        rare = np.repeat(scan_picture(200 + number, (80, 120))[..., None], 3, axis=2)
        if number == 4:
            rare[30:36, 10:30] = (0, 0, 255)  # on one picture, blue
        write_png(root / "US/thyroid" / f"{number}.png", rare)
        clip = np.stack([scan_picture(300 + number + frame, (64, 72)) for frame in range(2)])
        write_dicom(
            root / f"clinic/{number}.dcm", clip.reshape(128, 72), patient=f"P{number}", series=f"us{number}", SOPClassUID=US,
            Modality="US", NumberOfFrames=2, Rows=64, Manufacturer="ACME <Echo>", RescaleSlope=None, RescaleIntercept=None,
        )  # fmt: skip
    return root


def sections(reviewed: Reviewed) -> dict[tuple[str, int, int], Any]:
    return {(one.group.modality, one.group.rows, one.group.cols): one for one in reviewed.sections}


def picture(reviewed: Reviewed, key: tuple[str, int, int], kind: str) -> Any:
    """The projection in its own pixels, without rulers."""
    name = sections(reviewed)[key].group.name
    sheet = np.asarray(Image.open(reviewed.folder / f"{name}-{kind}.png"))[TOP:-EDGE, LEFT:-EDGE, 0]
    step = sheet.shape[0] // key[1]
    return sheet[::step, ::step]


def test_a_set_that_is_one_third_ultrasound_is_reviewed_decided_and_packed(tree: Path, tmp_path: Path) -> None:
    out, private = tmp_path / "shards", tmp_path / "shards.private"
    with pytest.raises(radload.UsageError, match="30 files in 5 groups may hold burned-in text"):
        pack(PackOptions(tree, out, workers=0))
    reviewed = review(out, tree, workers=0)
    assert not out.exists() and reviewed.folder == private / "review"
    assert {key: (one.files, one.frames, one.unreadable) for key, one in sections(reviewed).items()} == {
        ("CT", 48, 48): (6, 6, 0),
        ("MR", 48, 48): (6, 6, 0),
        ("US", 96, 128): (6, 6, 0),
        ("US", 80, 120): (6, 6, 0),
        ("US", 64, 72): (6, 12, 0),
    }
    named, rare = ("US", 96, 128), ("US", 80, 120)
    assert (picture(reviewed, named, "mean")[BANNER] == 240).all()
    frames = np.stack([scan_picture(100 + number, (96, 128)) for number in range(6)])
    frames[:, BANNER[0], BANNER[1]] = 240
    np.testing.assert_array_equal(picture(reviewed, named, "maximum"), frames.max(axis=0))
    np.testing.assert_array_equal(picture(reviewed, named, "minimum"), frames.min(axis=0))
    np.testing.assert_array_equal(picture(reviewed, named, "mean"), np.rint(frames.mean(axis=0)))
    assert (picture(reviewed, rare, "maximum")[30:36, 10:30] == 255).all()  # blue, on one of six

    path = reviewed.folder / "decisions.toml"
    text = path.read_text("utf-8")
    groups = {key: one.group.name for key, one in sections(reviewed).items()}
    for key, decision in {
        ("CT", 48, 48): 'decision = "pack"',
        ("MR", 48, 48): 'decision = "pack"',
        named: 'decision = "pack"\ncrop = [14, 0, 82, 128]',
        rare: 'decision = "pack"\nmask = [[28, 8, 10, 26]]',
        ("US", 64, 72): 'decision = "leave-out"',
    }.items():
        text = re.sub(
            rf'(\[groups."{groups[key]}"\][^[]*(?:\[[\d, ]+\][^[]*)*?)decision = "ask"', rf"\1{decision}", text
        )
    assert text.count('decision = "pack"\n') == 4
    path.write_text(text, "utf-8")

    summary = pack(PackOptions(tree, out, workers=0, decisions=path, labels_from="folder:1"))
    assert (summary.packed, summary.rejected, summary.files) == (24, {"burned-in": 6}, 30)
    assert summary.classes == {"CT": 6, "MR": 6, "US": 12}
    with radload.open(out) as dataset:
        shapes = [(sample.shape, sample.meta["masked"]) for sample in dataset if sample.label == "US"]
        assert shapes.count(((82, 128), 0)) == 6 and sum(masked for _, masked in shapes) == 6 and len(shapes) == 12
        assert not any((sample.stored == 240).any() for sample in dataset if sample.label == "US")
        assert not any((sample.stored == 255).any() for sample in dataset if sample.label == "US")


def test_what_is_written_is_private_and_nothing_is_written_elsewhere(tree: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "shards"
    pack(PackOptions(tree, out, workers=0, attest_no_phi=True))
    shards = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    reviewed = review(out, tree, workers=0)
    assert {key[0] for key in sections(reviewed)} == {"US"} and len(reviewed.sections) == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == shards
    private = out.with_name("shards.private")
    assert (
        sorted(
            path for path in tmp_path.rglob("*") if not path.is_relative_to(out) and not path.is_relative_to(private)
        )
        == before
    )
    for path in (reviewed.folder, *reviewed.folder.iterdir()):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    name = reviewed.sections[0].group.name
    pictures = {f"{name}-{kind}.png" for kind in ("maximum", "minimum", "mean", "examples")}
    assert {path.name for path in reviewed.folder.iterdir()} == {
        "index.html",
        "contact.png",
        "decisions.toml",
        *pictures,
    }
    page = (reviewed.folder / "index.html").read_text("utf-8")
    assert (
        "ACME &lt;Echo&gt;" in page
        and "ACME <Echo>" not in page
        and set(re.findall(r'src="([^"]+)"', page)) == pictures
    )
    assert (
        pack(PackOptions(tree, out, workers=0, attest_no_phi=True)).fresh is False
    )  # the private folder is still its own


def test_a_second_review_keeps_decisions_and_drops_old_pictures(tree: Path, tmp_path: Path) -> None:
    first = review(tmp_path / "shards", tree, workers=0)
    path = first.folder / "decisions.toml"
    name = sections(first)["US", 64, 72].group.name
    path.write_text(
        re.sub(
            rf'("{name}"\](?:.|\n)*?)decision = "ask"', r'\1decision = "leave-out"', path.read_text("utf-8"), count=1
        )
    )
    for file in (tree / "MR").rglob("*.png"):
        file.unlink()
    second = review(tmp_path / "shards", tree, workers=2)
    assert sections(second)["US", 64, 72].decision == "leave-out" and len(second.sections) == 4
    entries = tomllib.loads(path.read_text("utf-8"))["groups"]
    assert {key: entry["decision"] for key, entry in entries.items() if entry["decision"] != "ask"} == {
        name: "leave-out"
    }
    assert len(list(second.folder.glob("*-mean.png"))) == 4


def test_workers_change_no_picture(tree: Path, tmp_path: Path) -> None:
    found = []
    for workers in (0, 2):
        reviewed = review(tmp_path / f"shards{workers}", tree, workers=workers)
        found.append({path.name: path.read_bytes() for path in reviewed.folder.iterdir()})
    assert found[0] == found[1] and len(found[0]) == 5 * 4 + 3


def test_a_damaged_file_is_counted_and_costs_nothing_else(tree: Path, tmp_path: Path) -> None:
    path = tree / "US/gb/2.png"
    damaged = bytearray(path.read_bytes())
    damaged[60] ^= 255
    path.write_bytes(damaged)
    section = sections(review(tmp_path / "shards", tree, workers=0))["US", 96, 128]
    assert (section.files, section.frames, section.unreadable) == (6, 5, 1)


def deadly_read(path: Path, *others: Any) -> Any:
    if path.name == "3.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path, *others)


def deadly_project(job: ProjectJob, beat: Beat) -> Projection:
    """What a worker runs in place of `project`: a decoder that crashes on one file."""
    with mock.patch("radload.review.project.read", deadly_read):
        return project(job, beat)


def stalled_read(path: Path, *others: Any) -> Any:
    if path.name == "3.png":
        time.sleep(600)
    return read(path, *others)


def stalling_project(job: ProjectJob, beat: Beat) -> Projection:
    """What a worker runs in place of `project`: a file system that does not answer for one file."""
    with mock.patch("radload.review.project.read", stalled_read):
        return project(job, beat)


def test_a_file_that_stalls_costs_itself(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radload.review.project.project", stalling_project)
    found = sections(review(tmp_path / "shards", tree, workers=1, timeout=2.0))
    stalled = [one for key, one in found.items() if key != ("US", 64, 72)]
    assert {(one.files, one.frames, one.unreadable) for one in stalled} == {(6, 5, 1)}


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_that_is_none_is_refused(tree: Path, tmp_path: Path, timeout: float) -> None:
    with pytest.raises(UsageError, match=r"--timeout .* is no time"):
        review(tmp_path / "shards", tree, workers=0, timeout=timeout)


def test_a_file_that_ends_its_worker_costs_itself(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radload.review.project.project", deadly_project)
    found = sections(review(tmp_path / "shards", tree, workers=1))
    assert {(one.files, one.frames, one.unreadable) for key, one in found.items() if key != ("US", 64, 72)} == {
        (6, 5, 1)
    }
    assert found["US", 64, 72].frames == 12


def test_the_files_must_be_those_that_were_packed(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    pack(PackOptions(tree, out, workers=0, attest_no_phi=True))
    (tree / "clinic/3.dcm").rename(tmp_path / "3.dcm")
    with pytest.raises(radload.UsageError, match="1 of the 6 quarantined files are not below --src"):
        review(out, tree, workers=0)
    rejects = out.with_name("shards.private") / "rejects.parquet"
    rejects.write_bytes(rejects.read_bytes()[:-9])
    with pytest.raises(radload.UsageError, match="is damaged"):
        review(out, tree, workers=0)


def test_a_private_folder_that_cannot_be_written_is_a_sentence(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("radload.review.command._save", full)
    with pytest.raises(radload.UsageError, match=r"--private .* cannot be written \(No space left on device\)"):
        review(tmp_path / "shards", tree, workers=0)


def test_nothing_in_quarantine_is_a_sentence(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "src/ct.dcm")
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    assert pq.read_table(tmp_path / "out.private/rejects.parquet").num_rows == 0
    with pytest.raises(radload.UsageError, match=r"nothing of --src .* is in quarantine"):
        review(tmp_path / "out", tmp_path / "src", workers=0)
    assert not (tmp_path / "out.private/review").exists()


def test_the_command_prints_groups_and_where_to_look(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["review", str(tmp_path / "shards"), "--src", str(tree), "--workers", "0"])
    assert ended.value.code in (0, None)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^(?:US|CT|MR)-[0-9a-f]{8} ", printed, re.M)) == 5 and "decisions.toml" in printed
    assert "ACME" not in printed and not re.search(r"\d\.(?:png|dcm)\b", printed)  # no name of a source file


def test_pictures_are_bright_where_a_screen_is() -> None:
    wide = np.array([[-1000, 0], [1000, 3000]], np.int16)
    np.testing.assert_array_equal(grey_of(Slice(0, wide)), [[0, 64], [128, 255]])
    np.testing.assert_array_equal(grey_of(Slice(0, wide, invert=True)), [[255, 191], [127, 0]])
    np.testing.assert_array_equal(grey_of(Slice(0, np.full((2, 2), 7, np.uint8), bits_stored=8)), np.full((2, 2), 7))
    np.testing.assert_array_equal(grey_of(Slice(0, np.full((2, 2), 7, np.uint16))), np.zeros((2, 2)))
    floats = np.array([[np.nan, 0.0], [1.0, 0.5]], np.float32)
    np.testing.assert_array_equal(grey_of(Slice(0, floats)), [[0, 0], [255, 128]])
