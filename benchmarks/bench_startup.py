"""What opening costs: from `Loader(...)` to its first batch, and the private memory of both processes before any.

`pytest benchmarks/bench_startup.py` with an index of 1.35 million samples (0.4 GB below pytest's temporary folder);
`--startup-rows 100000000` takes another number (16 GB). Each loader starts in a fresh process, which has imported radload before the clock
starts; first with nothing of the data set in the page cache, then with what the first start left there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from big_index import write_big
from pytest_benchmark.fixture import BenchmarkFixture

from radload.bench.counters import drop_from_cache

pytestmark = pytest.mark.benchmark(group="start-up")
SAMPLERS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "balanced": {"sampler": "balanced"},
    "patient": {"sampler": "patient"},
    "blocks": {"sampler": "blocks"},
}
MEMORY = 100e6  # bytes
ROUNDS = 3

CHILD = """
import json, os, sys, time
from pathlib import Path
from radload.bench.counters import wait_until_idle
from radload.loading import Loader

def private(pid):  # bytes that no other process shares, and no file backs
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = dict(line.split(":") for line in lines if ":" in line and line.endswith("kB"))
    return 1024 * (int(found["Private_Dirty"].split()[0]))

def main():
    options = json.loads(sys.argv[2])
    before, start = private(os.getpid()), time.perf_counter()
    loader = Loader(sys.argv[1], batch_size=256, size=64, window=(40, 400), channels=1, threads=1, **options)
    made = time.perf_counter() - start
    if sys.argv[3] == "memory":
        time.sleep(0.5)
        wait_until_idle(loader.pids, 60)
        print(json.dumps({"consumer": private(os.getpid()) - before, "process": private(loader.pid)}))
    else:
        next(iter(loader))
        print(json.dumps({"made": made, "first": time.perf_counter() - start}))
    loader.close()

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    root: Path = write_big(tmp_path_factory.mktemp("big") / "shards", request.config.getoption("--startup-rows"))
    for path in root.rglob("*.*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return root


def start(root: Path, sampler: str, what: str) -> dict[str, float]:
    command = [sys.executable, "-c", CHILD, str(root), json.dumps(SAMPLERS[sampler]), what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_first_batch(
    benchmark: BenchmarkFixture, big: Path, sampler: str, cache: str, request: pytest.FixtureRequest
) -> None:
    """Under 2 seconds with 1.35 million samples, under 5 with 100 million."""
    start(big, sampler, "time")  # the kernel is compiled
    found: list[dict[str, float]] = []

    def run() -> None:
        if cache == "cold":
            for path in big.rglob("*.*"):
                drop_from_cache(path, 0, path.stat().st_size)
        found.append(start(big, sampler, "time"))

    benchmark.pedantic(run, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    seconds = sorted(one["first"] for one in found)[ROUNDS // 2]
    benchmark.extra_info["first batch s"] = round(seconds, 2)
    benchmark.extra_info["Loader() s"] = round(sorted(one["made"] for one in found)[ROUNDS // 2], 2)
    assert seconds < (2 if request.config.getoption("--startup-rows") <= 2_000_000 else 5)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_memory(benchmark: BenchmarkFixture, big: Path, sampler: str) -> None:
    """Under 100 MB of private memory per rank before any batch: what the consumer's process grew by, and all of the loader's."""
    found: list[dict[str, float]] = []
    benchmark.pedantic(lambda: found.append(start(big, sampler, "memory")), rounds=1)  # type: ignore[no-untyped-call]
    for name, value in found[0].items():
        benchmark.extra_info[f"{name} MB"] = round(value / 1e6, 1)
    assert sum(found[0].values()) < MEMORY
