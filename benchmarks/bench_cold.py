"""What storage gives for a sample that is not in the page cache, from the kernel's own counter: `pytest benchmarks/bench_cold.py`.

A CT slice of 512 x 512 and a radiograph of 3000 x 4000, both to 224; bytes as a share of the stored pixels uncompressed.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from make import Image, Series, write_dataset
from pytest_benchmark.fixture import BenchmarkFixture

from radload.bench import stages
from radload.bench.cold import Cold, measure_cold
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.sources.slice import Units

pytestmark = pytest.mark.benchmark(group="cold")
ROWS, COLS, RADIOGRAPHS = 3000, 4000, 4


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 radiographs of 12 bits: a bright field with broad structures, and noise of 12 units."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:ROWS, :COLS].astype(np.float32) / COLS
    images = []
    for i in range(RADIOGRAPHS):
        values = 2000 + 900 * np.sin(9 * x + i) * np.cos(7 * y) + rng.normal(0, 12, (ROWS, COLS)).astype(np.float32)
        images.append(Image(values.clip(0, 4095).astype(np.uint16)))
    return write_dataset(tmp_path_factory.mktemp("dx") / "shards", [Series(images, "DX", Units.UNSPECIFIED)])


@pytest.mark.parametrize(("name", "share"), [("ct_shards", 0.15), ("radiographs", 0.03)])
def test_bytes_from_storage(
    benchmark: BenchmarkFixture, request: pytest.FixtureRequest, name: str, share: float
) -> None:
    """At 224 from 512: at most 0.15 of raw; from a radiograph: at most 0.03."""
    root: Path = request.getfixturevalue(name)
    for path in root.rglob("*.tar"):  # what was written just now cannot be dropped before it is on the disk
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    index = open_index(root, read_manifest(root))
    planner = Planner(index, Settings((224, 224), make_recipe(None, 3), "float32", 1.0, "auto", None, 0))
    found: list[Cold | str] = []
    with ShardFiles(root, index.shard_names) as files, ThreadPoolExecutor(2) as pool:
        draws = stages.take_draws(files, planner, index.ranges["train"], pool)
        work = stages.reading(files, draws, 2)
        benchmark.pedantic(lambda: found.append(measure_cold(files, draws, work, pool, 2)), rounds=3)
    cold = [one for one in found if isinstance(one, Cold)]
    if not cold:
        pytest.skip(str(found[-1]))
    fetched = float(np.median([one.fetched for one in cold]))
    benchmark.extra_info["slices/s"] = round(float(np.median([one.rate for one in cold])))
    benchmark.extra_info["kB from storage"] = round(fetched / 1000, 1)
    benchmark.extra_info["share of raw"] = round(fetched / draws.raw, 4)
    benchmark.extra_info["asked, share of raw"] = round(draws.asked / draws.raw, 4)
    assert fetched / draws.raw <= share
