"""The loader's process: nothing of it is left behind, its end is noticed and named, and it needs neither torch nor its parent."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from radload.errors import FormatError, RadloadError, UsageError
from radload.loading import Loader
from radload.loading.process import LoaderProcess

SOON = 60.0  # seconds: of a busy machine, but far from the 300 s after which a process without answers counts as stuck


def _children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _wait(condition: Callable[[], bool], seconds: float = SOON) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _loader(path: Path) -> Loader:
    return Loader(path, batch_size=4, size=16, threads=1, prefetch=2)


def _process(loader: Loader) -> LoaderProcess:
    assert loader._process is not None
    return loader._process


def test_thirty_cycles_leave_nothing(ct_data: Path) -> None:
    """Opened and closed at once, left in the middle of an epoch, restarted, dropped: no process, descriptor or thread stays."""
    gc.collect()
    before = _children(), _descriptors(), threading.active_count()
    for cycle in range(30):
        loader = _loader(ct_data)
        if cycle % 10 == 0:  # the first batch costs the most
            for _ in range(3):
                for _batch in loader:
                    break
            kept = next(iter(loader))
        if cycle % 2:
            loader.close()
            loader.close()
        del loader
        gc.collect()
    assert kept["image"].abs().sum() > 0, "batches outlive their loader"
    del kept, _batch
    gc.collect()
    children, descriptors, threads = before
    assert _children() <= children and _descriptors() <= descriptors and threading.active_count() <= threads


def test_a_killed_process_is_noticed_and_named(ct_data: Path) -> None:
    loader = _loader(ct_data)
    iterator = iter(loader)
    next(iterator)
    pid = _process(loader).pid
    os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(RadloadError, match=rf"pid {pid}.*SIGKILL"):
        for _ in range(10):
            next(iterator)
    assert time.monotonic() - start < SOON
    assert _wait(lambda: _gone(pid))


def test_interrupts_are_the_parents_business(ct_data: Path) -> None:
    with _loader(ct_data) as loader:
        next(iter(loader))
        process = _process(loader)
        os.kill(process.pid, signal.SIGINT)
        assert os.getpgid(process.pid) != os.getpgid(0), "Ctrl-C in a terminal goes to the parent's group"
        assert len(list(loader)) == 6


def test_it_ends_with_its_parent(ct_data: Path) -> None:
    """Even when the parent is killed and has no chance to say so."""
    script = (
        "import sys, time; from radload.loading import Loader\n"
        f"loader = Loader({str(ct_data)!r}, batch_size=4, size=16, threads=1)\n"
        "next(iter(loader)); print(loader._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not _gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _wait(lambda: _gone(pid))


def test_it_loads_no_torch(ct_data: Path) -> None:
    with _loader(ct_data) as loader:
        next(iter(loader))
        maps = Path(f"/proc/{_process(loader).pid}/maps").read_text()
    assert "numba" in maps or "llvmlite" in maps
    assert "libtorch" not in maps


def test_its_errors_reach_the_consumer(ct_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence of its own, with its own type."""
    original = LoaderProcess.__init__

    def changed(self: LoaderProcess, config, in_flight: int, pinned: bool = False) -> None:  # type: ignore[no-untyped-def]
        original(self, {**config, "fingerprint": "another"}, in_flight, pinned)

    monkeypatch.setattr(LoaderProcess, "__init__", changed)
    loader = _loader(ct_data)
    with pytest.raises(FormatError, match="replaced"):
        next(iter(loader))


def test_a_defect_is_reported_as_one(ct_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = LoaderProcess.__init__

    def changed(self: LoaderProcess, config, in_flight: int, pinned: bool = False) -> None:  # type: ignore[no-untyped-def]
        fields = {**config["fields"], "image": ("<f8", config["fields"]["image"][1])}  # the kernel writes no float64
        original(self, {**config, "fields": fields}, in_flight, pinned)

    monkeypatch.setattr(LoaderProcess, "__init__", changed)
    loader = _loader(ct_data)
    with pytest.raises(RadloadError, match="defect of radload") as caught:
        next(iter(loader))
    assert "Traceback" in "".join(caught.value.__notes__)


def test_a_forked_copy_is_refused_and_harms_nothing(ct_data: Path) -> None:
    with _loader(ct_data) as loader:
        next(iter(loader))
        pid = os.fork()
        if pid == 0:
            try:
                next(iter(loader))
            except UsageError as error:
                os._exit(0 if "forked" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert len(list(loader)) == 6


def test_a_busy_interpreter_does_not_stop_it(ct_data: Path) -> None:
    """The consumer's interpreter lock is not needed for decoding: batches are ready after it was held all the time."""
    with _loader(ct_data) as loader:
        iterator = iter(loader)
        next(iterator)
        process = _process(loader)
        for _ in range(30):  # a machine with other work may need more than one second
            limit = time.monotonic() + 1
            while time.monotonic() < limit:
                sum(range(1000))
            if select.select([process._channel], [], [], 0)[0]:
                break
        assert select.select([process._channel], [], [], 0)[0], "an answer has come meanwhile"
        next(iterator)


def test_closing_with_answers_unread_says_nothing(ct_data: Path) -> None:
    script = (
        "import radload, time\n"
        f"loader = radload.Loader({str(ct_data)!r}, batch_size=2, size=32, prefetch=3)\n"
        "next(iter(loader)); time.sleep(1); loader.close()\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
