"""The stages do the loader's work: same bytes, same pixels; and the clock of a stage counts what was done."""

from __future__ import annotations

import mmap
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import radload
from radload.bench import stages
from radload.bench.cold import Cold, measure_cold
from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.loading import Loader
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def opened(root: Path, size: int = 24) -> tuple[Index, Planner, ShardFiles]:
    index = open_index(root, read_manifest(root))
    settings = Settings((size, size), make_recipe((40, 400), 1), "float32", 1.0, "auto", None, 0)
    return index, Planner(index, settings), ShardFiles(root, index.shard_names)


def test_draws_are_samples_of_the_split_read_at_their_levels(small_data: Path, pool: ThreadPoolExecutor) -> None:
    index, planner, files = opened(small_data)
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    assert sorted(draws.plan.rows[list(draws.places)]) == list(range(24)) and not draws.unreadable
    assert draws.levels == {0: 0.25, 1: 0.75}  # raw has no levels
    half = index.records["level_end"][:18, 0].astype(float)
    whole = index.records["length"][18:24].astype(float)
    assert draws.asked == pytest.approx((half.sum() + whole.sum()) / 24)
    assert draws.raw == 64 * 64 * 2


def test_the_stages_make_the_loaders_pixels(small_data: Path, pool: ThreadPoolExecutor) -> None:
    index, planner, files = opened(small_data)
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    read, decode = stages.reading(files, draws, 2), stages.decoding(draws, 2)
    render = stages.rendering(draws, planner, 2, 8)
    with Loader(small_data, batch_size=24, size=24, window=(40, 400), channels=1) as loader:
        batch = next(iter(loader))
    expected = {int(row): image for row, image in zip(batch["index"], batch["image"].numpy(), strict=True)}
    for i, place in enumerate(draws.places):
        assert read(i, 0) == draws.data[i]
        np.testing.assert_array_equal(decode(i, 1), draws.pixels[i])
        np.testing.assert_array_equal(render(i, i % 2), expected[int(draws.plan.rows[place])])


def test_threads_of_the_kernel_never_share_a_place(small_data: Path, pool: ThreadPoolExecutor) -> None:
    index, planner, files = opened(small_data)
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    render = stages.rendering(draws, planner, 3, 2)  # a batch smaller than the threads
    places = [{render(i, thread).ctypes.data for i in range(len(draws))} for thread in range(3)]  # type: ignore[attr-defined]
    assert not places[0] & places[1] and not places[1] & places[2] and not places[0] & places[2]


def test_rate_counts_what_was_done() -> None:
    seen = np.frombuffer(mmap.mmap(-1, 80), np.int64).reshape(2, 5)  # by process and item

    def work(i: int, process: int) -> None:
        seen[process, i] += 1
        time.sleep(0.01)

    began = time.perf_counter()
    found = stages.rate(work, 5, 2, 0.3)
    longest = time.perf_counter() - began
    assert (seen > 0).all()
    # One call was made before the clock ran; the clock ran for at least 0.3 s, and for no longer than all of it.
    assert (seen.sum() - 1) / longest <= found.rate <= min(2 / 0.01, (seen.sum() - 1) / 0.3)
    assert found.cores < 0.5  # it slept
    assert stages.rate(work, 5, 2, 0).rate > 0  # at least once each


def test_a_process_that_fails_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    parent = os.getpid()

    def work(i: int, process: int) -> None:
        if os.getpid() != parent:
            raise ValueError("no such work")

    with pytest.raises(RuntimeError, match="has failed"):
        stages.rate(work, 5, 2, 0.1)
    assert "no such work" in capfd.readouterr().err


def test_damaged_samples_are_counted_and_left_out(small_data: Path, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(small_data, root)
    with radload.open(root) as dataset:
        record = dataset.index.records[20]
        shard = root / dataset.index.shard_names[int(record["shard"])]
    content = bytearray(shard.read_bytes())
    content[int(record["offset"]) + 200] ^= 4
    shard.write_bytes(content)
    index, planner, files = opened(root)
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    assert draws.unreadable == 1 and len(draws) == 23
    assert 20 not in draws.plan.rows[list(draws.places)]
    shard.write_bytes(bytes(len(content)))
    with pytest.raises(UsageError, match="none of 24 samples of the split can be read"):
        stages.take_draws(files, planner, index.ranges["train"], pool)


def test_a_budget_bounds_what_is_held(
    small_data: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "MAX_BYTES", 20_000)
    index, planner, files = opened(small_data)
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    held = sum(len(d) + p.nbytes for d, p in zip(draws.data, draws.pixels, strict=True))
    assert 20_000 < held < 20_000 + 2 * 64 * 64 * 2 and 0 < len(draws) < 24


def test_cold_says_what_storage_gave_or_why_not(small_data: Path, pool: ThreadPoolExecutor) -> None:
    index, planner, files = opened(small_data)
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    found = measure_cold(files, draws, stages.reading(files, draws, 2), pool, 2)
    if isinstance(found, Cold):
        assert 0.5 * draws.asked <= found.fetched <= 64 * draws.raw and found.rate > 0
        assert found.asked == pytest.approx(draws.asked)
    else:
        assert "page cache" in found or "/proc/self/io" in found
