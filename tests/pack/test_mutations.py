"""Damaged files cost themselves and nothing else: no crash, no hang, no memory beyond the limit, and each is accounted for."""

from __future__ import annotations

import io
import multiprocessing
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pyarrow.parquet as pq
import pydicom
import pytest
from mutate import MARKER, Seed, load_seeds, write_damaged
from rich.console import Console

from radload.pack import PackOptions, pack
from radload.pack.codes import INTERNAL_ERROR, PACK_CODES, WORKER_DIED
from radload.pack.executor import Died, run_jobs
from radload.pack.workspace import REJECTS
from radload.sources import CODES, NotAnImage, Refused, Slice, read, scan

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
FILE_SECONDS = 20.0
MEMORY = 2 << 30


@dataclass
class Found:
    """What became of the cases so far."""

    files: int = 0
    packed: int = 0
    ignored: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    slowest: tuple[float, str] = (0.0, "")  # seconds, case
    largest: tuple[int, str] = (0, "")  # bytes resident while one file was read, case
    seconds: float = 0.0


@dataclass(frozen=True)
class Probe:
    """One file read outside of the packer: its code ("" where slices came), reason, seconds, and bytes resident at most."""

    code: str
    reason: str
    seconds: float
    peak: int


def probe(path: Path) -> Probe:
    """Read all of a file in a worker process, which SIGALRM ends, whatever decoder is at work, when FILE_SECONDS are over."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, FILE_SECONDS)
    Path("/proc/self/clear_refs").write_text("5")  # start the peak anew (proc(5))
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


def run_batch(folder: Path, seeds: list[Seed], numbers: range, found: Found) -> None:
    """Write the cases below `folder`, read each alone, pack them all, and hold both against the promises."""
    paths = write_damaged(folder / "src", seeds, numbers)
    started = time.monotonic()
    wrong: list[str] = []
    for position, one in run_jobs(probe, paths, 2):
        if isinstance(one, Died):
            wrong.append(f"{paths[position].name}: the worker crashed, or read it for more than {FILE_SECONDS:.0f} s")
            continue
        if one.code not in ("", "ignored", *CODES) or MARKER in one.reason or one.peak > MEMORY:
            wrong.append(f"{paths[position].name}: {one}")
        found.slowest = max(found.slowest, (one.seconds, paths[position].name))
        found.largest = max(found.largest, (one.peak, paths[position].name))
    assert not wrong, "\n".join(wrong)
    said = io.StringIO()
    with memory_watch() as peak, time_limit(60 + FILE_SECONDS * len(paths) / 20):
        options = PackOptions(folder / "src", folder / "out", split="100/0/0", workers=2)
        summary = pack(options, Console(file=said, force_terminal=True))
    rejected = Counter(summary.rejected)
    assert summary.packed + rejected.total() + summary.ignored == len(paths)
    assert set(rejected) <= {*CODES, *PACK_CODES}
    assert INTERNAL_ERROR not in rejected and WORKER_DIED not in rejected, rejected
    assert MARKER not in said.getvalue() and "Traceback" not in said.getvalue()
    rejects = pq.read_table(folder / "out.private" / REJECTS)
    assert not [reason for reason in rejects["reason"].to_pylist() if MARKER in reason]
    assert peak[0] < MEMORY
    found.files += len(paths)
    found.packed, found.ignored = found.packed + summary.packed, found.ignored + summary.ignored
    found.codes += rejected
    found.peak, found.seconds = max(found.peak, peak[0], found.largest[0]), found.seconds + time.monotonic() - started


def test_a_few_hundred_damaged_files(tmp_path: Path) -> None:
    seeds = load_seeds([GOLDEN, PYDICOM], 48 << 10)
    assert len(seeds) > 60
    found = Found()
    run_batch(tmp_path, seeds, range(300), found)
    assert found.packed > 30 and found.codes.total() > 60  # both ends of the scale were met


@pytest.mark.soak
def test_twenty_thousand_damaged_files(tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = load_seeds([GOLDEN, PYDICOM, shared_data], 400 << 10)
    found = Found()
    for batch in range(40):
        folder = tmp_path / str(batch)
        run_batch(folder, seeds, range(batch * 500, batch * 500 + 500), found)
        shutil.rmtree(folder)
    with capsys.disabled():
        print(
            f"\n{len(seeds)} seed files, {found.files:,} damaged files in {found.seconds:.0f} s: packed {found.packed:,},"
        )
        print(f"ignored {found.ignored:,}, rejected {found.codes.total():,} ({dict(found.codes.most_common())}),")
        print(f"largest worker {found.peak >> 20} MiB, slowest file {found.slowest[0]:.2f} s")
    assert found.files >= 20_000
