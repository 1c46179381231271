"""Locks on single bytes: exclusive or shared, between descriptors and processes, and gone with their holder."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from radload.dataset import filelock
from radload.dataset.filelock import acquire, release


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Two descriptors of one file."""
    opened = [os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(2)]
    yield opened[0], opened[1]
    for one in opened:
        os.close(one)


def test_one_at_a_time_byte_by_byte(two: tuple[int, int]) -> None:
    first, second = two
    assert acquire(first, 5) and not acquire(second, 5) and acquire(second, 6) and acquire(second, 10**12)
    release(first, 5)
    assert acquire(second, 5) and not acquire(first, 5)


def test_shared_ones(two: tuple[int, int]) -> None:
    first, second = two
    assert acquire(first, 1, shared=True) and acquire(second, 1, shared=True)
    assert not acquire(first, 1), "another shares it"
    release(second, 1)
    assert acquire(first, 1) and not acquire(second, 1, shared=True)


def test_patience_has_an_end(two: tuple[int, int]) -> None:
    acquire(two[0], 0)
    start = time.monotonic()
    assert not acquire(two[1], 0, patience=0.05)
    assert time.monotonic() - start >= 0.05


def test_another_descriptor_closed_drops_nothing(two: tuple[int, int], tmp_path: Path) -> None:
    """As a POSIX lock would be dropped."""
    acquire(two[0], 0)
    os.close(os.open(tmp_path / "file", os.O_RDWR))
    assert not acquire(two[1], 0)


def test_a_killed_holder_holds_nothing(two: tuple[int, int], tmp_path: Path) -> None:
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        acquire(os.open(tmp_path / "file", os.O_RDWR), 0)
        os.write(done, b"x")
        time.sleep(60)
        os._exit(1)
    os.read(ready, 1)
    assert not acquire(two[0], 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert acquire(two[0], 0, patience=1)
    os.close(ready)
    os.close(done)


def test_a_system_without_locks_is_an_error(two: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock.fcntl, "fcntl", fail)
    with pytest.raises(OSError, match="No locks"):
        acquire(two[0], 0, patience=5)
