"""The straight way gives what the reader gives, sample by sample, and leaves to the reader whatever is out of the ordinary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make import Image, Series, ct_slice, write_dataset
from numpy.typing import NDArray
from test_reader import flip_byte

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.schema import STORED_DTYPES
from radload.dataset.shards import ShardFiles
from radload.loading.buffers import Buffers
from radload.loading.decode import decode_level, level_bytes
from radload.loading.deliver import PixelDeliverer
from radload.loading.job import Job, work
from radload.loading.planning.plan import BatchPlan, Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.straight import contents
from radload.remote.shards import RemoteShards

KERNEL_TYPES = ("u1", "u2", "i2", "f4")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten raw types, raw colour, and HTJ2K in grey and colour, of several sizes, in two shards."""
    rng = np.random.default_rng(6)
    images = [
        Image(rng.integers(0, 100, (40 + i, 37)).astype(code), codec="raw") for i, code in enumerate(STORED_DTYPES)
    ]
    images.append(Image(rng.integers(0, 255, (20, 30, 3), np.uint8), codec="raw"))
    grey = [Image(ct_slice(i, 96 + 16 * i, 80), intercept=-1024.0) for i in range(6)]
    colour = [Image(rng.integers(0, 255, (33, 40, 3), np.uint8), averaging=False)]
    return write_dataset(
        tmp_path_factory.mktemp("mixed") / "shards",
        [Series(images), Series([*grey, *colour]), Series(grey[:2], split="val")],
    )


def _open(root: Path, dtype: str = "float32") -> tuple[Planner, ShardFiles]:
    index = open_index(root, read_manifest(root))
    planner = Planner(index, Settings((16, 16), make_recipe((40, 400), 1), dtype, 1.5, "auto", None, 4))
    return planner, ShardFiles(root, index.shard_names)


def _plan(planner: Planner) -> BatchPlan:
    rows = np.random.default_rng(1).permutation(len(planner.index.records))
    return planner.plan(rows, 0, np.arange(len(rows)))


def test_every_kind_of_sample(mixed: Path) -> None:
    planner, files = _open(mixed)
    plan, buffers, straight = _plan(planner), Buffers(), 0
    with files:
        for start, stop in ((0, len(plan.rows)), (3, 9), (5, 6), (4, 4)):
            pieces = contents(files, plan, range(start, stop), buffers)
            for i, found in zip(range(start, stop), pieces, strict=True):
                record, level, pivot = plan.records[i], int(plan.levels[i]), float(plan.pivot[i])
                grey = record["channels"] == 1
                expected = grey and (record["codec"] == 1 or STORED_DTYPES[record["dtype"]] in KERNEL_TYPES)
                assert (found is not None) == expected
                if found is not None:
                    want = decode_level(level_bytes(files, record, level), record, level, pivot)
                    assert found.dtype == want.dtype and np.array_equal(found, want) and found.flags.c_contiguous
                    straight += 1
    assert len(set(plan.levels.tolist())) > 1 and straight > 12


def _damaged(records: NDArray[np.void], i: int, how: str) -> None:
    one = records[i : i + 1]
    change: dict[str, Any] = {
        "shard": ("shard", 99), "codec": ("codec", 255), "rows": ("rows", one["rows"] + 1), "type": ("dtype", 77),
        "levels": ("levels", 0), "offset": ("offset", 1 << 40),
    }  # fmt: skip
    name, value = change[how]
    one[name] = value


@pytest.mark.parametrize("how", ["shard", "codec", "rows", "type", "offset", "levels"])
def test_records_that_make_no_sense_are_the_readers(mixed: Path, how: str) -> None:
    """And cost the others of the piece nothing."""
    planner, files = _open(mixed)
    plan = _plan(planner)
    with files:
        before = [
            None if one is None else one.copy() for one in contents(files, plan, range(len(plan.rows)), Buffers())
        ]
        at = next(i for i, one in enumerate(before) if one is not None and (how != "levels" or plan.levels[i]))
        _damaged(plan.records, at, how)
        after = list(contents(files, plan, range(at + 1), Buffers()))
        assert after[at] is None
        for i, one in enumerate(contents(files, plan, range(len(plan.rows)), Buffers())):
            other = before[i]
            if i != at:
                assert (one is None) == (other is None)
                assert one is None or (other is not None and np.array_equal(one, other))


def test_damaged_bytes_and_shards_that_are_gone(mixed: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "shards"
    shutil.copytree(mixed, root)
    planner, _ = _open(root)
    shards = planner.index.records["shard"]
    flip_byte(root, 2)
    gone = int(shards[-1])
    assert gone != shards[2]
    (root / planner.index.shard_names[gone]).unlink()
    rows = np.array([2, 2, *np.flatnonzero(shards == gone).tolist(), 0])
    plan = planner.plan(rows, 0, np.arange(len(rows)))
    with ShardFiles(root, planner.index.shard_names) as files:
        found = [one is None for one in contents(files, plan, range(len(rows)), Buffers())]
    assert found == [True] * (len(rows) - 1) + [False]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_piece_is_its_draws(mixed: Path, dtype: str) -> None:
    """Pixels and hits of a whole piece, beside those of each draw by the general way."""
    planner, files = _open(mixed, dtype)
    plan = _plan(planner)
    count = len(plan.rows)
    kind = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[dtype]
    places = np.arange(count)[::-1].copy()
    with files:
        deliverer = PixelDeliverer(files, planner, range(count), replace=False)
        slots = []
        for whole in (True, False):
            arrays: dict[str, NDArray[Any]] = {
                "image": np.full((count, 1, 16, 16), 7, kind),
                "rows": np.full(count, -1, np.int64),
                "valid": np.ones(count, np.bool_),
            }
            arrays["rows"][places] = plan.rows
            tools = deliverer.tools()
            if whole:
                left = deliverer.quick(arrays, places.tolist(), plan, range(count), tools)
                assert 0 < len(left) < count // 2
                job = Job(0, 0, plan, places, np.arange(count), 0, arrays, count)
                for piece in (range(7), range(7, 8), range(8, count)):
                    outcome = work(deliverer, job, piece, tools, lambda error: {"text": str(error)})
                    assert outcome.error is None and outcome.failed == 0
            else:
                for i, place in enumerate(places.tolist()):
                    deliverer.deliver(arrays, place, plan, i, 0, i, tools)
            slots.append(arrays)
        for name in slots[0]:
            assert slots[0][name].tobytes() == slots[1][name].tobytes(), name
        assert (slots[0]["image"] != 7).any(axis=(1, 2, 3)).all()


def test_what_has_more_to_do_is_left_to_the_reader(mixed: Path) -> None:
    planner, files = _open(mixed)
    plan = _plan(planner)
    arrays: dict[str, NDArray[Any]] = {}
    with files:
        deliverer = PixelDeliverer(files, planner, range(4), replace=False, cache=_NoCache())
        assert list(deliverer.quick(arrays, [0, 1, 2], plan, range(3), deliverer.tools())) == [0, 1, 2]
        deliverer = PixelDeliverer(files, planner, range(4), replace=False)
        stacked = replace(plan, slices=3)
        assert list(deliverer.quick(arrays, [0, 1], stacked, range(2), deliverer.tools())) == [0, 1]


def test_shards_in_a_bucket_are_read_one_by_one() -> None:
    found = RemoteShards.read_each(object.__new__(RemoteShards), lambda n: np.empty(n, np.uint8), [None, None])
    assert list(found) == [None, None]


class _NoCache:
    def get(self, row: int, level: int, pivot: float) -> NDArray[Any] | None:
        return None

    def has(self, row: int, level: int, pivot: float) -> bool:
        return False

    def put(self, row: int, level: int, pivot: float, content: NDArray[Any]) -> None:
        return
