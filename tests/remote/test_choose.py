"""fetch="auto": the cheaper way for what a node reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.remote.choose import Workload, choose, ranges_cost, shards_cost
from radload.remote.source import workload

CT = Workload(samples=1_000_000, sample_bytes=63e3, shards=1_600, shard_bytes=217_000_000_000)


@pytest.mark.parametrize(
    ("work", "limit", "cheaper"),
    [
        (CT, 10**12, "shards"),  # all of it stays: one fetch for ten epochs
        (CT, 10**11, "ranges"),  # half stays: each other draw would be a shard of 134 MB
        (replace(CT, run=600, opened=64), 10**11, "shards"),  # in runs a shard serves 600 draws
        (replace(CT, run=600, opened=64), 10**9, "ranges"),  # but not if it is gone before its run is over
        (replace(CT, epochs=1, samples=1_000), 10**12, "ranges"),  # a few of many
        (replace(CT, shards=1), 10**11, "ranges"),  # a shard that is larger than the limit
        (replace(CT, shards=0, shard_bytes=0), 10**11, "ranges"),
    ],
)
def test_what_costs_less(work: Workload, limit: int, cheaper: str) -> None:
    assert choose(work, limit) == cheaper


def test_costs_grow_with_what_is_read() -> None:
    assert ranges_cost(replace(CT, samples=2 * CT.samples)) == 2 * ranges_cost(CT)
    costs = [shards_cost(CT, limit) for limit in (10**10, 10**11, 2 * 10**11, 3 * 10**11)]
    assert costs == sorted(costs, reverse=True)


def test_the_workload_of_a_data_set(packed: Path) -> None:
    """Bytes of the level that the size needs, and of the split's own shards."""
    index = open_index(packed, read_manifest(packed))
    found = {}
    for size in (96, 48):
        settings = Settings((size, size), make_recipe(None, 3), "float32", 1.0, "auto", None, 0)
        found[size] = workload(index, index.ranges["train"], Planner(index, settings), True, 1, 1, 0.5)
    rows = index.records[index.ranges["train"].start : index.ranges["train"].stop]
    assert found[96].sample_bytes == pytest.approx(rows["length"].mean())
    assert found[48].sample_bytes == pytest.approx(rows["level_end"][:, 0].mean())
    assert found[96].samples == len(rows) // 2
    files = list((packed / "train").glob("*.tar"))
    assert (found[96].shards, found[96].shard_bytes) == (len(files), sum(file.stat().st_size for file in files))
