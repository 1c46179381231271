"""What a large data set on many GPUs asks of a bucket: sums, and a run of the node's shard cache over radload's own order.

    python benchmarks/scale_model.py                # 100 million slices, 64 GPUs; docs/scale.md

`needs` is arithmetic on the figures of `Cluster`, `Data` and `S3`. `simulate` draws with the loader's own samplers and keeps shards as
a node does (least recently used goes first), on a smaller data set of the same proportions; `expected` is the closed form it is held to.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from radload.dataset.schema import RECORD, SERIES_RECORD
from radload.loading.order.blocks import Blocks
from radload.loading.order.sampling import Sampler, Uniform
from radload.remote.download import PART
from radload.remote.store import PART as UPLOADED


@dataclass(frozen=True)
class S3:
    """Published figures of Amazon S3 Standard, us-east-1, 2026: limits of "Optimizing Amazon S3 performance", prices of its price list."""

    requests: float = 5500.0  # GET per second and prefix
    get_price: float = 0.0004 / 1000  # USD
    put_price: float = 0.005 / 1000
    month_price: float = 0.023 / 1e9  # USD per byte


@dataclass(frozen=True)
class Cluster:
    """GPUs and the machines they are in.

    Attributes:
        slices: that one GPU trains per second; network: bytes per second of a node; disk: bytes of a node's NVMe for shards.
    """

    gpus: int = 64
    per_node: int = 8
    slices: float = 8000.0
    network: float = 100e9 / 8
    disk: float = 28e12

    @property
    def nodes(self) -> int:
        return self.gpus // self.per_node

    @property
    def rate(self) -> float:
        """Slices per second of all GPUs."""
        return self.gpus * self.slices


@dataclass(frozen=True)
class Data:
    """A data set; sizes of a slice of 512 x 512 in HTJ2K as measured (docs/format.md): 217 kB, its half level 63 kB."""

    samples: int = 100_000_000
    sample_bytes: float = 217e3
    level_bytes: float = 63e3
    shard_bytes: float = 134e6
    series_length: float = 200.0

    @property
    def size(self) -> float:
        return self.samples * self.sample_bytes

    @property
    def shards(self) -> float:
        return self.size / self.shard_bytes

    @property
    def per_shard(self) -> float:
        return self.shard_bytes / self.sample_bytes


def needs(cluster: Cluster, data: Data, store: S3) -> dict[str, float]:
    """Figures by name; units stand in the names."""
    index = data.samples * (RECORD.itemsize + SERIES_RECORD.itemsize / data.series_length)
    labels = data.samples * 4
    return {
        "slices/s": cluster.rate,
        "epoch s": data.samples / cluster.rate,
        "data TB": data.size / 1e12,
        "shards": data.shards,
        "slices per shard": data.per_shard,
        "records and series GB": index / 1e9,
        "labels GB": labels / 1e9,
        "index fetch s per node": (index + labels) / cluster.network,
        # sample by sample
        "requests/s": cluster.rate,
        "prefixes": cluster.rate / store.requests,
        "prefix share": store.requests / cluster.rate,
        "ranges GB/s": cluster.rate * data.level_bytes / 1e9,
        "ranges Gbit/s per node": cluster.rate * data.level_bytes * 8 / 1e9 / cluster.nodes,
        "ranges USD per epoch": data.samples * store.get_price,
        # whole shards, kept by each node
        "disk TB per node": data.size / 1e12,
        "fits": float(data.size <= cluster.disk),
        "fill s per node": data.size / cluster.network,
        "fill requests/s": cluster.nodes * cluster.network / PART,
        "fill USD": cluster.nodes * data.size / PART * store.get_price,
        "fill steps share": data.size / cluster.network / (data.samples / cluster.rate),
        # whole shards in runs, kept by nobody: all bytes, each epoch
        "stream GB/s": cluster.rate * data.sample_bytes / 1e9,
        "stream Gbit/s per node": cluster.rate * data.sample_bytes * 8 / 1e9 / cluster.nodes,
        "stream requests/s": cluster.rate * data.sample_bytes / PART,
        "storage USD per month": data.size * store.month_price,
        "upload USD": data.size / UPLOADED * store.put_price,
    }


def node_positions(samples: int, batch: int, nodes: int, node: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Positions of an epoch that one node reads: its part of each global batch (n,)."""
    share = batch // nodes
    steps = samples // batch
    return (np.arange(steps)[:, None] * batch + node * share + np.arange(share)).reshape(-1)


def simulate(sampler: Sampler, per_shard: int, kept: int, batch: int, nodes: int, epochs: int = 20) -> float:
    """Shards that node 0 fetches per sample it reads, in the last of `epochs` epochs.

    Args:
        per_shard: samples of a shard; kept: shards that the node's disk holds; batch: global.
    """
    positions = node_positions(sampler.samples, batch, nodes, 0)
    held: OrderedDict[int, None] = OrderedDict()
    fetched = 0
    for epoch in range(epochs):
        fetched = 0
        for shard in (sampler.elements(epoch, positions, sampler.samples) // per_shard).tolist():
            if shard in held:
                held.move_to_end(shard)
                continue
            fetched += 1
            held[shard] = None
            if len(held) > kept:
                held.popitem(last=False)
    return fetched / len(positions)


def expected(per_shard: int, shards: int, kept: int, block: int = 1, opened: int = 0) -> float:
    """The closed form of `simulate`: fetches per sample once the disk is full.

    Args:
        block: samples of a run, 1 for a shuffled epoch; opened: runs of this node that are open at once.
    """
    missing = max(0.0, 1 - kept / shards)
    if block > 1 and opened > kept:
        block = 1  # a shard is gone before its run comes to its next sample
    touched = 1 + (block - 1) / per_shard  # shards that a run of `block` touches, from wherever it begins
    return missing * touched / block


def main() -> None:
    cluster, data, store = Cluster(), Data(), S3()
    for name, value in needs(cluster, data, store).items():
        print(f"{name:28} {value:18,.4g}")
    print(
        "\nshards that a node fetches per 1,000 slices it reads (closed form): 409,600 slices, 100 per shard, 8 nodes"
    )
    print(f"{'kept':>5} {'shuffled':>18} {'runs of 32':>18} {'runs of 400':>18}")
    for share in (0.0025, 0.1, 0.5, 1.0):
        row = [f"{1000 * found:8.1f} ({1000 * form:7.1f})" for found, form in table_row(share)]
        print(f"{share:5.1%} {' '.join(row)}")


def table_row(share: float) -> list[tuple[float, float]]:
    """(simulated, closed form) of three orders where a node keeps `share` of the shards."""
    samples, per_shard, batch, nodes = 409_600, 100, 128, 8
    shards = samples // per_shard
    kept, opened = round(shards * share), batch // nodes
    orders: list[tuple[Sampler, int]] = [
        (Uniform(samples, 0), 1),
        (Blocks(samples, 0, 32, batch), 32),
        (Blocks(samples, 0, 400, batch), 400),
    ]
    return [
        (
            simulate(sampler, per_shard, kept, batch, nodes),
            expected(per_shard, shards, kept, block, opened if block > 1 else 0),
        )
        for sampler, block in orders
    ]


if __name__ == "__main__":
    main()
