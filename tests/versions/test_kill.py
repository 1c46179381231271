"""append, forget and compact killed at any time: the data set is whole, as the version before or after, and the next call ends the work.

Killed before each act that other processes can see (a rename, a removal), and, as nothing says that these are all, at random times.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteSeries, shards_of

import radload
from radload.audit.proof import audit
from radload.dataset.manifest import generations
from radload.pack import PackOptions, append, pack
from radload.versions import compact, forget

# Runs the command line; ends like kill -9 before the act of the number given. Prints how many acts there were.
KILLED = """
import os, pathlib, shutil, sys
stop, acts = int(sys.argv[1]), 0
def counted(act):
    def run(*arguments, **options):
        global acts
        if acts == stop:
            os._exit(9)
        acts += 1
        return act(*arguments, **options)
    return run
for owner, name in ((pathlib.Path, "replace"), (pathlib.Path, "rename"), (pathlib.Path, "unlink"), (shutil, "rmtree"), (os, "unlink")):
    setattr(owner, name, counted(getattr(owner, name)))
from radload.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    print("acts", acts)
    raise
"""


def options_of(folder: Path) -> PackOptions:
    return PackOptions(folder / "clinic", folder / "out", split="60/20/20", shard_size=0.004, workers=0)


def arguments(command: str, folder: Path) -> list[str]:
    out = str(folder / "out")
    if command == "append":
        shape = ["--split", "60/20/20", "--shard-size", "0.004", "--workers", "0", "--quiet"]
        return ["pack", "--append", "--src", str(folder / "clinic"), "--out", out, *shape]
    if command == "forget":
        return ["forget", out, "--patient-file", str(folder / "list")]
    return ["compact", out]


def prepare(command: str, folder: Path, clinic: Path, write_series: WriteSeries) -> Path:
    """A folder in which `command` is the next thing to do."""
    folder.mkdir()
    shutil.copytree(clinic, folder / "clinic")
    options = options_of(folder)
    pack(options)
    for number in range(7, 10):
        write_series(folder / f"clinic/new{number}", patient=f"P{number}", study=f"st{number}", series=f"s{number}")
    write_series(folder / "clinic/more", patient="P0", study="st0", series="more")
    (folder / "list").write_text("P0\nP8\n")
    if command != "append":
        append(options)
    if command == "compact":
        forget(folder / "out", folder / "list")
    return folder


def content(out: Path) -> dict[str, tuple[bytes, str]]:
    with radload.open(out) as ds:
        return {s.key: (s.stored.tobytes(), s.split) for s in ds}


def check_whole(folder: Path, allowed: list[dict[str, tuple[bytes, str]]]) -> None:
    """Every version opens and holds what it says; the current one is one of `allowed`."""
    out = folder / "out"
    assert content(out) in allowed
    assert audit(out).proven
    for version in generations(out, radload.open(out).manifest):
        with radload.open(out, version=version) as ds:
            assert sum(sample.stored.size > 0 for sample in ds) == ds.manifest.samples


def check_end(folder: Path, done: Path) -> None:
    """Nothing differs from an undisturbed run, and nothing is left over."""
    assert content(folder / "out") == content(done / "out")
    assert shards_of(folder / "out") == shards_of(done / "out")
    mine, theirs = (
        sorted(
            path.relative_to(one).as_posix() for path in one.rglob("*") if path.is_file() and "clinic" not in path.parts
        )
        for one in (folder, done)
    )
    assert mine == theirs
    for table in ("crosswalk", "splits"):
        rows = [pq.read_table(one / f"out.private/{table}.parquet").to_pylist() for one in (folder, done)]
        assert sorted(map(str, rows[0])) == sorted(map(str, rows[1]))


def again(command: str, folder: Path) -> None:
    if command == "append":
        append(options_of(folder))
    elif command == "forget":
        forget(folder / "out", folder / "list")
    else:
        compact(folder / "out")


def copy_of(start: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(start, place)  # with times: an append goes by them
    return place


@pytest.mark.parametrize(
    ("command", "every"),
    [
        ("append", 4),
        ("forget", 1),
        ("compact", 3),
        *(pytest.param(name, 1, marks=pytest.mark.soak) for name in ("append", "compact")),
    ],
)
def test_killed_before_its_acts(
    command: str, every: int, tmp_path: Path, clinic: Path, write_series: WriteSeries
) -> None:
    start = prepare(command, tmp_path / "start", clinic, write_series)
    done = copy_of(start, tmp_path / "done")
    before = content(done / "out")
    again(command, done)
    after = content(done / "out")
    place, number = tmp_path / "try", 0
    while True:
        folder = copy_of(start, place)
        run = subprocess.run(
            [sys.executable, "-c", KILLED, str(number), *arguments(command, folder)], capture_output=True, text=True
        )
        if run.returncode == 0:
            assert int(run.stdout.split()[-1]) <= number
            break
        assert run.returncode == 9, run.stderr
        check_whole(folder, [before, after])
        again(command, folder)
        check_whole(folder, [after])
        check_end(folder, done)
        number += every
    assert number >= {"append": 10, "forget": 3, "compact": 10}[command]
    check_end(folder, done)


def kill_at_random(command: str, times: int, tmp_path: Path, start: Path) -> int:
    """Kill the command `times` times in the process group, then let it end; returns how often it was killed in the middle."""
    done = copy_of(start, tmp_path / "done")
    before = content(done / "out")
    command_line = [sys.executable, "-m", "radload.cli"]
    began = time.monotonic()
    subprocess.run([*command_line, *arguments(command, done)], check=True, capture_output=True)
    took = time.monotonic() - began
    after, chance, killed = content(done / "out"), random.Random(0), 0
    for _ in range(times):
        folder = copy_of(start, tmp_path / "try")
        process = subprocess.Popen(
            [*command_line, *arguments(command, folder)], start_new_session=True, stdout=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(0.3, 1) * took)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        check_whole(folder, [before, after])
        again(command, folder)
        check_end(folder, done)
    return killed


@pytest.mark.parametrize("command", ["append", "compact"])
def test_killed_at_random_times(command: str, tmp_path: Path, clinic: Path, write_series: WriteSeries) -> None:
    start = prepare(command, tmp_path / "start", clinic, write_series)
    kill_at_random(command, 3, tmp_path, start)


@pytest.mark.soak
@pytest.mark.parametrize("command", ["append", "forget", "compact"])
def test_killed_at_fifty_random_times(command: str, tmp_path: Path, clinic: Path, write_series: WriteSeries) -> None:
    start = prepare(command, tmp_path / "start", clinic, write_series)
    assert kill_at_random(command, 50, tmp_path, start) >= 25
