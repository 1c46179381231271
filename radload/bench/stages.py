"""The three parts of a sample's way, each alone on all cores: reading (pread and CRC-32C), decoding, the kernel.

Same plan, same functions and as many processes as the loader has; the bytes that decoding takes and the pixels that
the kernel takes lie in memory, so that no stage waits for another.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs.encoded import BytesLike
from radload.dataset.schema import STORED_DTYPES
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.kernels import cpu, prepare
from radload.loading.buffers import Buffers
from radload.loading.decode import SAMPLE_ERRORS, decode_level, level_bytes
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.plan import BatchPlan, Planner

MAX_DRAWS = 512
MAX_BYTES = 256 << 20  # of decoded pixels and of coded bytes that are held
_PIECE = 32
_BEGIN = struct.Struct("<d")  # when they begin
_DONE = struct.Struct("<qdd")  # items, end, CPU seconds

Work = Callable[[int, int], object]  # number of the draw, number of the process


@dataclass(frozen=True, slots=True)
class Rate:
    """Items per second, and CPU seconds per second meanwhile."""

    rate: float
    cores: float


@dataclass(frozen=True, slots=True)
class Draws:
    """A random part of a split, read and decoded.

    Attributes:
        plan: of all that were tried; places: those of its entries that could be read.
        data, pixels: per place; unreadable: how many could not be read.
    """

    plan: BatchPlan
    places: tuple[int, ...]
    data: tuple[BytesLike, ...]
    pixels: tuple[NDArray[Any], ...]
    unreadable: int

    def __len__(self) -> int:
        return len(self.places)

    @property
    def levels(self) -> dict[int, float]:
        """Share of the draws by resolution level."""
        used, counts = np.unique(self.plan.levels[list(self.places)], return_counts=True)
        return {int(level): float(count / counts.sum()) for level, count in zip(used, counts, strict=True)}

    @property
    def asked(self) -> float:
        """Mean bytes that are read per draw."""
        return float(np.mean([len(one) for one in self.data]))

    @property
    def raw(self) -> float:
        """Mean bytes of the stored pixels, uncompressed and in full, per draw."""
        records = self.plan.records[list(self.places)]
        sizes = np.array([np.dtype(code).itemsize for code in STORED_DTYPES])[records["dtype"]]
        pixels = records["rows"].astype(np.int64) * records["cols"] * records["channels"]
        return float((pixels * sizes).mean())


def take_draws(files: ShardFiles, planner: Planner, rows: range, pool: ThreadPoolExecutor) -> Draws:
    """Up to `MAX_DRAWS` samples of a split at random, and no more than `MAX_BYTES` of them.

    Raises:
        UsageError: none of them can be read.
    """
    chosen = np.random.default_rng(0).permutation(len(rows))[:MAX_DRAWS] + rows.start
    plan = plan_draws(planner, chosen.astype(np.int64), 0, np.arange(len(chosen)))

    def read(place: int) -> tuple[BytesLike, NDArray[Any]] | None:
        record, level = plan.records[place], int(plan.levels[place])
        try:
            data = level_bytes(files, record, level)
            return data, decode_level(data, record, level, float(plan.pivot[place]))
        except SAMPLE_ERRORS:
            return None

    places: list[int] = []
    found: list[tuple[BytesLike, NDArray[Any]]] = []
    held = unreadable = 0
    for start in range(0, len(chosen), _PIECE):
        piece = range(start, min(start + _PIECE, len(chosen)))
        for place, one in zip(piece, pool.map(read, piece), strict=True):
            if one is None:
                unreadable += 1
            elif held <= MAX_BYTES:
                places.append(place)
                found.append(one)
                held += len(one[0]) + one[1].nbytes
        if held > MAX_BYTES:
            break
    if not places:
        raise UsageError(
            f"none of {unreadable} samples of the split can be read: restore the shards from a copy, or pack the source again"
        )
    return Draws(plan, tuple(places), tuple(d for d, _ in found), tuple(p for _, p in found), unreadable)


def reading(files: ShardFiles, draws: Draws, threads: int) -> Work:
    """pread and CRC-32C of the bytes that the draws need."""
    plan, buffers = draws.plan, [Buffers() for _ in range(threads)]

    def work(i: int, thread: int) -> object:
        place = draws.places[i]
        return level_bytes(files, plan.records[place], int(plan.levels[place]), buffers[thread])

    return work


def decoding(draws: Draws, threads: int) -> Work:
    """Codestreams in memory to stored values at the draws' levels."""
    plan, buffers = draws.plan, [Buffers() for _ in range(threads)]

    def work(i: int, thread: int) -> object:
        place = draws.places[i]
        record, level = plan.records[place], int(plan.levels[place])
        return decode_level(draws.data[i], record, level, float(plan.pivot[place]), buffers[thread])

    return work


def rendering(draws: Draws, planner: Planner, threads: int, batch_size: int) -> Work:
    """The kernel: decoded pixels in memory to planes of a float32 batch."""
    plan, settings = draws.plan, planner.settings
    norm = prepare.normalisation(settings.recipe.mean, settings.recipe.std)
    samples = cpu.Batch(plan.samples, plan.windows, norm, plan.tables)
    shape = (max(batch_size, threads), settings.recipe.channels, *settings.size)
    # Shared, and from the beginning of a page on, as a ring's: 16 bytes behind it, where NumPy's own begins, the kernel takes longer.
    batch = np.frombuffer(mmap.mmap(-1, 4 * math.prod(shape)), np.float32).reshape(shape)
    turns = len(batch) // threads
    scratch = [cpu.Scratch() for _ in range(threads)]

    def work(i: int, thread: int) -> object:
        place = draws.places[i]
        at = thread * turns + i % turns  # every thread has its own part of the batch
        samples.render(place, draws.pixels[i : i + 1], batch[at : at + 1], scratch[thread], streamed=True)
        return batch[at]

    return work


def rate(work: Work, items: int, processes: int, seconds: float) -> Rate:
    """How fast it goes when `processes` forks of this one go through them again and again for some time, each at least one.

    As the loader does: threads that wait for one interpreter would be slower than it is.
    """
    work(0, 0)  # loads compiled code here, once, and not in every fork
    (ready, is_ready), (go, starts) = os.pipe(), os.pipe()
    pipes, pids = [os.pipe() for _ in range(processes)], []
    for number, (_, end) in enumerate(pipes):
        pid = os.fork()
        if pid == 0:
            try:
                os.write(is_ready, b"\0")
                (begin,) = _BEGIN.unpack(os.read(go, _BEGIN.size))
                os.write(end, _DONE.pack(*_turn(work, items, processes, number, begin, seconds)))
            except BaseException:  # noqa: BLE001 - a forked process: nobody else would say it
                traceback.print_exc()
            finally:
                os._exit(0)
        pids.append(pid)
    for _ in pids:
        os.read(ready, 1)  # to fork a large process takes a while
    begin = time.perf_counter()
    os.write(starts, _BEGIN.pack(begin) * processes)
    found = []
    for pid, (begun, end) in zip(pids, pipes, strict=True):
        os.close(end)
        said = os.read(begun, _DONE.size)
        os.close(begun)
        os.waitpid(pid, 0)
        if said:
            found.append(_DONE.unpack(said))
    for descriptor in (ready, is_ready, go, starts):
        os.close(descriptor)
    if len(found) < processes:
        raise RuntimeError("a process that measures has failed; its traceback stands above")
    wall = max(ended for _, ended, _ in found) - begin
    return Rate(sum(done for done, _, _ in found) / wall, sum(used for _, _, used in found) / wall)


def _turn(work: Work, items: int, step: int, number: int, begin: float, seconds: float) -> tuple[int, float, float]:
    """What one process does: items, when it ended, CPU seconds."""
    used = time.process_time()
    done, item = 0, number
    while True:
        work(item % items, number)
        done, item, now = done + 1, item + step, time.perf_counter()
        if now - begin >= seconds:
            return done, now, time.process_time() - used
