"""Source files are asked for before their turn, a few at a time; files in memory cost little, and what stalls or fails stops nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from radload.pack import fetch
from radload.pack.fetch import AHEAD, Fetch

SOON = 20.0  # seconds


def wait(until: Callable[[], bool]) -> bool:
    limit = time.monotonic() + SOON
    while not until() and time.monotonic() < limit:
        time.sleep(0.001)
    return until()


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_in_a_row", 0)
    monkeypatch.setattr(fetch, "_passed", 0)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    names = [f"{place:02d}.dcm" for place in range(60)]
    for place, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes(5000 + place))
    return names


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(size of the file that is asked for, bytes asked for); no file counts as being in memory."""
    found: list[tuple[int, int]] = []

    def advise(descriptor: int, start: int, length: int, advice: int) -> None:
        assert (start, advice) == (0, os.POSIX_FADV_WILLNEED)
        found.append((os.fstat(descriptor).st_size, length))

    monkeypatch.setattr(fetch, "_in_memory", lambda descriptor, place: False)
    monkeypatch.setattr(os, "posix_fadvise", advise)
    return found


def test_files_are_asked_for_ahead_and_each_once(
    tmp_path: Path, files: list[str], asked: list[tuple[int, int]]
) -> None:
    with Fetch(tmp_path, files, 5010) as ahead:
        for turn in range(len(files)):
            wanted = min(turn + AHEAD, len(files)) - 1  # without the first, which is read at once
            assert wait(lambda wanted=wanted: len(asked) == wanted), (turn, asked)  # type: ignore[misc]
            ahead.next()
        assert wait(lambda: len(asked) == len(files) - 1)
    assert sorted(asked) == [(5000 + place, min(5000 + place, 5010)) for place in range(1, len(files))]


def test_files_in_memory_are_soon_hardly_looked_at(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(fetch, "_in_memory", lambda descriptor, place: not looks.append(place))  # type: ignore[func-returns-value]
    monkeypatch.setattr(os, "posix_fadvise", lambda *call: pytest.fail("it lies there"))
    with Fetch(tmp_path, files) as ahead:
        assert wait(lambda: fetch._in_a_row == len(looks) == AHEAD - 1)
        for turn in range(len(files)):
            ahead.next()
            assert turn or wait(lambda: fetch._in_a_row == len(looks) == AHEAD)
        assert wait(lambda: looks[AHEAD:] == [5039])  # the last byte of file 40, the 32nd after
    with Fetch(tmp_path, files) as again:  # what the process has seen holds for its next pass
        for _ in files:
            again.next()
        assert wait(lambda: len(looks) == AHEAD + 3)
    assert sorted(looks[AHEAD:]) == [5012, 5039, 5044] and len(again._threads) == 2


def test_a_file_that_is_not_in_memory_ends_the_calm(
    tmp_path: Path, files: list[str], asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_in_a_row", 1000)
    with Fetch(tmp_path, files) as ahead:
        for turn in range(len(files)):
            ahead.next()
            assert turn != 32 - AHEAD or wait(lambda: asked == [(5032, 5032)])
        assert wait(lambda: len(asked) == len(files) - 32)


def test_short_passes_are_looked_at_too(
    tmp_path: Path, files: list[str], asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_in_a_row", 1000)
    for _ in range(20):
        with Fetch(tmp_path, files[:3]) as ahead:
            for _ in range(3):
                ahead.next()
            time.sleep(0.01)
    assert wait(lambda: len(asked) > 2)


def test_whether_a_byte_is_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(descriptor, 1, 1000) and fetch._in_memory(descriptor, 1000)
        assert not fetch._in_memory(descriptor, 1 << 21), "behind its end"
    finally:
        os.close(descriptor)


def test_what_is_no_file_to_read_stops_nothing(tmp_path: Path, asked: list[tuple[int, int]]) -> None:
    """Gone, a folder, a pipe that nobody writes to, empty, a name that cannot be one."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "good").write_bytes(bytes(77))
    names = ["first", *["gone", "folder", "pipe", "empty", "a\0b"] * 2, "good"]
    with Fetch(tmp_path, names) as ahead:
        for _ in names:
            ahead.next()
        assert wait(lambda: asked == [(77, 77)])


def test_nobody_waits_for_a_file_system_that_does_not_answer(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(Fetch, "_ask", lambda self, path: answer.wait(SOON))
    began = time.monotonic()
    with Fetch(tmp_path, files) as ahead:
        for _ in files:
            ahead.next()
        threads = ahead._threads
    assert time.monotonic() - began < SOON / 4 and all(thread.is_alive() and thread.daemon for thread in threads)
    answer.set()
    assert wait(lambda: not any(thread.is_alive() for thread in threads)), "and they end when it does"


@pytest.mark.parametrize("count", [0, 1, 2, 60])
def test_few_files_have_few_threads(tmp_path: Path, files: list[str], count: int) -> None:
    with Fetch(tmp_path, files[:count]) as ahead:
        assert len(ahead._threads) == min(max(0, count - 1), 4)
        for _ in range(count):
            ahead.next()
