"""radload beside what people use today, in one interleaved run: the same slices, the same output, the same cores.

`pytest benchmarks/bench_peers.py --bench-json peers.json --bench-chart peers.png`. 600 slices of 512 x 512, one window, to shuffled
batches of 50 at 224 x 224 float32; page cache warm, steady state, medians of rounds in which all take turns. The pixels of
each are compared with torch's own arithmetic before anything is timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from interleave import Contestant, run_rounds, taking
from peer_files import write_peer_files
from peer_loaders import CENTRE, PEERS, READ_AHEAD, WIDTH, Batch, Batches, missing, prepare
from summary import CONTESTANTS

import radload
from radload.bench import stages
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.loading import Loader
from radload.loading.arguments import core_share
from radload.loading.plan import Planner, Settings
from radload.loading.recipe import make_recipe

BATCH, SIZE, ROUNDS, SECONDS, PREFETCH = 50, 224, 5, 1.0, 3
CORES = core_share()
WINDOW = (CENTRE, WIDTH)
SAME = 1e-4  # in normalised units: float32 sums in another order
OURS = {  # name -> (codec, resolution, whether the arithmetic is that of the peers)
    "radload HTJ2K, half level": ("htj2k", "auto", False),
    "radload HTJ2K, all levels": ("htj2k", "full", True),
    "radload raw": ("raw", "auto", True),
}


def ours(shards: Path, resolution: str) -> tuple[Loader, Batches]:
    """A Loader as the peers are set up, and its endless batches."""
    loader = Loader(
        shards,
        batch_size=BATCH,
        size=SIZE,
        window=WINDOW,
        channels=1,
        resolution=resolution,
        threads=CORES,
        prefetch=PREFETCH,
    )

    def batches() -> Iterator[Batch]:
        while True:
            for batch in loader:
                yield batch["image"], batch["index"]

    return loader, batches()


def limits(shards: Path, name: str, parts: tuple[str, ...], pool: ThreadPoolExecutor) -> list[Contestant]:
    """Parts of our own work, alone on all cores: what no loader of this format can exceed."""
    index = open_index(shards, read_manifest(shards))
    files = ShardFiles(shards, index.shard_names)
    planner = Planner(index, Settings((SIZE, SIZE), make_recipe(WINDOW, 1), "float32", 1.0, "auto", None, 0))
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    read, render = stages.reading(files, draws), stages.rendering(draws, planner, CORES, BATCH)
    decode = stages.decoding(draws)

    def read_and_render(i: int, thread: int) -> None:
        read(i, thread)
        render(i, thread)

    work: dict[str, stages.Work] = {"decoding": decode, "reading, CRC and kernel": read_and_render}

    def turn(part: str) -> Any:
        return lambda seconds: stages.rate(work[part], len(draws), pool, CORES, seconds).rate

    return [Contestant(f"{name}: {part} alone", "limit", turn(part)) for part in parts]


def difference(batch: Batch, dataset: radload.Dataset) -> float:
    """Largest difference of a batch's pixels from torch's own arithmetic on the stored values in full."""
    images, numbers = batch
    assert images.shape == (BATCH, 1, SIZE, SIZE) and images.dtype == torch.float32
    expected = torch.stack([prepare(dataset[int(i)].stored, SIZE) for i in numbers])
    return float((images - expected).abs().max())


def test_peers(ct_shards: Path, raw_shards: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Everybody's pixels agree where the arithmetic is the same, and all take turns."""
    with radload.open(raw_shards) as dataset:
        contestants, running = [], []
        files = None if missing("webdataset") else write_peer_files(tmp_path, (one.stored for one in dataset))
        for name, (start, package) in PEERS.items():  # first, because their workers are forks of this process
            reason = missing(package) if files is not None else missing("webdataset")
            peer = Contestant(name, "peer", skipped=reason)
            if reason is None and files is not None:
                batches = start(files, SIZE, BATCH, CORES)
                peer.difference = difference(next(batches), dataset)
                assert peer.difference < SAME, f"{name} delivers other pixels"
                peer.turn = taking(batches, BATCH, READ_AHEAD * CORES, CORES)
                running.append(batches)
            contestants.append(peer)
        loaders = []
        try:
            for name, (codec, resolution, same) in OURS.items():
                loader, batches = ours(raw_shards if codec == "raw" else ct_shards, resolution)
                loaders.append(loader)
                own = Contestant(name, "radload", taking(batches, BATCH, PREFETCH + 1))
                own.difference = difference(next(batches), dataset)
                assert not same or own.difference < SAME, f"{name} delivers other pixels"
                contestants.append(own)
            with ThreadPoolExecutor(CORES) as pool:
                contestants += limits(ct_shards, "half level", ("decoding",), pool)
                contestants += limits(raw_shards, "raw", ("reading, CRC and kernel",), pool)
                run_rounds(contestants, 1, 0.2)  # warm
                for one in contestants:
                    one.rates.clear()
                    one.cores.clear()
                run_rounds(contestants, ROUNDS, SECONDS)
        finally:
            for loader in loaders:
                loader.close()
            running.clear()
    request.config.stash[CONTESTANTS] = contestants
    for one in contestants:
        assert one.skipped or (len(one.rates) == ROUNDS and min(one.rates) > 0), one.name
