"""Eyes on worker processes: what one file costs in time and memory, what workers hold at most, and an end to what has none."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from radload.pack.codes import INTERNAL_ERROR
from radload.pack.executor import Beat
from radload.sources import NotAnImage, Refused, Slice, read, scan

FILE_SECONDS = 20.0
MEMORY = 2 << 30  # bytes that a worker may hold


@dataclass(frozen=True)
class Probe:
    """One file read outside of the packer: its code ("" where slices came), reason, seconds, and bytes resident at most."""

    code: str
    reason: str
    seconds: float
    peak: int


def probe(path: Path, beat: Beat) -> Probe:
    """Read all of a file in a worker process, which SIGALRM ends, whatever decoder is at work, when FILE_SECONDS are over."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, FILE_SECONDS)
    Path("/proc/self/clear_refs").write_text("5")  # start the peak anew (proc(5))
    beat(0, 0)
    started, code, reason = time.perf_counter(), "", ""
    try:
        header = scan(path, path.name)
        for item in read(path, header):
            if not isinstance(item, Slice):
                code, reason = item[1].code, item[1].reason
    except NotAnImage:
        code = "ignored"
    except Refused as refused:
        code, reason = refused.code, refused.reason
    except Exception as error:  # noqa: BLE001 - the case must be named, whatever escapes the readers
        code, reason = INTERNAL_ERROR, f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - started
    signal.setitimer(signal.ITIMER_REAL, 0)
    return Probe(code, reason, seconds, peak_of("self"))


def peak_of(process: str | int) -> int:
    """Bytes resident at most, 0 where the process is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def descendants() -> list[int]:
    """The processes below this one: the fork server and its workers."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found: list[int] = []
    waiting = [multiprocessing.current_process().pid or 0]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


@contextmanager
def memory_watch() -> Iterator[list[int]]:
    """A list whose entry is the largest peak of any worker while the block runs."""
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            peak[0] = max([peak[0], *map(peak_of, descendants())])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError in this thread when the time is over."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no end after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
