"""`Loader(cache=, cache_bytes=)`: what they may be, how much that is, and the sentence for those that cannot be used."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path

from radload.dataset.index import Index
from radload.dataset.manifest import Manifest
from radload.errors import UsageError
from radload.loading.cache.arena import LEAST, FileCache
from radload.loading.cache.levels import CacheConfig, identity

_DEFAULT = 8_000_000_000  # bytes
_UNITS = {"": 1} | {f"{prefix}B": 1000**i for i, prefix in enumerate(("", "k", "M", "G", "T"))}
_UNITS |= {f"{prefix}iB": 1024**i for i, prefix in enumerate(("", "K", "M", "G", "T")) if i}


def cache_config(
    cache: str | PathLike[str] | bool | None, cache_bytes: int | str | None, manifest: Manifest, index: Index
) -> CacheConfig | None:
    """What the loader process is told; a folder is tried out.

    `cache_bytes` is meant per machine: a private cache gets its share by the ranks of this machine.

    Raises:
        UsageError: a size that is none, or a folder that cannot be used.
    """
    size = None if cache_bytes is None else parse_bytes(cache_bytes)
    if cache is None or cache is False:
        if size is not None:
            raise UsageError(
                "cache_bytes goes with cache: give cache=FOLDER, or cache=True for this process's own memory, too"
            )
        return None
    if cache is True:
        ranks = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        limit = size if size is not None else min(_DEFAULT, free_memory() // 2)
        return {"folder": None, "limit": limit // ranks, "identity": ""}
    folder = Path(cache).absolute()
    try:
        limit = size if size is not None else max(LEAST, min(_DEFAULT, _room(folder) // 2))
    except OSError as error:
        raise UsageError(
            f"the cache folder {folder} cannot be used ({error.strerror}): give a folder on a local disk, or in /dev/shm"
        ) from None
    whose = identity(manifest, index.folder)
    # Tried here, so that the caller of `Loader` hears of what is wrong; the loader process opens it again.
    FileCache(folder, bytes.fromhex(whose), limit, warn=lambda _: None).close()
    return {"folder": str(folder), "limit": limit, "identity": whose}


def parse_bytes(size: int | str, name: str = "cache_bytes") -> int:
    """Bytes of a number or of a text such as "8GB" (10**9 each), "512 MiB" (2**20 each).

    Raises:
        UsageError: it is no size, or below 1 MiB.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    factor = _UNITS.get(found[2]) if found is not None and not isinstance(size, bool) else None
    if found is None or factor is None:
        raise UsageError(f"{name}={size!r} is no size: give bytes, or a text such as '8GB' or '512MiB'")
    number = int(float(found[1]) * factor)
    if number < LEAST:
        raise UsageError(f"{name}={size!r} is too small to be of use: give 1 MiB or more")
    return number


def free_memory() -> int:
    """Bytes that may still be taken: of the machine, and of this process's control group where that has a limit."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) << 10
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no such limit ("max"), or no control group of version 2
        return free
    return max(0, min(free, limit - used))


def _room(folder: Path) -> int:
    """Free bytes where a folder is or will be."""
    while not folder.exists():
        folder = folder.parent
    system = os.statvfs(folder)
    free = system.f_bavail * system.f_frsize
    return min(free, free_memory()) if _is_memory(folder) else free


def _is_memory(folder: Path) -> bool:
    """Whether files there are in memory (tmpfs)."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")  # proc(5)
        if mount.split()[2] == number:
            return kind.split()[0] in ("tmpfs", "ramfs")
    return False
