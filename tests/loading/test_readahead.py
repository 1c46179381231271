"""Read-ahead for sampler "blocks": every run is asked for once, as one range per shard, before its samples are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make import Series, ct_series, write_dataset

from radload.dataset import shards
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.loading.order.blocks import Blocks
from radload.loading.readahead import ReadAhead


class Noted(ShardFiles):
    """Notes what is asked for."""

    asked: list[tuple[int, int, int]]

    def will_need(self, shard: int, offset: int, length: int) -> None:
        self.asked.append((shard, offset, length))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 slices in one shard for training, 40 in another for validation."""
    series = [ct_series(i, 20, 16, 16, split="train" if i < 6 else "val") for i in range(8)]
    return write_dataset(tmp_path_factory.mktemp("data") / "runs", series)


@pytest.mark.parametrize("whole", [False, True])
def test_every_sample_lies_in_a_range_that_was_asked_for(data: Path, whole: bool) -> None:
    """One split, or all of them: runs then go over the border of shards."""
    index = open_index(data, read_manifest(data))
    rows = range(len(index.records)) if whole else index.ranges["train"]
    files = Noted(data, index.shard_names)
    files.asked = []
    sampler = Blocks(len(rows), 3, 8, 24)
    ahead = ReadAhead(files, index, rows.start, sampler)
    asked = 0
    for first in range(0, len(rows), 12):
        positions = np.arange(first, min(first + 12, len(rows)))
        asked += ahead.ask(0, positions, np.zeros(len(positions), np.int64))
        for row in sampler.elements(0, positions, 0) + rows.start:
            record = index.records[row]
            begin, end = int(record["offset"]), int(record["offset"]) + int(record["length"])
            assert any(
                shard == record["shard"] and start <= begin and end <= start + length
                for shard, start, length in files.asked
            )
    assert asked == len(files.asked)
    # The runs; those in which a cursor begins or its piece ends come twice, and one wraps around the end or crosses shards.
    assert len(rows) / 8 <= asked <= len(rows) / 8 + 2 * 24 + 2
    assert ahead.ask(0, np.arange(len(rows) - 12, len(rows)), np.zeros(12, np.int64)) == 0, "nothing is asked for twice"
    assert ahead.ask(1, np.arange(12), np.zeros(12, np.int64)) >= 6, (
        "another epoch has other runs (pieces of 5 samples share some)"
    )


def test_it_reads_only_whole_runs_of_its_split(data: Path) -> None:
    index = open_index(data, read_manifest(data))
    rows = index.ranges["val"]
    files = Noted(data, index.shard_names)
    files.asked = []
    ReadAhead(files, index, rows.start, Blocks(len(rows), 3, 8, 40)).ask(0, np.arange(40), np.zeros(40, np.int64))
    assert {shard for shard, _, _ in files.asked} == {int(index.records[rows.start]["shard"])}


def test_levels_are_asked_for_up_to_where_they_end(tmp_path: Path) -> None:
    """Between the levels of two samples more bytes lie than are worth reading; raw members have no levels and are asked for whole."""
    images = [ct_series(0, 4, 512, 512).images, ct_series(1, 4, 512, 512, codec="raw").images]
    data = write_dataset(tmp_path / "large", [Series(one) for one in images])
    index = open_index(data, read_manifest(data))
    files = Noted(data, index.shard_names)
    files.asked = []
    ReadAhead(files, index, 0, Blocks(8, 3, 8, 1)).ask(0, np.arange(8), np.full(8, 1, np.int64))
    ends = {int(r["offset"]): int(r["level_end"][0]) if r["levels"] else None for r in index.records}
    streams = {start: length for _, start, length in files.asked if ends[start] is not None}
    assert len(streams) >= 3 and all(length == ends[start] for start, length in streams.items())
    covered = sum(length for _, _, length in files.asked)
    wanted = sum(int(r["level_end"][0]) if r["levels"] else int(r["length"]) for r in index.records)
    assert wanted <= covered <= wanted + 8 * (512 + 512 + 1)  # tar headers between raw members


def test_a_shard_that_is_gone_is_told_by_reading(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a system that refuses the advice costs nothing."""
    with ShardFiles(data, ["gone.tar", "train/000000.tar"]) as files:
        files.will_need(0, 0, 1 << 20)
        pieces: list[tuple[int, int]] = []
        monkeypatch.setattr(
            shards.os, "posix_fadvise", lambda fd, start, length, advice: pieces.append((start, length))
        )
        files.will_need(1, 1000, 300_000)
        assert pieces[0][0] == 1000 and sum(length for _, length in pieces) == 300_000
        assert all(length <= shards.ASKED_AT_ONCE for _, length in pieces)

        def refuse(*_: object) -> None:
            raise OSError("not here")

        monkeypatch.setattr(shards.os, "posix_fadvise", refuse)
        files.will_need(1, 0, 10)
