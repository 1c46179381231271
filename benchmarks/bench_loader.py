"""What a loader delivers: shuffled batches of 50 at 224 x 224 from 600 slices of 512 x 512, in slices per second.

`pytest benchmarks/bench_loader.py`. Page cache warm, all cores. Beside it: the decoder alone, which is
the ceiling, and the same work through DALI (see dali_pipeline.py). Figures of two AMD EPYC cores: docs/decisions.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from radload.bench.counters import cpu_seconds, memory
from radload.codecs import htj2k
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.loading import Loader
from radload.loading.planning.plan import Settings
from radload.loading.planning.recipe import make_recipe

BATCH, BATCHES, ROUNDS = 50, 8, 5
CORES = len(os.sched_getaffinity(0))
ONE: dict[str, Any] = {"window": (40, 400), "channels": 1}
THREE: dict[str, Any] = {}
FULL: dict[str, Any] = {"resolution": "full"}

pytestmark = pytest.mark.benchmark(group="loader")


def _measure(
    benchmark: BenchmarkFixture,
    step: Callable[[], object],
    slices: int,
    rounds: int = ROUNDS,
    workers: Sequence[int] = (),
) -> None:
    """Slices per second, and per second of CPU time, which other programs on the machine disturb less."""
    pids, used = [os.getpid(), *workers], []

    def counted() -> None:
        start = cpu_seconds(pids)
        step()
        used.append(cpu_seconds(pids) - start)

    benchmark.pedantic(counted, rounds=rounds, warmup_rounds=1)
    if benchmark.stats is not None:
        benchmark.extra_info["slices/s"] = round(slices / benchmark.stats.stats.median)
        benchmark.extra_info["slices/CPU s"] = round(slices * len(used) / max(sum(used), 0.01))


def _endless(loader: Loader) -> Iterator[Any]:
    while True:
        yield from loader


def _take(batches: Iterator[Any]) -> None:
    for _ in range(BATCHES):
        next(batches)


@pytest.mark.parametrize("windows", [ONE, THREE], ids=["one", "three"])
@pytest.mark.parametrize("kind", ["half", "full", "raw"])
def test_loader(
    benchmark: BenchmarkFixture, ct_shards: Path, raw_shards: Path, kind: str, windows: dict[str, Any]
) -> None:
    """Half level (the default at 224), all levels, and the raw codec; one window or three."""
    options = windows | (FULL if kind == "full" else {})
    with Loader(raw_shards if kind == "raw" else ct_shards, batch_size=BATCH, **options) as loader:
        batches = _endless(loader)
        for _ in range(4):  # the process has started, and the ring has its memory
            batch = next(batches)
        assert batch["image"].shape == (BATCH, len(loader.recipe.mean), 224, 224)
        _measure(benchmark, lambda: _take(batches), BATCH * BATCHES, workers=loader.pids)


@pytest.mark.parametrize("augmented", [False, True], ids=["whole", "crops"])
def test_training(benchmark: BenchmarkFixture, ct_shards: Path, augmented: bool) -> None:
    """Three windows in bfloat16, as a training run takes them; random crops allow the half level for few draws."""
    augment = "default" if augmented else None
    with Loader(ct_shards, batch_size=BATCH, augment=augment, dtype="bfloat16") as loader:
        batches = _endless(loader)
        for _ in range(4):
            next(batches)
        _measure(benchmark, lambda: _take(batches), BATCH * BATCHES, workers=loader.pids)


@pytest.mark.parametrize("level", [0, 1])
def test_decoder_alone(benchmark: BenchmarkFixture, ct_shards: Path, level: int) -> None:
    """OpenJPH on all cores, bytes in memory and checked: what no loader of this format can exceed."""
    index = open_index(ct_shards, read_manifest(ct_shards))
    with ShardFiles(ct_shards, index.shard_names) as files:
        data = [files.read(record, level) for record in index.records[: BATCH * BATCHES]]

    def some(part: int) -> None:
        for member in data[part::CORES]:
            htj2k.decode(member, level)

    with ThreadPoolExecutor(CORES) as pool:
        _measure(benchmark, lambda: list(pool.map(some, range(CORES))), len(data))


@pytest.mark.parametrize("kind", ["streams-half", "streams-full", "coded-half", "coded-raw"])
def test_dali(benchmark: BenchmarkFixture, ct_shards: Path, raw_shards: Path, kind: str) -> None:
    """One window through DALI on the CPU: it decodes the streams, or gets decoded slices and only runs the kernel."""
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    from dali_pipeline import dali_batches

    feed, what = kind.split("-")
    settings = Settings(
        (224, 224), make_recipe((40, 400), 1), "float32", 1.0, "full" if what == "full" else "auto", None, 0
    )
    batches = dali_batches(raw_shards if what == "raw" else ct_shards, settings, BATCH, CORES, feed)
    for _ in range(3):
        next(batches)
    _measure(benchmark, lambda: _take(batches), BATCH * BATCHES, rounds=3)
    batches.close()


@pytest.mark.parametrize("cache", ["warm", "cold"])
def test_first_batch(
    benchmark: BenchmarkFixture, ct_shards: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Loader(...) to its first batch; "cold": the kernel is compiled, as in the first run after an install."""
    if cache == "cold":
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))

    def first() -> None:
        with Loader(ct_shards, batch_size=BATCH) as loader:
            next(iter(loader))

    if cache == "warm":
        first()
    benchmark.pedantic(first, rounds=3 if cache == "warm" else 1)


def test_memory_of_the_processes(benchmark: BenchmarkFixture, ct_shards: Path) -> None:
    """Resident memory of the loader's processes after an epoch, what they share counted once (MiB)."""
    with Loader(ct_shards, batch_size=BATCH) as loader:
        benchmark.pedantic(lambda: _take(iter(loader)), rounds=1)
        used = memory(loader.pids)
        benchmark.extra_info["own MiB"] = used.own >> 20
        benchmark.extra_info["files MiB"] = used.files >> 20
        benchmark.extra_info["ring MiB"] = used.shared >> 20
        assert used.own < 512 << 20
