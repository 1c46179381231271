"""Order "blocks" beside "uniform" where nothing is in the page cache: what storage is asked for, what it gives; and what planning costs.

`pytest benchmarks/bench_order.py`. One epoch of 600 slices of 512 x 512 at all levels and at the half level. Reads are those that
the kernel counts for the whole device (other programs' too), bytes those of the loader's process. The table of mixing is computed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from radload.bench.counters import bytes_read, drop_from_cache
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.loading import Loader
from radload.loading.order.blocks import Blocks
from radload.loading.order.mixing import pair_rate, perfect_rate
from radload.loading.order.order import Order
from radload.loading.planning import ahead
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe

pytestmark = pytest.mark.benchmark(group="order")
BATCH = 8
ORDERS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "blocks of 8": {"sampler": "blocks", "block": 8},
    "blocks of 32": {"sampler": "blocks", "block": 32, "runs": BATCH},
}


def device_reads(path: Path) -> int | None:
    """Read requests that the device of `path` has completed; None where the system does not say."""
    number = path.stat().st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if (int(fields[0]), int(fields[1])) == (os.major(number), os.minor(number)):
            return int(fields[3])
    return None


@pytest.mark.parametrize("resolution", ["full", "auto"])
@pytest.mark.parametrize("name", ORDERS)
def test_cold_epoch(benchmark: BenchmarkFixture, ct_shards: Path, name: str, resolution: str) -> None:
    """Each sample once, from storage."""
    shards = list(ct_shards.rglob("*.tar"))
    for path in shards:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    rates, reads, fetched = [], [], []
    with Loader(
        ct_shards, batch_size=BATCH, window=(40, 400), channels=1, resolution=resolution, **ORDERS[name]
    ) as loader:
        warm = iter(loader)
        next(warm)

        def epoch() -> None:
            loader.set_epoch(loader.epoch + 1)
            for path in shards:
                drop_from_cache(path, 0, path.stat().st_size)
            before, asked, start = bytes_read(loader.pids), device_reads(shards[0]), time.perf_counter()
            count = sum(len(batch["image"]) for batch in loader)
            rates.append(count / (time.perf_counter() - start))
            after, asked_after = bytes_read(loader.pids), device_reads(shards[0])
            if before is not None and after is not None:
                fetched.append((after.fetched - before.fetched) / count)
            if asked is not None and asked_after is not None:
                reads.append((asked_after - asked) / count)

        benchmark.pedantic(epoch, rounds=3)  # type: ignore[no-untyped-call]
    benchmark.extra_info["slices/s"] = round(float(np.median(rates)))
    if fetched:
        benchmark.extra_info["kB from storage"] = round(float(np.median(fetched)) / 1000, 1)
    if reads:
        benchmark.extra_info["reads per slice"] = round(float(np.median(reads)), 2)


def patients(count: int) -> NDArray[np.int64]:
    """Patient of each slice: one to three series of 1 to 700 slices (log-normal around 80) each."""
    rng = np.random.default_rng(0)
    sizes = [int(rng.lognormal(np.log(80), 0.9, rng.integers(1, 4)).clip(1, 700).sum()) for _ in range(count)]
    return np.repeat(np.arange(count), sizes)


@pytest.mark.parametrize("rounds", [1, 4, 16])
@pytest.mark.parametrize("block", [8, 32, 128])
def test_mixing(benchmark: BenchmarkFixture, block: int, rounds: int) -> None:
    """Same-patient rates as multiples of a perfect shuffle's, in batches of 256 of 475,000 slices of 2,000 patients."""
    patient, batch = patients(2_000), 256
    perfect = perfect_rate(patient)
    sampler = Blocks(len(patient), 1, block, rounds * batch)
    drawn = patient[benchmark.pedantic(lambda: sampler.elements(0, np.arange(len(patient)), 0), rounds=1)]  # type: ignore[no-untyped-call]
    for label, apart in (("in a batch", 0), ("next batch", 1), ("a round later", rounds)):
        benchmark.extra_info[label] = round(pair_rate(drawn, batch, apart) / perfect, 2)
    benchmark.extra_info["samples open"] = block * rounds * batch


@pytest.mark.parametrize("augment", [None, "default"], ids=["whole", "crops"])
@pytest.mark.parametrize("draws", [1, ahead.DRAWS], ids=["each batch alone", "ahead"])
def test_planning(
    benchmark: BenchmarkFixture, ct_shards: Path, draws: int, augment: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order and plan of batches of 50, one window: microseconds per slice, in the one process that plans."""
    monkeypatch.setattr(ahead, "DRAWS", draws)
    index, batch, steps = open_index(ct_shards, read_manifest(ct_shards)), 50, 12
    planner = Planner(index, Settings((224, 224), make_recipe((40, 400), 1), "float32", 1.0, "auto", augment, 0))
    rows = index.ranges["train"]
    planned = ahead.Ahead(Order(len(rows), batch), rows, planner)
    assert planned.step(0, 0)[0].valid.all() and len(rows) == steps * batch
    epochs = iter(range(1, 1000))

    def epoch() -> None:
        number = next(epochs)
        for step in range(steps):
            planned.step(number, step)

    benchmark.pedantic(epoch, rounds=60, warmup_rounds=10)  # type: ignore[no-untyped-call]
    if benchmark.stats is not None:
        benchmark.extra_info["us per slice"] = round(benchmark.stats.stats.median / (steps * batch) * 1e6, 2)
