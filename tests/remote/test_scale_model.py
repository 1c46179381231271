"""The sums of docs/scale.md, and that the simulated node and its closed form say the same."""

from __future__ import annotations

import pytest
from scale_model import S3, Cluster, Data, expected, needs, node_positions, simulate

from radload.loading.order.blocks import Blocks
from radload.loading.order.sampling import Uniform

SAMPLES, PER_SHARD, BATCH, NODES = 102_400, 100, 128, 8
SHARDS = SAMPLES // PER_SHARD


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("block", [1, 32, 200])
def test_simulation_and_closed_form_agree(share: float, block: int) -> None:
    sampler = Uniform(SAMPLES, 0) if block == 1 else Blocks(SAMPLES, 0, block, BATCH)
    kept, opened = round(SHARDS * share), BATCH // NODES
    found = simulate(sampler, PER_SHARD, kept, BATCH, NODES, epochs=30)
    form = expected(PER_SHARD, SHARDS, kept, block, opened if block > 1 else 0)
    assert found == pytest.approx(form, rel=0.35 if block > 1 else 0.1)  # 12,800 draws


def test_a_disk_smaller_than_the_open_runs_is_of_no_use() -> None:
    """16 runs open on the node, 4 shards kept: every sample is a fetch, as if it were shuffled."""
    found = simulate(Blocks(SAMPLES, 0, 200, BATCH), PER_SHARD, 4, BATCH, NODES)
    assert found > 0.9
    assert simulate(Blocks(SAMPLES, 0, 200, BATCH), PER_SHARD, 32, BATCH, NODES) < 0.03


def test_a_disk_that_holds_all_fetches_nothing_more() -> None:
    assert simulate(Uniform(SAMPLES, 0), PER_SHARD, SHARDS, BATCH, NODES) == 0


def test_nodes_share_an_epoch() -> None:
    seen = sorted(p for node in range(NODES) for p in node_positions(SAMPLES, BATCH, NODES, node).tolist())
    assert seen == list(range(SAMPLES))


def test_the_sums() -> None:
    """64 GPUs of 8,000 slices/s reading sample by sample: 512,000 requests a second, where a prefix allows 5,500."""
    found = needs(Cluster(), Data(), S3())
    assert found["requests/s"] == 512_000
    assert found["prefixes"] == pytest.approx(93.1, rel=0.01)
    assert found["records and series GB"] == pytest.approx(12.8, rel=0.01)
    assert found["data TB"] == pytest.approx(21.7)
    assert found["ranges GB/s"] == pytest.approx(32.3, rel=0.01)
    assert found["fill s per node"] == pytest.approx(1736, rel=0.01)
    assert needs(Cluster(gpus=8), Data(), S3())["requests/s"] == 64_000
