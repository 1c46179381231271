"""Reading from a bucket beside obstore alone, on the same server at 50 ms latency: `pytest benchmarks/bench_remote.py`.

obstore alone is a program of a few lines: a pool of threads, each with a request of its own. Shards are written to files and their SHA-256
is checked on both sides (what is fetched and thrown away stands beside it: over loopback that is the speed of copying memory); ranges
are only fetched by obstore, and given with their CRC-32C checked by radload.
"""

from __future__ import annotations

import hashlib
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


def compare(benchmark: BenchmarkFixture, size: int, ours: Callable[[], Any], theirs: Callable[[], Any]) -> float:
    """Median of the rates' ratio in interleaved rounds; `size`: bytes of each."""
    found = []
    for _ in range(ROUNDS + 1):  # the first opens connections
        times = []
        for work in (theirs, ours):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        found.append(times)
    base, own = (float(np.median([size / pair[which] for pair in found[1:]])) for which in (0, 1))
    ratio = float(np.median([pair[0] / pair[1] for pair in found[1:]]))
    benchmark.pedantic(ours, rounds=1)
    benchmark.extra_info["obstore MB/s"] = round(base / 1e6, 1)
    benchmark.extra_info["radload MB/s"] = round(own / 1e6, 1)
    benchmark.extra_info["ratio"] = round(ratio, 3)
    return ratio


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory: the figure is of the way from the store, not of this machine's disk."""
    if os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize < 2 * SHARDS * SHARD_BYTES:
        pytest.skip("/dev/shm has no room for 384 MiB twice")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def test_whole_shards(benchmark: BenchmarkFixture, server: S3, folder: Path) -> None:
    """384 MiB in 16 shards to files in memory, checked."""
    names = [f"train/{number:06d}.tar" for number in range(SHARDS)]
    hashes = [hashlib.sha256((server.root / "bucket/noise" / name).read_bytes()).digest() for name in names]
    plain = alone("noise")
    turn = iter(range(1000))

    def fetch(name: str) -> int:
        return len(obstore.get(plain, name).bytes())

    def keep(name: str) -> int:
        data = obstore.get(plain, name).bytes()
        assert hashlib.sha256(data).digest() == hashes[names.index(name)]
        path = folder / name.replace("/", "-")
        path.write_bytes(data)
        path.unlink()
        return len(data)

    def theirs(one: Callable[[str], int] = keep) -> None:
        with ThreadPoolExecutor(SHARDS) as pool:
            assert sum(pool.map(one, names)) == SHARDS * SHARD_BYTES

    def ours() -> None:
        root = folder / str(next(turn))
        root.mkdir(parents=True)
        cache = NodeCache(folder, root, 10**12, names, [SHARD_BYTES] * SHARDS, hashes)
        files = RemoteShards(root, names, Store("s3://bucket/noise"), cache)
        for shard in range(SHARDS):
            files.will_need(shard, 0, 1)
        while not all(cache.has(shard) for shard in range(SHARDS)):
            time.sleep(0.002)
        files.close()
        for name in names:
            cache.path(names.index(name)).unlink()

    ratio = compare(benchmark, SHARDS * SHARD_BYTES, ours, theirs)
    started = time.perf_counter()
    for _ in range(ROUNDS):
        theirs(fetch)
    rate = ROUNDS * SHARDS * SHARD_BYTES / (time.perf_counter() - started)
    benchmark.extra_info["obstore MB/s, nothing kept"] = round(rate / 1e6, 1)
    assert ratio >= LEAST


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

    ratio = compare(benchmark, int(cut.sum()), ours, theirs)
    files.close()
    readers.shutdown()
    assert ratio >= LEAST
