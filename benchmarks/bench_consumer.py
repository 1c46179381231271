"""What a running loader and a busy trainer cost each other: `pytest benchmarks/bench_consumer.py`, two cores at least.

The trainer's process is pinned to one core and the loader's, with one thread, to another. Two cores of one machine still share caches,
memory and, with SMT, execution units. What that takes is measured by a stranger: a process that does the loader's work on
the loader's core, and talks to nobody. "less the shared core" is the figure beside the stranger; the rest is the loader's doing.
All take turns.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from radload.bench.counters import descendants, wait_until_idle
from radload.loading import Loader

pytestmark = [
    pytest.mark.benchmark(group="consumer"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs a core for the trainer and one for the loader"),
]
TRAINER, LOADING = (sorted(os.sched_getaffinity(0)) * 2)[:2]  # cores
BATCH, ROUNDS, SECONDS, PREFETCH = 50, 9, 1.0, 3
WARM, SETTLE = 0.5, 0.2  # seconds before a turn
OPTIONS: dict[str, Any] = {"batch_size": BATCH, "window": (40, 400), "channels": 1, "threads": 1, "prefetch": PREFETCH}
KEYS = [f"key{number}" for number in range(60)]

STRANGER = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[2])})
from radload.loading import Loader
with Loader(sys.argv[1], batch_size=50, window=(40, 400), channels=1, threads=1) as loader:
    said = False
    while True:
        for batch in loader:
            os.write(1, b"ready\\n") if not said else None
            said = True
"""

Turn = Callable[[], dict[str, float]]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread, and what it starts, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Stranger:
    """A loader of another program on the loader's core, which runs while the context is entered.

    It is stopped and continued, not started for each turn: what comes just after a busy start would find the machine in another state.
    """

    def __init__(self, shards: Path) -> None:
        command = [sys.executable, "-c", STRANGER, str(shards), str(LOADING)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"
        self._pids = [self._process.pid, *descendants(self._process.pid)]
        self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        for pid in self._pids:
            os.kill(pid, number)

    def __enter__(self) -> None:
        self._signal(signal.SIGCONT)
        time.sleep(SETTLE)

    def __exit__(self, *exception: object) -> None:
        self._signal(signal.SIGSTOP)

    def close(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()


def endless(loader: Loader) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


class Mean:
    """A running mean, as training loops keep them."""

    def __init__(self) -> None:
        self.count, self.sum = 0, 0.0

    def add(self, value: float) -> float:
        self.count += 1
        self.sum += value
        return self.sum / self.count


def unit() -> int:
    """Some 50 us of what a trainer's main thread does in Python: objects, dicts, sorting, text, JSON, sums.

    A mixture, because one small loop will not do: `total += i * i & 7` alone runs 10 % slower, for good, after any Python that
    moves the free places of the interpreter's heap (a json.dumps does it, with no loader about), and would measure that.
    """
    mean, seen = Mean(), dict[str, float]()
    for number, key in enumerate(KEYS):
        seen[key] = mean.add(number * 1.5) + len(key)
    rows = sorted(seen.items(), key=lambda row: -row[1])
    line = ", ".join(f"{key} {value:.2f}" for key, value in rows[:20])
    kept = json.loads(json.dumps({"line": line, "squares": [i * i for i in range(200)]}))
    return len(kept["line"]) + sum(i * i & 7 for i in range(300))


def python_work(seconds: float) -> int:
    """Pure Python for a while; returns the units that were done."""
    end, units = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        unit()
        units += 1
    return units


def take_turns(turns: dict[str, Turn], rest: Callable[[], object]) -> dict[str, dict[str, float]]:
    """Medians of what each turn returns, over rounds back and forth."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
    for number in range(ROUNDS):
        for name in list(turns)[:: -1 if number % 2 else 1]:
            rest()
            python_work(WARM)  # after idling a core runs at another speed for a while
            found[name].append(turns[name]())
    return {name: {key: median(one[key] for one in all_) for key in all_[0]} for name, all_ in found.items()}


@pytest.mark.parametrize("where", ["same thread", "other thread"])
def test_busy_main_thread(benchmark: BenchmarkFixture, ct_shards: Path, where: str) -> None:
    """Batches are taken between pieces of pure Python, or by another thread beside it: the loader keeps 0.8 of its rate.

    Python keeps 0.95 of the speed that it has beside a stranger.
    """
    with on_core(LOADING):
        loader = Loader(ct_shards, **OPTIONS)
        batches = endless(loader)
        next(batches)

    def skip_ready() -> None:
        for _ in range(PREFETCH + 1):
            next(batches)

    def idle() -> dict[str, float]:
        skip_ready()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            next(batches)
            count += BATCH
        return {"slices": count / (time.perf_counter() - start)}

    def alone() -> dict[str, float]:
        return {"units": python_work(SECONDS) / SECONDS}

    def beside_stranger() -> dict[str, float]:
        with other:
            return alone()

    def between(pause: float) -> dict[str, float]:
        skip_ready()
        start, count, units, worked = time.perf_counter(), 0, 0, 0.0
        while time.perf_counter() - start < SECONDS:
            next(batches)
            count += BATCH
            begun = time.perf_counter()
            units += python_work(pause)
            worked += time.perf_counter() - begun
        return {"slices": count / (time.perf_counter() - start), "units": units / worked}

    def beside() -> dict[str, float]:
        skip_ready()
        count, done = [0], threading.Event()

        def take() -> None:
            while not done.is_set():
                next(batches)
                count[0] += BATCH

        taker = threading.Thread(target=take)
        start = time.perf_counter()
        taker.start()
        units, used = python_work(SECONDS), time.perf_counter() - start
        done.set()
        found = {"slices": count[0] / used, "units": units / used}
        taker.join()
        return found

    with loader, closing(Stranger(ct_shards)) as other, on_core(TRAINER):
        rate = idle()["slices"]
        both: Turn = beside if where == "other thread" else lambda: between(0.9 * BATCH / rate)
        turns = {"idle": idle, "alone": alone, "stranger": beside_stranger, "both": both}
        found: list[dict[str, dict[str, float]]] = []
        benchmark.pedantic(  # type: ignore[no-untyped-call]
            lambda: found.append(take_turns(turns, lambda: wait_until_idle(loader.pids))), rounds=1
        )
    one = found[0]
    kept = one["both"]["slices"] / one["idle"]["slices"]
    shared = one["stranger"]["units"] / one["alone"]["units"]
    speed = one["both"]["units"] / one["stranger"]["units"]
    benchmark.extra_info["slices/s"] = round(one["both"]["slices"])
    benchmark.extra_info["of the idle rate"] = round(kept, 3)
    benchmark.extra_info["Python, of its speed beside a stranger"] = round(speed, 3)
    benchmark.extra_info["a stranger leaves"] = round(shared, 3)
    benchmark.extra_info["of its speed alone"] = round(one["both"]["units"] / one["alone"]["units"], 3)
    assert kept >= 0.8 and speed >= 0.95


def test_discarded_batches(benchmark: BenchmarkFixture, ct_shards: Path) -> None:
    """A small network trains on batches in memory, alone and while the loader's batches are taken and dropped: 0.97 of its steps."""
    with on_core(LOADING):
        loader = Loader(ct_shards, **OPTIONS)
        batches = endless(loader)
        kept = [{name: torch.clone(value) for name, value in next(batches).items()} for _ in range(4)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 7, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), 0.01)

    def step(number: int) -> None:
        batch = kept[number % len(kept)]
        loss = torch.nn.functional.cross_entropy(network(batch["image"]), batch["index"] % 10)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def train(taking: bool) -> dict[str, float]:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            if taking:
                next(batches)
            step(count)
            count += 1
        return {"slices": count * BATCH / (time.perf_counter() - start)}

    def beside_stranger() -> dict[str, float]:
        with other:
            return train(False)

    with loader, closing(Stranger(ct_shards)) as other, on_core(TRAINER):
        train(False)
        turns: dict[str, Turn] = {
            "alone": lambda: train(False),
            "stranger": beside_stranger,
            "both": lambda: train(True),
        }
        found: list[dict[str, dict[str, float]]] = []
        try:
            benchmark.pedantic(  # type: ignore[no-untyped-call]
                lambda: found.append(take_turns(turns, lambda: wait_until_idle(loader.pids))), rounds=1
            )
        finally:
            torch.set_num_threads(threads)
    one = found[0]
    benchmark.extra_info["slices/s"] = round(one["both"]["slices"])
    benchmark.extra_info["of replayed batches alone"] = round(one["both"]["slices"] / one["alone"]["slices"], 3)
    benchmark.extra_info["of those beside a stranger"] = round(one["both"]["slices"] / one["stranger"]["slices"], 3)
    benchmark.extra_info["a stranger leaves"] = round(one["stranger"]["slices"] / one["alone"]["slices"], 3)
    assert one["both"]["slices"] >= 0.97 * one["stranger"]["slices"]
