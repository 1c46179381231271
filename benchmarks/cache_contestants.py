"""Loaders that keep decoded slices, each in a process tree of its own, so that its memory can be told from that of the others."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from interleave import taking
from peer_files import PeerFiles
from peer_loaders import CENTRE, READ_AHEAD, WIDTH, Batches, monai_cache_loader

from radload.bench.counters import descendants

BATCH, SIZE, PREFETCH = 50, 224, 3
ANSWER = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Ours:
    """A Loader on `shards`: one window that jitters, half of the slices mirrored; `cache` as the argument of that name."""

    shards: Path
    cache: Path | bool
    threads: int


@dataclass(frozen=True, slots=True)
class Monai:
    """MONAI's CacheDataset on DICOM files, with so many workers."""

    files: PeerFiles
    workers: int


def proportional_memory(pid: int) -> int:
    """Bytes of a process and all its descendants: pages that several share count once (PSS of proc(5))."""
    total = 0
    for one in (pid, *descendants(pid)):
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total


class Remote:
    """A contestant in another process; it is full when the constructor returns."""

    def __init__(self, what: Ours | Monai) -> None:
        context = multiprocessing.get_context("spawn")
        self._channel, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(what, theirs))
        self._process.start()
        theirs.close()
        self._answer()

    def turn(self, seconds: float) -> float:
        """Slices per second of so many seconds."""
        self._channel.send(seconds)
        return float(self._answer())

    def memory(self) -> int:
        """Bytes of all its processes and of its cache folder, where that is in memory."""
        self._channel.send(None)
        return int(self._answer())

    def _answer(self) -> Any:
        if not self._channel.poll(ANSWER):
            raise TimeoutError(f"a contestant said nothing for {ANSWER:.0f} s")
        return self._channel.recv()  # EOFError where it has failed; its traceback stands in the log

    def close(self) -> None:
        self._channel.close()
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()


def _serve(what: Ours | Monai, channel: Connection) -> None:
    if isinstance(what, Monai):
        multiprocessing.set_start_method("fork", force=True)  # DataLoader's default; a spawned process would spawn too
        batches = monai_cache_loader(what.files, SIZE, BATCH, what.workers)
        turn = taking(batches, BATCH, READ_AHEAD * what.workers, what.workers)
        _answer(channel, turn, batches, lambda: 0, len(what.files.dicom) // BATCH)
        return
    from radload.loading import Augment, Loader

    with Loader(
        what.shards, batch_size=BATCH, size=SIZE, threads=what.threads, prefetch=PREFETCH,
        window=(CENTRE, WIDTH), channels=1, cache=what.cache or None, cache_bytes="2GB" if what.cache else None,
        augment=Augment(area=(1, 1), ratio=(1, 1), flip=True),
    ) as loader:  # fmt: skip

        def endless() -> Iterator[Any]:
            while True:
                for batch in loader:
                    yield batch["image"], batch["index"]
                # The first draws of the second epoch may be on their way before the last ones of the first have been kept.
                if what.cache and loader.epoch > 2 and hits[-1] != len(loader) * BATCH:
                    raise RuntimeError(f"{hits[-1]} of {len(loader) * BATCH} slices came from the cache")

        def counted() -> Batches:
            for batch in endless():
                hits.append(loader.cache_hits)
                yield batch

        hits: list[int] = []
        batches = counted()
        folder = what.cache if isinstance(what.cache, Path) else None
        _answer(
            channel, taking(batches, BATCH, PREFETCH + 1), batches,
            lambda: sum(path.stat().st_blocks * 512 for path in folder.iterdir()) if folder else 0, len(loader),
        )  # fmt: skip


def _answer(
    channel: Connection, turn: Callable[[float], float], batches: Batches, beside: Callable[[], int], epoch: int
) -> None:
    """Go through one epoch, say so, then answer: seconds -> slices per second; None -> bytes."""
    for _ in islice(batches, epoch):
        pass
    channel.send(True)
    while True:
        try:
            asked = channel.recv()
        except EOFError:
            return
        channel.send(turn(asked) if asked is not None else proportional_memory(os.getpid()) + beside())
