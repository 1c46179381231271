"""Where a data set's files are: a folder of this machine, or a bucket with a copy of the index beside the shards that were fetched."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from radload.dataset.index import Index
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.remote.choose import EPOCHS, RemoteConfig, Workload, choose
from radload.remote.node_cache import NodeCache
from radload.remote.shards import RemoteShards
from radload.remote.store import Store, as_url

FETCHES = ("auto", "shards", "ranges")
_LOOKED_AT = 512  # samples whose levels tell the mean


def find_source(
    path: str | PathLike[str],
    fetch: str = "auto",
    shard_cache: str | PathLike[str] | None = None,
    limit: int | None = None,
) -> tuple[Path, RemoteConfig | None]:
    """The local folder of the data set at `path`, and where it lies in a bucket what a loader process must know.

    Args:
        limit: bytes of shards on this machine; None: half of what is free there, with what shards take already.

    Raises:
        UsageError, FormatError, RadloadError: see `copy.open_copy`.
    """
    if fetch not in FETCHES:
        raise UsageError(f"fetch={fetch!r} is unknown: choose one of {', '.join(FETCHES)}")
    url = as_url(path)
    if url is None:
        if fetch != "auto" or shard_cache is not None or limit is not None:
            raise UsageError(
                "fetch, shard_cache and shard_cache_bytes are for data sets in a bucket: leave them out for a folder"
            )
        return Path(path), None
    from radload.remote.copy import default_folder, open_copy

    base = default_folder() if shard_cache is None else Path(shard_cache).absolute()
    root = open_copy(url, base)
    if limit is None:
        system = os.statvfs(base)
        held = 0
        for file in base.glob("*/*/*.tar"):
            with suppress(FileNotFoundError):  # another process has dropped it
                held += file.stat().st_blocks * 512
        limit = (system.f_bavail * system.f_frsize + held) // 2
    return root, {"url": url, "folder": str(base), "limit": limit, "fetch": fetch}


def open_shards(
    config: RemoteConfig, root: Path, index: Index, work: Callable[[], Workload], warn: Callable[[str], None]
) -> ShardFiles:
    """The shards of a data set in a bucket; `work` is asked for where fetch="auto" has to decide."""
    store, names = Store(config["url"]), index.shard_names
    table = index.table("shards")
    sizes: list[int] = table.column("bytes").to_pylist()
    fetch = config["fetch"] if config["fetch"] != "auto" else choose(work(), config["limit"])
    if fetch == "ranges":
        return RemoteShards(root, names, store, None, warn)
    return RemoteShards(
        root, names, store, NodeCache(Path(config["folder"]), root, config["limit"], names, sizes), warn
    )


def workload(index: Index, rows: range, planner: Any, training: bool, run: int, opened: int, share: float) -> Workload:
    """What a node reads of `rows`.

    Args:
        planner: plan.Planner, for the levels; run, opened: samples read in a row, and runs that are open at once.
        share: of an epoch's samples that this node reads.
    """
    some = np.unique(np.linspace(rows.start, rows.stop - 1, min(len(rows), _LOOKED_AT)).astype(np.int64))
    plan = planner.plan(some, 0, np.arange(len(some)))
    cut = np.take_along_axis(plan.records["level_end"], np.maximum(plan.levels - 1, 0)[:, None], 1)[:, 0]
    mean = float(np.where(plan.levels > 0, cut, plan.records["length"]).mean())
    first, last = (int(index.records[row]["shard"]) for row in (rows.start, rows.stop - 1))
    sizes = index.table("shards").column("bytes").to_pylist()[min(first, last) : max(first, last) + 1]
    samples = max(1, round(len(rows) * share))
    return Workload(samples, mean, len(sizes), sum(sizes), run, EPOCHS if training else 1, opened)
