"""SIGKILL at random times, for all of a pack or for one of its workers: the rerun ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest_pack import WriteDicom, shards_of

from radload.dataset.manifest import MANIFEST
from radload.pack import PackOptions, pack
from radload.pack.part import PACKING

SIZE = 0.3  # MiB: two series of a shard
INDEX = ("records.bin", "series.bin", "samples.arrow", "shards.arrow", "patient_rows.bin")


@pytest.fixture
def source(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    random = np.random.default_rng(0)
    for number in range(40):
        for place in range(4):
            pixels = np.cumsum(random.integers(-3, 4, (128, 128)), axis=1).astype(np.int16)
            names = {"patient": f"P{number}", "series": f"s{number}", "study": f"t{number}"}
            write_dicom(tmp_path / f"src/{number}/{place}.dcm", pixels, place=place, **names)
    return tmp_path / "src"


def start(source: Path, out: Path, key: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "radload.cli", "pack", "--src", source, "--out", out, "--shard-size", SIZE]
    command += ["--workers", 2, "--quiet", "--key", key]
    return subprocess.Popen([str(part) for part in command], start_new_session=True)


def workers_of(session: int) -> list[int]:
    """Processes of a session but its leader and the fork server: those without children."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    return [pid for pid in parents if pid not in parents.values() and pid != session]


def wait_a_while(process: subprocess.Popen[bytes], out: Path, usual: float, random: np.random.Generator) -> None:
    """Some time, or until some more shards are finished: by time alone most kills would meet the start of Python."""
    if random.random() < 0.4:
        time.sleep(random.uniform(0.05, 1.1) * usual)
        return
    parts = out / PACKING / "parts"
    until = len(list(parts.glob("*.arrow"))) + int(random.integers(8))
    while process.poll() is None and (not parts.exists() or len(list(parts.glob("*.arrow"))) < until):
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.05))


def kill_something(process: subprocess.Popen[bytes], random: np.random.Generator) -> str:
    """Kill the whole pack or one process of it; returns what was killed, "" where it had ended before."""
    if process.poll() is not None:
        return ""
    if random.random() < 0.5:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "pack"
    victims = workers_of(process.pid)
    if not victims:
        return ""
    try:
        os.kill(int(random.choice(victims)), signal.SIGKILL)
    except ProcessLookupError:
        return ""
    return "worker"


@pytest.mark.parametrize("times", [4, pytest.param(50, marks=pytest.mark.soak)])
def test_killed_at_random_times(source: Path, tmp_path: Path, times: int) -> None:
    key = tmp_path / "key"
    key.write_text("00112233445566778899aabbccddeeff" * 2)
    started = time.monotonic()
    assert start(source, tmp_path / "first", key).wait() == 0
    usual = time.monotonic() - started
    whole = tmp_path / "whole"
    pack(PackOptions(source, whole, shard_size=SIZE, workers=0, key=key))
    expected, index = shards_of(whole), {name: (whole / "index/000000" / name).read_bytes() for name in INDEX}
    random, killed, states = np.random.default_rng(times), Counter[str](), Counter[str]()
    number = 0
    while killed.total() < times:
        out = tmp_path / f"out{number}"
        number += 1
        for _ in range(1 + int(random.integers(3))):
            process = start(source, out, key)
            wait_a_while(process, out, usual, random)
            what = kill_something(process, random)
            killed[what] += bool(what)
            process.wait()
            shards = set(out.glob("*/*.tar"))
            states["index" if (out / "index/000000").exists() else "shards" if shards else "scan"] += bool(what)
            for path in shards:  # under its final name a shard is whole, whenever the pack was killed
                assert shards_of(out)[path.relative_to(out).as_posix()] == expected[path.relative_to(out).as_posix()]
        assert start(source, out, key).wait() == 0
        assert shards_of(out) == expected
        assert {name: (out / "index/000000" / name).read_bytes() for name in INDEX} == index
        assert (out / MANIFEST).read_bytes() == (whole / MANIFEST).read_bytes()
        assert not (out / PACKING).exists() and not list(out.rglob("*.tmp"))
    del killed[""]
    print(f"killed: {dict(killed)}, while it had: {dict(states)}, lost: 0")
