"""A loader process that is killed, stopped or left alone, and a consumer that is: noticed in seconds, named, nothing left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_process import SOON, _gone, _wait

from radload.errors import RadloadError
from radload.loading import Loader, process

SMALL: dict[str, Any] = {"batch_size": 4, "size": 16, "threads": 1, "prefetch": 2}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGBUS])
def test_an_end_by_signal_is_noticed_within_seconds_and_named(ct_data: Path, number: signal.Signals) -> None:
    """Also while the consumer already waits for it."""
    with Loader(ct_data, **SMALL) as loader:
        iterator = iter(loader)
        next(iterator)
        pid = loader.pid
        os.kill(pid, signal.SIGSTOP)  # nothing new comes
        waiter = subprocess.Popen(["sh", "-c", f"sleep 1; kill -{int(number)} {pid}; kill -CONT {pid}"])
        began = time.monotonic()
        with pytest.raises(RadloadError, match=rf"pid {pid}\) was ended by signal {int(number)} \({number.name}\)"):
            for _ in range(10):
                next(iterator)
        assert time.monotonic() - began < SOON
        waiter.wait()


def test_a_stopped_process_is_named_and_ended(ct_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loader(ct_data, **SMALL) as loader:
        iterator = iter(loader)
        next(iterator)
        pid = loader.pid
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr(process, "STALL", 1.0)
        began = time.monotonic()
        with pytest.raises(RadloadError, match=rf"delivered nothing for 1 s: it was stopped.*kill -CONT {pid}"):
            for _ in range(10):
                next(iterator)
        assert time.monotonic() - began < SOON
    assert _wait(lambda: _gone(pid))


def test_a_stopped_process_that_goes_on_is_fine(ct_data: Path) -> None:
    with Loader(ct_data, **SMALL) as loader:
        iterator = iter(loader)
        next(iterator)
        os.kill(loader.pid, signal.SIGSTOP)
        waiter = subprocess.Popen(["sh", "-c", f"sleep 1; kill -CONT {loader.pid}"])
        assert len(list(iterator)) == 6
        waiter.wait()


def test_the_clock_runs_only_while_somebody_waits(ct_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer may take longer over a batch than the process may."""
    with Loader(ct_data, **SMALL) as loader:
        iterator = iter(loader)
        next(iterator)
        monkeypatch.setattr(process, "STALL", 2.0)
        for _ in range(2):
            time.sleep(2.5)
            next(iterator)


def test_a_stopped_process_ends_with_its_killed_parent(ct_data: Path) -> None:
    script = (
        "import sys, time; from radload.loading import Loader\n"
        f"loader = Loader({str(ct_data)!r}, batch_size=4, size=16, threads=1)\n"
        "next(iter(loader)); print(loader.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with contextlib.suppress(ProcessLookupError):
        os.kill(
            pid, signal.SIGCONT
        )  # as the system does for a group that lost its parent, where that had a session to belong to
    gone = _wait(lambda: _gone(pid))
    if not gone:
        os.kill(pid, signal.SIGKILL)
    assert gone
