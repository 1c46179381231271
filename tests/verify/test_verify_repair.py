"""Repairing: bad samples left out, or shards written anew, and nothing lost when that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from conftest_pack import WriteDicom, shards_of
from verify_make import SHARD, flip, make, opened, options

import radload
from radload.cli import main
from radload.dataset.labels import read_labels
from radload.dataset.manifest import read_manifest
from radload.errors import RadloadError, UsageError
from radload.pack import pack
from radload.pack.sweep import shards_of as shards_in
from radload.verify import drop, repack, verify


def pixels(root: Path) -> dict[str, tuple[str, bytes, object, bytes]]:
    """Of every sample: split, stored values, label, mask."""
    with radload.open(root) as data:
        masks = [b"" if sample.mask is None else sample.mask.tobytes() for sample in data]
        return {s.key: (s.split, s.stored.tobytes(), s.label, m) for s, m in zip(data, masks, strict=True)}


def damage(data: Path) -> list[int]:
    """Bytes of pixels, of a KEY.json and of a tar header; a whole shard. Returns the rows that are lost."""
    index = opened(data)
    records = index.records
    flip(data / SHARD, int(records[1]["offset"]) + 190)
    behind = int(records[3]["offset"]) + int(records[3]["length"])
    flip(data / SHARD, behind + -behind % 512 + 512 + 60)
    flip(data / SHARD, int(records[0]["offset"]) - 512)
    last = len(index.shard_names) - 1
    os.truncate(data / index.shard_names[last], 100)
    return [1, 3, *np.flatnonzero(records["shard"] == last).tolist()]


def test_dropping_leaves_the_good_samples_as_they_were(data: Path, whole: Path) -> None:
    gone = damage(data)
    before, manifest = pixels(whole), read_manifest(whole)
    keys = sorted(before)
    report = verify(data, workers=0)
    assert list(report.bad) == gone
    done = drop(data, report)
    assert done.samples == len(gone)
    assert verify(data, workers=0).problems == ()
    left = pixels(data)
    assert left == {key: value for row, (key, value) in enumerate((k, before[k]) for k in keys) if row not in gone}
    now = read_manifest(data)
    assert (now.generation, now.fingerprint != manifest.fingerprint) == (manifest.generation + 1, True)
    assert len(read_labels(opened(data).label_root, "default", opened(data).keys).codes) == len(left)
    assert [s.name for s in (data / "index").iterdir() if s.name.isdecimal()] and read_manifest(
        data, 0
    ).fingerprint == manifest.fingerprint
    assert not verify(data, workers=0, version=0).whole, "the version before is as damaged as it was"
    with radload.Loader(data, "train", batch_size=2, size=16, drop_last=False, shuffle=False) as loader:
        assert sum(int(batch["valid"].sum()) for batch in loader) == now.splits["train"]["samples"]


def test_dropping_twice_and_nothing(data: Path) -> None:
    flip(data / SHARD, int(opened(data).records[1]["offset"]) + 190)
    drop(data, verify(data, workers=0))
    flip(data / opened(data).shard_names[0], int(opened(data).records[0]["offset"]) + 190)
    drop(data, verify(data, workers=0))
    assert len(opened(data).records) == 20 and verify(data, workers=0).whole
    for name in opened(data).shard_names:
        os.truncate(data / name, 0)
    with pytest.raises(UsageError, match="no sample of"):
        drop(data, verify(data, workers=0))


def test_a_repair_that_is_killed_anywhere_is_finished_by_the_next(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step at which files are moved: what was there before, or what is there after, never half."""
    damage(data)
    aside = data.with_name("damaged")
    data.rename(aside)
    real = Path.replace
    for step in range(100):
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(aside, data)
        moves = [0]

        def stop(path: Path, target: Path, at: int = step, moves: list[int] = moves) -> Path:
            if moves[0] == at:
                raise KeyboardInterrupt
            moves[0] += 1
            return real(path, target)

        report = verify(data, workers=0)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", stop)
            try:
                drop(data, report)
            except KeyboardInterrupt:
                pass
            else:
                break
        left = verify(data, workers=0)
        if not left.whole:
            assert left.bad == report.bad, "the version that was"
            drop(data, left)
        assert verify(data, workers=0).problems == () and len(opened(data).records) == 22 - len(report.bad)
        assert not list(data.rglob("*.tmp"))
        assert {path.relative_to(data).as_posix() for path in data.glob("*/*.tar")} == set().union(
            *(shards_in(data, one) for one in (0, 1))
        )
    assert 4 <= step < 60


@pytest.mark.soak
def test_a_repair_killed_at_fifty_times(whole: Path, tmp_path: Path) -> None:
    """SIGKILL, at times spread over a run; then the same command again."""
    data, random = tmp_path / "data", np.random.default_rng(0)
    for _ in range(50):
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(whole, data)
        lost = damage(data)
        command = [sys.executable, "-m", "radload.cli", "verify", str(data), "--repair", "drop", "--workers", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(random.uniform(0.3, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
        assert verify(data, workers=0).problems == () and len(opened(data).records) == 22 - len(lost)


def test_repacking_gives_the_same_bytes(data: Path, whole: Path) -> None:
    damage(data)
    report = verify(data, workers=0)
    damaged = {problem.shard for problem in report.problems}
    done = repack(data, damaged, whole.with_name("src"), workers=0)
    assert set(done.restored) == damaged and not done.differing
    assert shards_of(data) == shards_of(whole) and verify(data, workers=0).whole
    assert {p.name for p in data.iterdir()} == {p.name for p in whole.iterdir()}
    assert {p.name for p in data.with_name("shards.private").iterdir()} == {
        p.name for p in whole.with_name("shards.private").iterdir()
    }


def test_a_source_that_does_not_answer_ends_the_repair(data: Path, whole: Path) -> None:
    damage(data)
    before, scandir, comes_back = shards_of(data), os.scandir, threading.Event()
    source = whole.with_name("src")

    def waits(path: str) -> Iterator[os.DirEntry[str]]:
        if str(source) in str(path):
            comes_back.wait(60)
        return scandir(path)

    with mock.patch("os.scandir", waits):
        with pytest.raises(RadloadError, match=r"does not answer: 0\.3 seconds"):
            repack(data, set(before), source, workers=0, timeout=0.3)
        comes_back.set()
    assert shards_of(data) == before and not (data / ".repack").exists()


def test_repacking_a_source_that_changed_puts_nothing_in_place(tmp_path: Path, write_dicom: WriteDicom) -> None:
    data = make(tmp_path, write_dicom)
    flip(data / SHARD, 700)
    before = shards_of(data)
    for path in (tmp_path / "src").glob("*/*.dcm"):
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
    done = repack(data, {SHARD}, tmp_path / "src", workers=0)
    assert done == type(done)((), (SHARD,)) and shards_of(data) == before
    with pytest.raises(UsageError, match="private"):
        repack(data, {SHARD}, tmp_path / "src", tmp_path / "none")
    with pytest.raises(UsageError, match="there is no folder"):
        repack(data, {SHARD}, tmp_path / "nowhere")


def test_repacking_wants_the_files_of_the_pack(tmp_path: Path, write_dicom: WriteDicom) -> None:
    make(tmp_path, write_dicom)
    splits = tmp_path / "splits.csv"
    splits.write_text("path,split\n0,train\n1,val\n")
    data = tmp_path / "other"
    pack(options(tmp_path / "src", data, splits=splits, split="60/20/20"))
    name = opened(data).shard_names[0]
    whole = shards_of(data)
    flip(data / name, 700)
    with pytest.raises(UsageError, match="give the same file by --splits"):
        repack(data, {name}, tmp_path / "src", workers=0)
    assert repack(data, {name}, tmp_path / "src", workers=0, files={"--splits": splits}).restored == (name,)
    assert shards_of(data) == whole
    splits.write_text("path,split\n0,train\n")
    with pytest.raises(UsageError, match="--splits is not that of the pack"):
        repack(data, {name}, tmp_path / "src", workers=0, files={"--splits": splits})


def test_the_command_repairs(data: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(data / SHARD, int(opened(data).records[1]["offset"]) + 190)
    source = str(whole.with_name("src"))
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(data), "--repair", "repack", "--src", source, "--workers", "0"])
    assert not ended.value.code and f"written anew from the source: {SHARD}" in capsys.readouterr().out
    flip(data / SHARD, int(opened(data).records[1]["offset"]) + 190)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(data), "--repair", "drop", "--workers", "0"])
    assert not ended.value.code and "version 1 leaves out 1 samples" in capsys.readouterr().out
