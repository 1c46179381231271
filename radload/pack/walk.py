"""The walk of the source folder. A file system that does not answer ends it: nothing interrupts a system call on a stalled mount, so the
calls are made by a thread of their own, which is given up.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Final, TypeAlias

from radload.errors import RadloadError
from radload.pack.scan import InputFile
from radload.pack.worker import Limits

_BATCH: Final = 512  # files handed over at once: a thread that is waited for costs 50 µs
_AHEAD: Final = 4  # batches that wait
_TICK: Final = 0.25  # seconds between looks at a walk that is silent
_AWAKE: Final = (
    1.0  # of a longer time between looks only this counts: this process was stopped, and not the file system
)

_Item: TypeAlias = list[InputFile] | BaseException | None  # files, what went wrong, the end


def walk(root: Path, timeout: float | None = None) -> Iterator[InputFile]:
    """All regular files below `root`, in order of their names' bytes; links are followed, each folder is entered once.

    One folder's names are held at a time. What cannot be read is listed with size 0: a scan refuses it by name.

    Args:
        timeout: seconds for the answer to one call, the value of --timeout; None: its default, for what has no such option.

    Raises:
        RadloadError: no answer within that time.
    """
    walker = _Walker(timeout)
    walker.start(lambda: walker.hand_over(walker.below(os.fspath(root), "")))
    try:
        while (files := walker.next(root)) is not None:
            yield from files
    finally:
        walker.give_up()


def resolved(folder: Path, timeout: float | None = None) -> Path:
    """`folder`, absolute and without links, where its file system answers; arguments and errors as of `walk`."""
    walker, found = _Walker(timeout), [folder]

    def look() -> None:
        found[0] = folder.resolve()
        found[0].exists()

    walker.start(look)
    walker.next(folder)
    return found[0]


class _Walker:
    """A thread at a file system, and the clock that runs while it waits for an answer."""

    def __init__(self, timeout: float | None) -> None:
        self._remedy = "" if timeout is None else ", or give a longer --timeout"
        self._timeout = Limits().timeout if timeout is None else timeout
        self._answers = 0  # of the file system, so far
        self._listed = 0  # files that were handed over
        self._items: Queue[_Item] = Queue(_AHEAD)
        self._given_up = False
        self._seen: set[tuple[int, int]] = set()

    def start(self, work: Callable[[], None]) -> None:
        """Begin `work`; what it raises is raised by `next`."""

        def run() -> None:
            item: _Item = None
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised where the files are wanted
                item = error
            self._items.put(item)

        threading.Thread(target=run, daemon=True, name="radload walk").start()

    def next(self, root: Path) -> list[InputFile] | None:
        """The next files, None at the end; `root`: for the error's sentence, which names no folder below it."""
        silent, seen, last = 0.0, self._answers, time.monotonic()
        while True:
            try:
                item = self._items.get(timeout=min(_TICK, self._timeout))
            except Empty:
                passed, last = min(time.monotonic() - last, _AWAKE), time.monotonic()
                silent = silent + passed if self._answers == seen else 0.0
                seen = self._answers
                if silent > self._timeout:
                    self.give_up()
                    raise RadloadError(
                        f"{root} does not answer: {self._timeout:g} seconds without one, {self._listed:,} files were listed before; see "
                        f"to its file system and run the same command again{self._remedy}"
                    ) from None
                continue
            if isinstance(item, BaseException):
                raise item
            self._listed += len(item or ())
            return item

    def give_up(self) -> None:
        """Let the thread end where it can: at its next files, or never."""
        self._given_up = True
        while not self._items.empty():  # it may wait for room
            self._items.get()

    def hand_over(self, files: Iterator[InputFile]) -> None:
        """Put `files` where `next` finds them."""
        batch: list[InputFile] = []
        for file in files:
            batch.append(file)
            if len(batch) == _BATCH:
                self._items.put(batch)
                batch = []
                if self._given_up:
                    return
        self._items.put(batch)

    def below(self, folder: str, prefix: str) -> Iterator[InputFile]:
        """The files of a folder; prefix: what stands before their names, with a slash."""
        try:
            status = Path(folder).stat()
            self._answers += 1
            if (status.st_dev, status.st_ino) in self._seen:
                return
            self._seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = sorted(map(self._sort_key, entries))
        except OSError:
            yield InputFile(prefix.rstrip("/") or ".", 0, 0)
            return
        for _, name in names:
            source, path = prefix + name, f"{folder}/{name}"
            try:
                status = os.stat(path)  # noqa: PTH116 - a Path object per file doubles the cost of a walk
            except OSError:  # of a broken link there is nothing but its name
                self._answers += 1
                yield InputFile(source, 0, 0)
                continue
            self._answers += 1
            if stat.S_ISDIR(status.st_mode):
                yield from self.below(path, source + "/")
            elif stat.S_ISREG(status.st_mode):
                yield InputFile(source, status.st_size, status.st_mtime_ns)

    def _sort_key(self, entry: os.DirEntry[str]) -> tuple[bytes, str]:
        """A folder sorts as its files do: with the slash that follows its name."""
        self._answers += 1
        try:
            folder = entry.is_dir()
        except OSError:
            folder = False
        return os.fsencode(entry.name) + (b"/" if folder else b""), entry.name
