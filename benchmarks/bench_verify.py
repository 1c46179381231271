"""What `radload verify` costs beside decoding alone: CPU time of one process, in turns, over the same 600 slices of 512 x 512 pixels.

Decoding reads each sample, checks its CRC-32C and decodes the full image (`sample.stored`), or all six levels. verify proves that all
levels are right, and decodes those of one sample per shape and shard; with --levels those of all. Run: pytest benchmarks/bench_verify.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest_pack import WriteDicom, write_dicom
from make import ct_slice
from pytest_benchmark.fixture import BenchmarkFixture

import radload
from radload.codecs import htj2k
from radload.pack import PackOptions, pack
from radload.verify import verify

__all__ = ["write_dicom"]

COUNT, ROUNDS = 600, 9


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("verify")
    write: WriteDicom = write_dicom.__wrapped__()  # type: ignore[attr-defined]
    for place in range(COUNT):
        write(root / f"src/{place:03d}.dcm", ct_slice(place, 512, 512), place=place)
    pack(PackOptions(root / "src", root / "shards", workers=0, split="100/0/0"))
    return root / "shards"


def decode(shards: Path, levels: bool) -> None:
    """Every sample in full, and at every lower level."""
    with radload.open(shards) as data:
        for sample in data:
            _ = sample.stored
            record = data.index.records[sample.row]
            for level in range(1, int(record["levels"]) + 1) if levels else ():
                htj2k.decode(data.shards.read(record, level), level)


def cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def test_verify_beside_decoding(benchmark: BenchmarkFixture, shards: Path) -> None:
    contestants: dict[str, Callable[[], object]] = {
        "verify": lambda: verify(shards, workers=0),
        "verify --levels": lambda: verify(shards, workers=0, levels=True),
        "quick": lambda: verify(shards, workers=0, quick=True),
        "decode": lambda: decode(shards, False),
        "decode all levels": lambda: decode(shards, True),
    }
    assert verify(shards, workers=0).whole
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, work in contestants.items():
            seconds[name].append(cpu(work))
    for name, found in seconds.items():
        benchmark.extra_info[f"{name}, slices/s of CPU time"] = round(COUNT / statistics.median(found))
        ratios = [a / b for a, b in zip(found, seconds["verify"], strict=True)]
        benchmark.extra_info[f"verify at x of {name}"] = round(statistics.median(ratios), 3)
    print(benchmark.extra_info)
    benchmark.pedantic(contestants["quick"], rounds=1)
