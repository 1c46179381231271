"""What is read from /proc, against work of known size."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from radload.bench.counters import bytes_read, cpu_seconds, descendants, drop_from_cache, memory, wait_until_idle


def _child(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _said(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None
    return child.stdout.readline()


def test_descendants_are_found_two_deep() -> None:
    inner = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); "
        "print(p.pid, flush=True); input(); p.kill()"
    )
    child = _child(inner)
    try:
        assert {child.pid, int(_said(child))} <= set(descendants(os.getpid()))
    finally:
        child.communicate(b"\n")
    assert child.pid not in descendants(os.getpid())


def test_cpu_time_counts_work_and_not_sleep() -> None:
    own = (os.getpid(),)
    before, start = cpu_seconds(own), time.process_time()
    while time.process_time() - start < 0.3:
        pass
    worked = cpu_seconds(own)
    time.sleep(0.3)
    assert 0.25 <= worked - before <= 0.6
    assert cpu_seconds(own) - worked <= 0.1
    assert cpu_seconds((2**22 + 1,)) == 0  # no such process


def test_idle_is_told_from_busy() -> None:
    busy = _child("print(flush=True)\nwhile True: pass")
    try:
        _said(busy)
        assert not all(wait_until_idle((busy.pid,), limit=0.5) for _ in range(5)), "unless it got no time in 40 ms"
    finally:
        busy.kill()
        busy.communicate()
    assert wait_until_idle((busy.pid,), limit=0.5)


def test_memory_is_that_of_the_other_process() -> None:
    small, large = (_child(f"x = b'1' * {size << 20}; print(flush=True); input()") for size in (1, 100))
    try:
        for child in (small, large):
            _said(child)
        grown = memory([large.pid]).own - memory([small.pid]).own
        assert 95 << 20 <= grown <= 110 << 20
    finally:
        for child in (small, large):
            child.communicate(b"\n")


def test_bytes_asked_and_a_file_dropped_from_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(np.random.default_rng(0).bytes(1 << 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    before = bytes_read([os.getpid()])
    path.read_bytes()
    after = bytes_read([os.getpid()])
    if before is None or after is None:
        assert not Path("/proc/self/io").exists()
        return
    assert 1 << 20 <= after.asked - before.asked <= (1 << 20) + 65_536
    assert after.fetched - before.fetched < 1 << 20  # written just now, so in the cache
    drop_from_cache(path, 0, 1 << 20)
    assert path.read_bytes()[:1] != b"" and path.stat().st_size == 1 << 20  # dropping loses nothing
    assert bytes_read([2**22 + 1]) is None
