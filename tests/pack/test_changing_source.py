"""Source files that change, vanish or stall between the scan and the end of a pack: each costs itself, with the reason."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, WriteSeries

import radload
from radload.pack import PackOptions, pack
from radload.pack.job import pack_shard
from radload.pack.plan import ShardJob
from radload.pack.worker import Beat
from radload.sources import read

VICTIM = "1/001.dcm"


def other_pixels(path: Path) -> None:
    """The same header and size, one pixel changed."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x77\x77")


def another_patient(path: Path) -> None:
    """Another file of the same size and shape, moved over it: what an exporter that numbers its files anew does."""
    os.replace(path.parent.parent / "spare.dcm", path)  # noqa: PTH105 - beside others that Path has not


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "other pixels": (other_pixels, "changed-file"),
    "another patient": (another_patient, "changed-file"),
    "cut": (cut, "changed-file"),
    "vanished": (Path.unlink, "unreadable"),
    "folder": (folder, "changed-file"),
    "pipe": (pipe, "changed-file"),
}


@pytest.fixture
def source(tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom) -> Path:
    for number in range(3):
        write_series(tmp_path / f"src/{number}", patient=f"P{number}", series=f"s{number}")
    spare = tmp_path / "src/spare.dcm"
    write_dicom(spare, patient="P9", series="s1", place=1)
    os.rename(spare, tmp_path / "spare.dcm")  # noqa: PTH104
    return tmp_path / "src"


def rejects(out: Path) -> dict[str, str]:
    table = pq.read_table(out.with_name(f"{out.name}.private") / "rejects.parquet")
    return {row["source"]: row["code"] for row in table.to_pylist()}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_changes_between_scan_and_pack(source: Path, tmp_path: Path, name: str) -> None:
    change, code = CHANGES[name]
    os.rename(tmp_path / "spare.dcm", source.parent / "src_spare")  # noqa: PTH104

    def late(job: ShardJob, beat: Beat) -> None:
        if (source.parent / "src_spare").exists():
            os.rename(source.parent / "src_spare", source / "spare.dcm")  # noqa: PTH104
            change(source / VICTIM)
        pack_shard(job, beat)

    with mock.patch("radload.pack.flow.pack_shard", late):
        summary = pack(PackOptions(source, tmp_path / "out", workers=0))
    assert (summary.samples, summary.rejected) == (8, {code: 1}) and rejects(tmp_path / "out") == {VICTIM: code}
    with radload.open(tmp_path / "out") as data:
        assert len({sample.stored.tobytes() for sample in data}) == 8


def test_a_file_that_changes_while_it_is_read(source: Path, tmp_path: Path) -> None:
    """Behind the read as well: half of the pixels may be from before."""

    def slow_read(path: Path, *others: Any) -> Iterator[Any]:
        for item in read(path, *others):
            if path.name == "001.dcm" and path.parent.name == "1":
                other_pixels(source / path)
            yield item

    with mock.patch("radload.pack.frames.read", slow_read):
        assert pack(PackOptions(source, tmp_path / "out", workers=0)).rejected == {"changed-file": 1}


def stalling(job: ShardJob, beat: Beat) -> None:
    """A network file system whose server is gone: reading one file never returns."""

    def stalled(path: Path, *others: Any) -> Iterator[Any]:
        if path.as_posix().endswith(VICTIM):
            time.sleep(3600)
        yield from read(path, *others)

    with mock.patch("radload.pack.frames.read", stalled):
        pack_shard(job, beat)


def test_a_file_that_stalls_costs_the_time_allowed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radload.pack.flow.pack_shard", stalling)
    started = time.monotonic()
    summary = pack(PackOptions(source, tmp_path / "out", workers=2, timeout=3))
    assert (summary.samples, summary.rejected) == (8, {"timeout": 1}) and rejects(tmp_path / "out") == {
        VICTIM: "timeout"
    }
    assert time.monotonic() - started < 300, "not the hour that the file takes"


def test_what_is_packed_again_without_the_change_is_whole(source: Path, tmp_path: Path) -> None:
    """A touch is a change: the file is left out of this pack, never packed under doubt."""
    times = np.array([0])

    def late(job: ShardJob, beat: Beat) -> None:
        if not times[0]:
            os.utime(source / VICTIM, ns=(1, 1))
            times[0] = 1
        pack_shard(job, beat)

    with mock.patch("radload.pack.flow.pack_shard", late):
        assert pack(PackOptions(source, tmp_path / "out", workers=0)).rejected == {"changed-file": 1}
    assert pack(PackOptions(source, tmp_path / "again", workers=0)).samples == 9
