"""Files that appear whole or not at all: written under a temporary name, fsynced, renamed."""

from __future__ import annotations

import ctypes
import io
import json
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from radload.dataset.addresses import check_local
from radload.errors import RadloadError, UsageError

_ERRNO: Final = re.compile(r"\[errno (\d+)\]", re.IGNORECASE)


@contextmanager
def disk_failures_are_said(what: str) -> Iterator[None]:
    """What the disk refuses while a command reads and writes (index, labels, tables, manifest) is one sentence.

    Args:
        what: the command in a word: "packing". It must go on, or begin anew, where it is called again.
    """
    try:
        yield
    except OSError as error:
        raise RadloadError(
            f"{what} stopped ({disk_failure(error)}): mend that, for instance make room, and run the same command again to go on"
        ) from None


def disk_failure(error: OSError) -> str:
    """The system's own words, without the path that Python adds; Arrow has the number in its text alone."""
    said = _ERRNO.search(str(error))
    number = error.errno or (int(said[1]) if said else None)
    return os.strerror(number).lower() if number else "input/output error"


@contextmanager
def atomic_file(path: Path, mode: int = 0o644, *, name_lasts: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; on success fsync and rename it to `path`, on any failure remove it.

    name_lasts: whether the name survives a power cut from now on; else from the next `sync_folder`, and until then all of the file is
    there or nothing.
    """
    # a process id is one on its machine only, and the folder may be shared by several
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if name_lasts:
        sync_folder(path.parent)


class EarlyWriter:
    """Has the disk begin with what a long file holds so far, so that the fsync at its end waits for the rest alone.

    Nothing waits, and nothing fails here: what the disk refuses is raised by that fsync. Where the system or the file has no such call
    (memory, a pipe), nothing is done.
    """

    _STEP: Final = 1 << 20  # bytes between two calls

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._descriptor: int | None = file.fileno()
        except (OSError, io.UnsupportedOperation):
            self._descriptor = None
        self._begun = 0

    def reached(self, size: int) -> None:
        """`size` bytes of the file have been written."""
        begin = _begin_writing()
        if self._descriptor is None or begin is None or size - self._begun < self._STEP:
            return
        begin(self._descriptor, self._begun, size - self._begun, _SYNC_FILE_RANGE_WRITE)
        self._begun = size


_SYNC_FILE_RANGE_WRITE: Final = 2  # begin with pages that no one has begun with: sync_file_range(2)


@cache
def _begin_writing() -> Any:
    """Linux's sync_file_range, which Python does not have; None elsewhere. Unlike fsync it takes no error away from a later fsync."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


def sync_files(paths: Iterable[Path]) -> None:
    """Make the contents of files survive a power cut. At once: the disk's journal takes them together, as one takes its 4 ms."""

    def sync(path: Path) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sync, paths))


def check_report(option: str, path: Path) -> None:
    """Say before the work of minutes that its report could not be written; what only writing tells is left to it.

    Raises:
        UsageError: `path` is an address or a folder, or its own folder is not there or may not be written to. `option`: as the user
            calls it.
    """
    check_local(option, path)
    folder = path.parent
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder: give a file in it")
    if not folder.is_dir():
        raise UsageError(f"{option} {path} cannot be written: there is no folder {folder}; make it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"{option} {path} cannot be written (permission denied): give a place where you may write")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_file(path, mode) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


_AS_IT_IS: Final = frozenset(
    (str, int, bool, type(None))
)  # most of what there is: a call for each would be a tenth of a verify


def finite(value: Any) -> Any:
    """A value for JSON: numbers in it that are not finite are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: item if type(item) in _AS_IT_IS else finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [item if type(item) in _AS_IT_IS else finite(item) for item in value]
    return value
