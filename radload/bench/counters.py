"""What the kernel counts for processes (proc(5)): CPU time, memory, bytes read; and dropping files from the page cache."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK = 0.04  # seconds between looks at CPU time, which is counted in ticks of 0.01


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes: `own` (anonymous), `files` (mapped, shared with the page cache), `shared` (the ring of batches)."""

    own: int
    files: int
    shared: int


@dataclass(frozen=True, slots=True)
class Read:
    """Bytes that a process asked its files for, and that storage gave: the rest came out of the page cache."""

    asked: int
    fetched: int


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes, all their threads together; those that are gone count nothing."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def descendants(pid: int) -> list[int]:
    """The processes that `pid` started, and that those started; without `pid`."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:  # it has ended
                continue
            children.setdefault(parent, []).append(int(folder.name))
    found, new = [], [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, ())]
        found += new
    return found


def wait_until_idle(pids: Iterable[int], limit: float = 3.0) -> bool:
    """Wait until processes use no more CPU time, because what they prepare ahead would disturb the next measurement."""
    pids = list(pids)
    end = time.monotonic() + limit
    before = cpu_seconds(pids)
    while time.monotonic() < end:
        time.sleep(_LOOK)
        now = cpu_seconds(pids)
        if now == before:
            return True
        before = now
    return False


def memory(pids: Iterable[int]) -> Memory:
    """Resident memory of processes; pages that several share are divided among them (PSS), so the sum counts them once."""
    names = {"Pss_Anon": 0, "Pss_File": 0, "Pss_Shmem": 0}
    for pid in pids:
        with suppress(OSError):  # it has ended
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in names:
                    names[name] += int(value.split()[0]) * 1024
    return Memory(*names.values())


def bytes_read(pids: Iterable[int]) -> Read | None:
    """What processes have read so far, together; None where the kernel does not say (no /proc/PID/io, or of another user)."""
    asked = fetched = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/io").read_text().splitlines()
        except OSError:
            return None
        found = dict(line.split(": ") for line in lines)
        asked, fetched = asked + int(found["rchar"]), fetched + int(found["read_bytes"])
    return Read(asked, fetched)


def drop_from_cache(path: Path, start: int, length: int) -> None:
    """Ask the kernel to forget its clean pages of a range of bytes; it may refuse in silence (tmpfs, pages in use)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(descriptor, max(start, 0), length, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
