"""Memory that is used again holds exactly the sample that was read last, and nobody gets it who did not ask for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make import Image, Series, write_dataset

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample
from radload.loading import buffers
from radload.loading.buffers import Buffers
from radload.loading.decode import decode_level, level_bytes
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.reader import Reader
from radload.sources.slice import Units


def test_memory_is_used_again_and_grows() -> None:
    one = Buffers()
    first = one.pixels((30, 20), np.uint16)
    assert first.shape == (30, 20) and first.dtype == np.uint16 and first.flags.c_contiguous
    again = one.pixels((20, 30), np.uint16)
    assert again.ctypes.data == first.ctypes.data
    assert one.pixels((4, 5, 3), np.uint16).shape == (4, 5, 3)
    grown = one.pixels((100, 100), np.uint16)
    assert grown.nbytes == 20_000 and one.pixels((30, 20), np.uint16).ctypes.data == grown.ctypes.data
    assert not np.shares_memory(one.coded(600), one.pixels((30, 10), np.uint16))


def test_large_samples_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "KEPT", 1000)
    one = Buffers()
    assert not np.shares_memory(one.coded(1001), one.coded(1001))
    assert not np.shares_memory(one.pixels((501,), np.uint16), one.pixels((501,), np.uint16))
    assert np.shares_memory(one.coded(1000), one.coded(10))


@pytest.fixture(scope="module")
def types_and_sizes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HTJ2K in grey and colour, raw of types that the kernels take and one that they do not, all of other sizes."""
    rng = np.random.default_rng(6)
    raw = [
        Image(rng.integers(0, 200, (40 + i, 44)).astype(code), codec="raw")
        for i, code in enumerate(("i2", "u1", "f4", "u4"))
    ]
    coded = [Image(rng.integers(0, 900, (60 - i, 52)).astype(np.uint16)) for i in range(4)]
    colour = [Image(rng.integers(0, 256, (48, 56, 3)).astype(np.uint8)) for _ in range(2)]
    series = [Series([one], "MR", Units.UNSPECIFIED) for one in raw]
    series += [Series(coded, "MR", Units.UNSPECIFIED), Series(colour, "US", Units.DISPLAY)]
    return write_dataset(tmp_path_factory.mktemp("data") / "types", series)


def test_a_reader_gives_the_same_with_and_without(types_and_sizes: Path) -> None:
    """Types, sizes and codecs take turns in one pair of buffers."""
    index = open_index(types_and_sizes, read_manifest(types_and_sizes))
    planner = Planner(index, Settings((24, 24), make_recipe(), "float32", 1.0, "auto", None, 4))
    rows = index.ranges["train"]
    order = np.random.default_rng(2).permutation(len(rows)) + rows.start
    plan, one = planner.plan(order, 0, np.arange(len(order))), Buffers()
    with ShardFiles(types_and_sizes, index.shard_names) as files:
        reader = Reader(files, planner, rows, True, decode_level)
        kept = [reader.read(plan, i, 0, i).content for i in range(len(order))]
        copies = [content.copy() for content in kept if content is not None]
        for i, expected in enumerate(copies):
            content = reader.read(plan, i, 0, i, one).content
            assert content is not None and content.dtype == expected.dtype
            np.testing.assert_array_equal(content, expected)
        for content, copy in zip(kept, copies, strict=True):  # those that were read without buffers are still theirs
            np.testing.assert_array_equal(content, copy)
    assert len({(c.dtype, c.shape) for c in copies}) > 2


def test_bytes_are_checked_in_buffers_too(ct_data: Path, tmp_path: Path) -> None:
    index, one = open_index(ct_data, read_manifest(ct_data)), Buffers()
    record = index.records[2]
    name = index.shard_names[int(record["shard"])]
    with ShardFiles(ct_data, index.shard_names) as files:
        whole = files.read(record)
        for level in range(int(record["levels"]) + 1):
            assert level_bytes(files, record, level, one) == files.read(record, level)
        with pytest.raises(ValueError, match="has no level"):
            files.read_into(one.coded, record, int(record["levels"]) + 1)
    content = (ct_data / name).read_bytes()
    target = tmp_path / name
    target.parent.mkdir(parents=True)
    at = int(record["offset"])
    for damage, message in (
        (content[:at] + bytes([whole[0] ^ 1]) + content[at + 1 :], "wrong checksum"),
        (content[: at + len(whole) - 1], f"cut: {len(whole) - 1} of {len(whole)} bytes"),
    ):
        target.write_bytes(damage)
        with ShardFiles(tmp_path, index.shard_names) as files, pytest.raises(CorruptSample, match=message):
            files.read_into(one.coded, record)
