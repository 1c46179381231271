"""What a sample costs when it is not in the page cache: bytes that storage gives for it, and how many come per second."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from radload.bench.counters import bytes_read, drop_from_cache
from radload.bench.stages import Draws, Work
from radload.dataset.shards import ShardFiles

AROUND = 1 << 20  # bytes before and after a sample that are dropped too: the kernel reads ahead
MAX_DRAWS = 128
_REAL = 0.5  # share of the asked bytes that storage must have given if the cache was dropped


@dataclass(frozen=True, slots=True)
class Cold:
    """Reading without the page cache: bytes fetched per sample (read-ahead and whole pages included), samples per second, bytes asked."""

    fetched: float
    rate: float
    asked: float


def measure_cold(files: ShardFiles, draws: Draws, work: Work, pool: ThreadPoolExecutor, threads: int) -> Cold | str:
    """Drop the draws from the page cache and read each once, on `threads` threads of `pool`.

    Only ranges around the draws are dropped, and only clean pages: nothing is lost, and other programs' files stay.

    Returns:
        The figures; or, where they cannot be had, why.
    """
    count = min(len(draws), MAX_DRAWS)
    places = [draws.places[i] for i in range(count)]
    asked = sum(len(draws.data[i]) for i in range(count))
    try:
        for place in places:
            record = draws.plan.records[place]
            length = int(record["length"]) + 2 * AROUND
            start = max(int(record["offset"]) - AROUND, 0)
            drop_from_cache(files.root / files.names[int(record["shard"])], start, length)
    except OSError as error:
        return f"the page cache of the shards cannot be dropped ({error.strerror})"
    before, start_time = bytes_read([os.getpid()]), time.perf_counter()

    def turn(thread: int) -> None:
        for i in range(thread, count, threads):
            work(i, thread)

    list(pool.map(turn, range(threads)))
    seconds, after = time.perf_counter() - start_time, bytes_read([os.getpid()])
    if before is None or after is None:
        return "this kernel does not count what a process reads (/proc/self/io)"
    fetched = after.fetched - before.fetched
    if fetched < _REAL * asked:
        return "the shards stay in the page cache (a file system in memory, or pages that another program uses)"
    return Cold(fetched / count, count / seconds, asked / count)
