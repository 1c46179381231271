"""Reading from a bucket beside obstore alone, on the same server at 50 ms latency: `pytest benchmarks/bench_remote.py`.

obstore alone is a program of a few lines: a pool of threads, each with a request of its own. Whole shards it throws away, or writes to
files as radload does: over loopback the first is the speed of copying memory, and the second has to find pages for what it keeps. Ranges
are only fetched by obstore, and given with their CRC-32C checked by radload.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pytest
from obstore.store import S3Store
from pytest_benchmark.fixture import BenchmarkFixture

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/remote"))

from serve import S3, s3_server

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.remote.node_cache import NodeCache
from radload.remote.ranges import AT_ONCE
from radload.remote.shards import RemoteShards
from radload.remote.store import Store

pytestmark = pytest.mark.benchmark(group="remote")
LATENCY, ROUNDS = 0.05, 5
SHARDS, SHARD_BYTES = 16, 24 << 20
BATCH = 256
LEAST = 0.8  # of what obstore alone fetches


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, ct_shards: Path) -> Iterator[S3]:
    """A bucket with generated CT slices as `ct`, and 16 objects of 24 MiB of noise as `noise`."""
    buckets = tmp_path_factory.mktemp("s3") / "buckets"
    (buckets / "bucket").mkdir(parents=True)
    (buckets / "bucket/ct").symlink_to(ct_shards)
    (buckets / "bucket/noise/train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(SHARDS):
        (buckets / f"bucket/noise/train/{number:06d}.tar").write_bytes(rng.bytes(SHARD_BYTES))
    with s3_server(buckets, latency=LATENCY) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


def alone(prefix: str) -> S3Store:
    return S3Store("bucket", prefix=prefix, client_options={"allow_http": True})


def compare(benchmark: BenchmarkFixture, size: int, works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Of each work but the last, "radload": the median of the rates' ratio in interleaved rounds. `size`: bytes of each."""
    found = []
    for _ in range(ROUNDS + 1):  # the first opens connections
        times = []
        for work in works.values():
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        found.append(times)
    measured = np.array(found[1:])
    ratios = np.median(measured[:, :-1] / measured[:, -1:], axis=0)
    benchmark.pedantic(works["radload"], rounds=1)
    for name, seconds in zip(works, np.median(measured, axis=0), strict=True):
        benchmark.extra_info[f"{name} MB/s"] = round(size / seconds / 1e6, 1)
    told = {name: float(ratio) for name, ratio in zip(works, ratios, strict=False)}
    benchmark.extra_info |= {f"of {name}": round(ratio, 3) for name, ratio in told.items()}
    return told


@pytest.fixture(params=["/dev/shm", None], ids=["memory", "disk"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """tmpfs; and the disk of the temporary files, of which the page cache takes what is gone again within seconds."""
    with tempfile.TemporaryDirectory(dir=request.param) as path:
        if os.statvfs(path).f_bavail * os.statvfs(path).f_frsize < 2 * SHARDS * SHARD_BYTES:
            pytest.skip(f"{request.param} has no room for 384 MiB twice")
        yield Path(path)


def test_whole_shards(benchmark: BenchmarkFixture, server: S3, folder: Path) -> None:
    """384 MiB in 16 shards to files."""
    names = [f"train/{number:06d}.tar" for number in range(SHARDS)]
    plain = alone("noise")
    store = Store("s3://bucket/noise")
    turn = iter(range(1000))

    def fetch(name: str) -> int:
        return len(obstore.get(plain, name).bytes())

    def keep(name: str) -> int:
        data = obstore.get(plain, name).bytes()
        path = folder / name.replace("/", "-")
        path.write_bytes(data)
        path.unlink()
        return len(data)

    def theirs(one: Callable[[str], int]) -> None:
        with ThreadPoolExecutor(SHARDS) as pool:
            assert sum(pool.map(one, names)) == SHARDS * SHARD_BYTES

    def ours() -> None:
        root = folder / str(next(turn))
        root.mkdir(parents=True)
        cache = NodeCache(folder, root, 10**12, names, [SHARD_BYTES] * SHARDS)
        files = RemoteShards(root, names, store, cache)
        for shard in range(SHARDS):
            files.will_need(shard, 0, 1)
        while not all(cache.has(shard) for shard in range(SHARDS)):
            time.sleep(0.002)
        files.close()
        for name in names:
            cache.path(names.index(name)).unlink()

    works = {"obstore, nothing kept": lambda: theirs(fetch), "obstore to files": lambda: theirs(keep), "radload": ours}
    ratios = compare(benchmark, SHARDS * SHARD_BYTES, works)
    assert ratios["obstore to files"] >= LEAST


def test_ranges_of_samples(benchmark: BenchmarkFixture, server: S3, ct_shards: Path) -> None:
    """A shuffled batch of 256 at the level that 224 pixels need, from slices of 512 x 512."""
    index = open_index(ct_shards, read_manifest(ct_shards))
    planner = Planner(index, Settings((224, 224), make_recipe(None, 3), "float32", 1.0, "auto", None, 0))
    rows = np.random.default_rng(0).permutation(len(index.records))[:BATCH]
    plan = planner.plan(rows, 0, np.arange(BATCH))
    cut = plan.records["level_end"][np.arange(BATCH), plan.levels - 1]
    ranges = [
        (index.shard_names[record["shard"]], int(record["offset"]), int(length))
        for record, length in zip(plan.records, cut, strict=True)
    ]
    plain = alone("ct")
    store = Store("s3://bucket/ct")
    files = RemoteShards(ct_shards.with_name("none"), index.shard_names, store)
    readers = ThreadPoolExecutor(2)

    def theirs() -> None:
        def one(part: tuple[str, int, int]) -> int:
            return len(obstore.get_range(plain, part[0], start=part[1], length=part[2]))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            assert sum(pool.map(one, ranges)) == int(cut.sum())

    def ours() -> None:
        files.coming(plan.records, plan.levels)
        read = readers.map(lambda i: len(files.read(plan.records[i], int(plan.levels[i]))), range(BATCH))
        assert sum(read) == int(cut.sum())

    ratios = compare(benchmark, int(cut.sum()), {"obstore": theirs, "radload": ours})
    files.close()
    readers.shutdown()
    assert ratios["obstore"] >= LEAST
