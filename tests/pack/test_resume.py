"""A pack that is killed goes on where it was and ends with the same bytes; a file that kills its worker costs itself."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, WriteSeries, shards_of

import radload
from radload.dataset.manifest import MANIFEST
from radload.errors import RadloadError
from radload.pack import PackOptions, pack
from radload.pack.catalog_rows import scan_rows
from radload.pack.job import pack_shard
from radload.pack.part import PACKING
from radload.pack.plan import ShardJob
from radload.pack.scan import ScanJob
from radload.pack.worker import Beat
from radload.sources import Refused, read, scan

SIZE = 0.3  # MiB: two series of a shard


@pytest.fixture
def source(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    random = np.random.default_rng(0)
    for number in range(40):
        for place in range(4):
            pixels = np.cumsum(random.integers(-3, 4, (128, 128)), axis=1).astype(np.int16)
            write_dicom(
                tmp_path / f"src/{number}/{place}.dcm", pixels, patient=f"P{number}", series=f"s{number}", place=place
            )
    return tmp_path / "src"


def start(source: Path, out: Path, largest: int = resource.RLIM_INFINITY) -> subprocess.Popen[str]:
    """`radload pack` in a process group of its own, whose files may have `largest` bytes."""
    command = [
        sys.executable,
        "-m",
        "radload.cli",
        "pack",
        "--src",
        source,
        "--out",
        out,
        "--shard-size",
        SIZE,
        "--workers",
        2,
    ]

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job would hand down that it is ignored

    return subprocess.Popen(
        [str(part) for part in command],
        start_new_session=True,
        preexec_fn=prepare,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_shards(process: subprocess.Popen[str], out: Path, count: int) -> bool:
    """Whether so many shards are finished while the process still runs."""
    end = time.monotonic() + 60
    while len(list(out.glob(f"{PACKING}/parts/*.arrow"))) < count:
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.002)
    return process.poll() is None


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_pack_goes_on_and_ends_with_the_same_bytes(
    source: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    for attempt in range(5):  # a busy machine may let this process sleep until the pack is through
        out = tmp_path / f"out{attempt}"
        process = start(source, out)
        if wait_for_shards(process, out, 3):
            os.killpg(process.pid, stop)
        _, said = process.communicate(timeout=300)
        if process.returncode != 0 and len(list(out.glob(f"{PACKING}/parts/*.arrow"))) < 20:
            break
    if stop is signal.SIGINT:
        assert process.returncode == 130 and "shards are finished; run the same command again to go on" in said, said
    assert not (out / MANIFEST).exists()
    parts = {path: path.stat().st_mtime_ns for path in out.glob(f"{PACKING}/parts/*.arrow")}
    kept = {
        path: path.stat().st_mtime_ns
        for path in out.glob("*/*.tar")
        if (out / PACKING / "parts" / f"{path.parent.name}-{path.stem}.arrow") in parts
    }
    assert 3 <= len(kept) < 20
    broken = next(iter(kept))
    del kept[broken]
    broken.write_bytes(broken.read_bytes()[:-1])  # as a power cut might leave it
    (broken.parent / ".000000.tar.1.tmp").write_bytes(b"begun")

    resumed = pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    whole = pack(PackOptions(source, tmp_path / "whole", shard_size=SIZE, workers=0))
    assert resumed.samples == whole.samples == 160 and resumed.slices < whole.slices
    assert shards_of(out) == shards_of(tmp_path / "whole") and len(shards_of(out)) == 20
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "finished shards were written again"
    assert (out / "index/000000/records.bin").read_bytes() == (tmp_path / "whole/index/000000/records.bin").read_bytes()
    assert not (out / PACKING).exists() and not list(out.rglob("*.tmp"))


def test_what_does_not_fit_on_the_disk_is_said_and_leaves_nothing_half_written(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(source, out, largest=60_000)  # a shard has some 75,000 bytes
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2 and said.count("\n") <= 2, said
    assert "packing stopped (file too large)" in said and "run the same command again to go on" in said
    assert not list(tmp_path.rglob("*.tmp")) and not list(out.rglob("*.tar"))
    pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    pack(PackOptions(source, tmp_path / "whole", shard_size=SIZE, workers=0))
    assert shards_of(out) == shards_of(tmp_path / "whole")


def test_what_ended_workers_had_begun_is_removed(source: Path, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> Iterator[tuple[int, None]]:
        (tmp_path / "out/train/.000001.tar.7.tmp").write_bytes(b"begun by a worker that was ended")
        raise OSError(errno.ENOSPC, "No space left on device")
        yield

    with mock.patch("radload.pack.flow.run_jobs", fail), pytest.raises(RadloadError, match="no space left on device"):
        pack(PackOptions(source, tmp_path / "out", shard_size=SIZE, workers=0))
    assert not list(tmp_path.rglob("*.tmp"))


def test_an_unfinished_pack_wants_its_own_options_and_private_folder(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(job: ShardJob, beat: Beat) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    with (
        monkeypatch.context() as patch,
        pytest.raises(radload.RadloadError, match=r"no space left on device\): 0 of 20 shards are finished; run"),
    ):
        patch.setattr("radload.pack.flow.pack_shard", full)
        pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    assert (out / PACKING).is_dir() and not (out / MANIFEST).exists()
    with pytest.raises(radload.UsageError, match="different: --codec"):
        pack(PackOptions(source, out, shard_size=SIZE, workers=0, codec="raw"))
    shutil.move(tmp_path / "out.private", tmp_path / "elsewhere")
    with pytest.raises(radload.UsageError, match="--private"):
        pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    assert pack(PackOptions(source, out, tmp_path / "elsewhere", shard_size=SIZE, workers=0)).samples == 160


def test_a_file_that_could_not_be_scanned_the_first_time_moves_its_neighbours(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out while scanning is no property of the file: the shards that it shifts are packed again, the same as by one run."""
    out = tmp_path / "out"

    def slow_scan(path: Path, name: str, axis: int) -> Any:
        if name == "7/2.dcm":
            raise Refused("timeout", "the disk slept")
        return scan(path, name, axis)

    shards = []

    def filling_disk(job: ShardJob, beat: Beat) -> None:
        shards.append(job.name)
        if len(shards) > 15:
            raise OSError(errno.ENOSPC, "No space left on device")
        pack_shard(job, beat)

    with monkeypatch.context() as patch, pytest.raises(RadloadError, match="15 of 20 shards are finished"):
        patch.setattr("radload.pack.scan.scan", slow_scan)
        patch.setattr("radload.pack.flow.pack_shard", filling_disk)
        pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    resumed = pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    whole = pack(PackOptions(source, tmp_path / "whole", shard_size=SIZE, workers=0))
    assert resumed.samples == whole.samples == 160
    assert shards_of(out) == shards_of(tmp_path / "whole")
    assert (out / "index/000000/records.bin").read_bytes() == (tmp_path / "whole/index/000000/records.bin").read_bytes()


def deadly(path: Path, *others: Any) -> None:
    """What broken decoders do: one crashes, one sleeps for ever, one is stopped, one takes all memory."""
    if path.name == "killer.dcm":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif path.name == "sleeper.dcm":
        time.sleep(3600)
    elif path.name == "stopped.dcm":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif path.name == "bomb.dcm":
        np.ones(1 << 28)  # 2 GiB


def deadly_pack_shard(shard: ShardJob, beat: Beat) -> None:
    def deadly_read(path: Path, *others: Any) -> Iterator[Any]:
        deadly(path)
        yield from read(path, *others)

    with mock.patch("radload.pack.frames.read", deadly_read):
        pack_shard(shard, beat)


def deadly_scan_rows(job: ScanJob, beat: Beat) -> Any:
    def deadly_scan(path: Path, *others: Any) -> Any:
        deadly(path)
        return scan(path, *others)

    with mock.patch("radload.pack.scan.scan", deadly_scan):
        return scan_rows(job, beat)


@pytest.mark.parametrize("where", ["radload.pack.flow.pack_shard", "radload.pack.catalog_rows.scan_rows"])
def test_files_that_cost_a_worker_cost_themselves(
    tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A decoder that crashes, hangs, is stopped or eats memory: that file is rejected with its code, the rest goes on."""
    monkeypatch.setattr(where, deadly_pack_shard if where.endswith("pack_shard") else deadly_scan_rows)
    for number in range(3):
        write_series(tmp_path / f"src/{number}", series=f"s{number}")
    expected = {
        "1/killer.dcm": "decoder-crashed",
        "1/sleeper.dcm": "timeout",
        "2/stopped.dcm": "timeout",
        "0/bomb.dcm": "out-of-memory",
    }
    for place, name in enumerate(expected):
        write_dicom(tmp_path / "src" / name, series=f"s{name[0]}", place=7 + place)
    options = PackOptions(tmp_path / "src", tmp_path / "out", workers=2, shard_size=0.001, timeout=3, memory=1)
    summary = pack(options)
    assert (summary.samples, summary.rejected) == (9, {"timeout": 2, "decoder-crashed": 1, "out-of-memory": 1})
    rejects = pq.read_table(tmp_path / "out.private/rejects.parquet").to_pylist()
    assert {reject["source"]: reject["code"] for reject in rejects} == expected


def test_two_packs_do_not_write_to_one_folder(source: Path, tmp_path: Path) -> None:
    for attempt in range(5):  # a busy machine may let this process sleep until the pack is through
        out = tmp_path / f"out{attempt}"
        process = start(source, out)
        try:
            if not wait_for_shards(process, out, 1):
                continue
            os.killpg(process.pid, signal.SIGSTOP)
            if (out / MANIFEST).exists():
                continue
            with pytest.raises(radload.UsageError, match="another radload pack is writing"):
                pack(PackOptions(source, out, shard_size=SIZE, workers=0))
            return
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    raise AssertionError("no pack could be met at work")
