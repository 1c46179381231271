"""The walk of a source folder: order, links, and a file system that stops to answer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from radload.errors import RadloadError
from radload.pack import PackOptions, dry_run, pack
from radload.pack.scan_command import ScanOptions, scan_folder
from radload.pack.stages import plan
from radload.pack.walk import resolved, walk
from radload.review import review

NAME = "Doe^Jane"  # of the folder that does not answer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Folders of 700 files in all; that of `NAME` comes last but one."""
    for name in ("A", NAME, "Z"):
        (tmp_path / "src" / name).mkdir(parents=True)
    for number in range(700):
        (tmp_path / "src" / ("A", "Z")[number % 2] / f"{number:03d}.dcm").write_bytes(b"x" * number)
    return tmp_path / "src"


@pytest.fixture
def stalled() -> Iterator[threading.Event]:
    """`os.scandir` and `os.stat` of what lies in `NAME` wait for the event, as on a mount whose server is gone."""
    comes_back, scandir = threading.Event(), os.scandir

    def waits(path: str) -> Iterator[os.DirEntry[str]]:
        if NAME in str(path):
            comes_back.wait(60)
        return scandir(path)

    with mock.patch("os.scandir", waits):
        yield comes_back
        comes_back.set()


def walks() -> int:
    """Threads that list files."""
    return sum(thread.name == "radload walk" for thread in threading.enumerate())


def nobody_walks() -> bool:
    """Whether all such threads end within a few seconds."""
    limit = time.monotonic() + 60
    while walks() and time.monotonic() < limit:
        time.sleep(0.01)
    return not walks()


def test_a_folder_that_does_not_answer_ends_the_walk(source: Path, stalled: threading.Event) -> None:
    """One sentence, within the time-out and a little; the files before it were there."""
    started, found = time.monotonic(), []
    with pytest.raises(RadloadError) as error:
        for file in walk(source, 0.5):
            found.append(file)
    assert 0.5 <= time.monotonic() - started < 60, "the folder answers after 60 seconds"
    said = str(error.value)
    assert "0.5 seconds" in said and "--timeout" in said and str(source) in said and "\n" not in said
    assert "Doe" not in said, "a folder may have a person's name"
    assert all(file.source.startswith("A/") for file in found)
    assert walks() == 1, "nothing can end the thread that waits"
    stalled.set()
    assert nobody_walks(), "but it does not go on when the answer comes"
    assert [file.source for file in walk(source)] == sorted(
        path.relative_to(source).as_posix() for path in source.rglob("*.dcm")
    )


def test_a_slow_file_system_is_no_stalled_one(source: Path) -> None:
    """Each answer takes a fifth of the time-out, all together nearly three times as long."""
    look = os.stat

    def slow(path: str, **others: bool) -> os.stat_result:
        if str(path).endswith(("00.dcm", "50.dcm")):
            time.sleep(0.2)
        return look(path, **others)

    with mock.patch("os.stat", slow):
        started = time.monotonic()
        assert sum(1 for _ in walk(source, 1.0)) == 700
        assert time.monotonic() - started > 2.5, "14 slow answers"


def test_time_in_which_the_process_was_stopped_does_not_count(source: Path, stalled: threading.Event) -> None:
    """A clock that jumps by a minute is a laptop that slept, or SIGSTOP."""
    clock, jumps = time.monotonic, iter((0.0, 60.0, 60.0, 60.0))
    with mock.patch("radload.pack.walk.time.monotonic", lambda: clock() + next(jumps, 60.0)):
        threading.Timer(0.6, stalled.set).start()
        assert sum(1 for _ in walk(source, 3.0)) == 700


def test_who_leaves_early_leaves_no_thread(source: Path) -> None:
    for wanted in (0, 1, 600):
        files = walk(source)
        for _ in range(wanted):
            next(files)
        files.close()
    assert nobody_walks()


def test_other_errors_are_raised_where_the_files_are_wanted(source: Path) -> None:
    with mock.patch("os.scandir", side_effect=MemoryError), pytest.raises(MemoryError):
        list(walk(source))


def test_a_root_that_does_not_answer(source: Path) -> None:
    comes_back = threading.Event()
    with mock.patch.object(Path, "exists", lambda path: comes_back.wait(60)):
        with pytest.raises(RadloadError, match=r"0.3 seconds .* 0 files"):
            resolved(source, 0.3)
        comes_back.set()
    assert nobody_walks()
    assert resolved(source.parent / "A" / ".." / "src") == source.resolve()


def test_whatever_walks_ends_with_the_sentence_and_writes_nothing(source: Path, stalled: threading.Event) -> None:
    out, private = source.parent / "out", source.parent / "private"
    options = PackOptions(source, out, private, workers=0, timeout=0.3)
    calls = [
        lambda: pack(options),
        lambda: dry_run(options),
        lambda: plan(options),
        lambda: scan_folder(ScanOptions(source, private, workers=0, timeout=0.3)),
        lambda: review(out, source, private, workers=0, timeout=0.3),
    ]
    for call in calls:
        with pytest.raises(RadloadError, match=r"0\.3 seconds"):
            call()
        assert not out.exists()
        left = [path.name for path in private.rglob("*") if path.is_file()]
        assert not left, "600 files are less than a block of the catalog's journal"


def test_what_has_no_option_has_the_usual_time(source: Path, stalled: threading.Event) -> None:
    from radload.pack.worker import Limits

    with mock.patch("radload.pack.walk.Limits", lambda: Limits(0.3)), pytest.raises(RadloadError) as error:
        list(walk(source))
    assert "--timeout" not in str(error.value)


def test_the_command_ends_although_its_thread_does_not(source: Path) -> None:
    """A thread in a system call that never returns: code 2 and one sentence, without the folder's name."""
    program = (
        "import os, sys\n"
        "real, (end, _) = os.scandir, os.pipe()\n"
        f"os.scandir = lambda path: os.read(end, 1) if {NAME!r} in str(path) else real(path)\n"
        "from radload.cli import main\n"
        "sys.argv[0] = 'radload'\n"
        "main()\n"
    )
    out = source.parent / "out"
    command = [
        sys.executable,
        "-c",
        program,
        "pack",
        "--src",
        str(source),
        "--out",
        str(out),
        "--timeout",
        "1",
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2, done.stderr
    assert "1 seconds" in done.stderr and "Traceback" not in done.stderr and "Doe" not in done.stdout + done.stderr
    assert not out.exists() and not out.with_name("out.private").exists()
