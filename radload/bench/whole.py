"""The Loader as a whole, in the hands of a consumer that drops every batch at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from radload.bench.counters import Memory, Read, bytes_read, cpu_seconds, memory, wait_until_idle
from radload.bench.options import BenchOptions
from radload.loading import Loader

PREFETCH = 3


@dataclass(frozen=True, slots=True)
class Slot:
    """One turn of the loader: slices per second, seconds, and CPU seconds of its processes and of the consumer's in that time."""

    rate: float
    seconds: float
    loader_cpu: float
    consumer_cpu: float


class WholeLoader:
    """A running Loader. `first_batch` is the time from `Loader(...)` to its first batch in seconds."""

    def __init__(self, options: BenchOptions, threads: int) -> None:
        start = time.perf_counter()
        self._loader = Loader(
            options.shards,
            options.split,
            batch_size=options.batch_size,
            size=options.size,
            window=options.loader_window,
            channels=options.channels,
            augment=options.augment,
            level_slack=options.level_slack,
            labels=False,
            threads=threads,
            prefetch=PREFETCH,
            rank=0,
            world_size=1,
        )
        try:
            self._batches = self._endless()
            next(self._batches)
            self.first_batch = time.perf_counter() - start
            self._pids = self._loader.pids
            self._started = bytes_read(self._pids)
        except BaseException:
            self._loader.close()
            raise
        self._size = options.batch_size

    def _endless(self) -> Iterator[dict[str, Any]]:
        while True:
            yield from self._loader

    def run(self, seconds: float) -> Slot:
        """Take batches for some time, those that were prepared before it apart; then wait until the process is idle again."""
        for _ in range(PREFETCH + 1):
            next(self._batches)
        own = (os.getpid(),)
        start, loader_cpu, consumer_cpu = time.perf_counter(), cpu_seconds(self._pids), cpu_seconds(own)
        count, now = 0, start
        while now - start < seconds or not count:
            next(self._batches)
            count, now = count + 1, time.perf_counter()
        loader_cpu, consumer_cpu = cpu_seconds(self._pids) - loader_cpu, cpu_seconds(own) - consumer_cpu
        wait_until_idle(self._pids)
        return Slot(count * self._size / (now - start), now - start, loader_cpu, consumer_cpu)

    def memory(self) -> Memory:
        """Of the loader's processes, now."""
        return memory(self._pids)

    def read(self) -> Read | None:
        """What the loader's processes have read since its first batch; None where the kernel does not say."""
        now = bytes_read(self._pids)
        if now is None or self._started is None:
            return None
        return Read(now.asked - self._started.asked, now.fetched - self._started.fetched)

    def __enter__(self) -> WholeLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loader.close()
