"""Whole shards or ranges: which costs a node less, counted in bytes, with a request as the bytes that a connection moves meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from radload.remote.download import PART
from radload.remote.shards import Fetch

REQUEST = 1 << 20  # bytes: 20 to 50 ms to the first byte, 20 to 50 MB/s per connection; docs/scale.md
EPOCHS = 10  # that a training run is taken to last; an evaluation reads once


class RemoteConfig(TypedDict):
    """What a loader process needs to read a data set in a bucket."""

    url: str
    folder: str  # for the copies of all data sets, see copy.py
    limit: int  # bytes of shards in it
    fetch: str  # "shards", "ranges" or "auto"


@dataclass(frozen=True, slots=True)
class Workload:
    """What a node reads.

    Attributes:
        samples: read by the node in an epoch; sample_bytes: of each, mean of the levels needed.
        shards: of the split; shard_bytes: all of them together.
        run: samples that lie one after the other in a shard and are read so: 1 for a shuffled epoch.
        epochs: times that the node reads them.
        opened: runs that are read in turn; their shards must be kept, or a run is as many visits as it has samples.
    """

    samples: int
    sample_bytes: float
    shards: int
    shard_bytes: int
    run: int = 1
    epochs: int = EPOCHS
    opened: int = 1


def shards_cost(work: Workload, limit: int) -> float:
    """Bytes (with requests as such) to read `work` from whole shards, of which the node keeps `limit` bytes.

    Where they fit, each is fetched once. Else each visit finds its shard with the probability that it is kept.
    """
    each = work.shard_bytes / work.shards
    fetch = each + REQUEST * max(1.0, each / PART)
    if work.shard_bytes <= limit:
        return work.shards * fetch
    run = work.run if work.opened * each <= limit else 1
    visits = work.epochs * max(min(work.shards, work.samples), work.samples / run)
    return visits * (1 - limit / work.shard_bytes) * fetch


def ranges_cost(work: Workload) -> float:
    """The same for ranges. Neighbours in a run are joined only where little lies between them, which is not counted."""
    return work.epochs * work.samples * (work.sample_bytes + REQUEST)


def choose(work: Workload, limit: int) -> Fetch:
    """The cheaper one."""
    if not work.shards or work.shard_bytes / work.shards > limit:
        return "ranges"
    return "shards" if shards_cost(work, limit) <= ranges_cost(work) else "ranges"
