"""radload beside what people use today, in one interleaved run: the same slices, the same output, the same cores.

`pytest benchmarks/bench_peers.py --bench-json peers.json --bench-chart peers.png`. 600 slices of 512 x 512, one window, to shuffled
batches of 50 at 224 x 224 float32; page cache warm, steady state, medians of rounds in which all take turns. The pixels of
each are compared with torch's own arithmetic before anything is timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interleave import Contestant, run_rounds, taking
from peer_files import PeerFiles, write_peer_files
from peer_loaders import CENTRE, PEERS, READ_AHEAD, WIDTH, Batch, Batches, missing, prepare, pydicom_training_loader
from summary import FIRST_RUN, RUNS

import radload
from radload.bench import stages
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.loading import Loader
from radload.loading.arguments import core_share
from radload.loading.decode import decode_level
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.planning.views import Views
from radload.train.config import CROP_SLACK

BATCH, SIZE, ROUNDS, SECONDS, PREFETCH = 50, 224, 5, 0.8, 3
CORES = core_share()
WINDOW = (CENTRE, WIDTH)
SAME = 1e-4  # in normalised units: float32 sums in another order
OURS = {  # name -> (codec, resolution, whether the arithmetic is that of the peers)
    "radload HTJ2K, half level": ("htj2k", "auto", False),
    "radload HTJ2K, all levels": ("htj2k", "full", True),
    "radload raw": ("raw", "auto", True),
}


TRAINING = "training defaults, medians of turns"
RAW = "raw beside its parts alone, medians of turns"
MORE = "more of one decode, medians of turns in slices decoded"


@pytest.fixture(scope="module")
def peer_files(raw_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> PeerFiles:
    pytest.importorskip("webdataset", reason=missing("webdataset"))
    with radload.open(raw_shards) as dataset:
        return write_peer_files(tmp_path_factory.mktemp("peers"), (one.stored for one in dataset))


def ours(shards: Path, **options: Any) -> tuple[Loader, Batches]:
    """A Loader as the peers are set up, and its endless batches."""
    loader = Loader(shards, batch_size=BATCH, size=SIZE, threads=CORES, prefetch=PREFETCH, **options)

    def batches() -> Iterator[Batch]:
        while True:
            for batch in loader:
                yield batch["image"], batch["index"]

    return loader, batches()


def limits(
    shards: Path,
    parts: dict[str, str],
    pool: ThreadPoolExecutor,
    window: Any = WINDOW,
    channels: int = 1,
    augment: str | None = None,
    views: int = 1,
    level_slack: float = 1.0,
    outputs: int = BATCH,
) -> list[Contestant]:
    """Parts of our own work, alone on all cores: what no loader of this format can exceed.

    Args:
        parts: title -> "decode" or "raw". outputs: images that all processes together write to, one after the other.
    """
    index = open_index(shards, read_manifest(shards))
    files = ShardFiles(shards, index.shard_names)
    recipe = make_recipe(window, channels)
    settings = Settings((SIZE, SIZE), recipe, "float32", level_slack, "auto", augment, 0, views=Views(views))
    planner = Planner(index, settings)
    draws = stages.take_draws(files, planner, index.ranges["train"], pool)
    pixels: Any = list(draws.pixels)
    read = stages.reading(files, draws, CORES)
    render = stages.rendering(replace(draws, pixels=pixels), planner, CORES, outputs)

    def read_and_render(i: int, thread: int) -> None:
        """The kernel gets what was just read: it lies in the core's cache, as it does in the loader."""
        place = draws.places[i]
        record, pivot = draws.plan.records[place], float(draws.plan.pivot[place])
        pixels[i] = decode_level(read(i, thread), record, int(draws.plan.levels[place]), pivot)  # type: ignore[arg-type]
        render(i, thread)

    def turn(work: stages.Work) -> Any:
        return lambda seconds: stages.rate(work, len(draws), CORES, seconds).rate

    work: dict[str, stages.Work] = {"decode": stages.decoding(draws, CORES), "raw": read_and_render}
    mix = ", ".join(f"level {level} {share:.0%}" for level, share in draws.levels.items())
    return [
        Contestant(f"{title} ({mix})" if augment else title, "limit", turn(work[part])) for title, part in parts.items()
    ]


def difference(batch: Batch, dataset: radload.Dataset) -> float:
    """Largest difference of a batch's pixels from torch's own arithmetic on the stored values in full."""
    images, numbers = batch
    assert images.shape == (BATCH, 1, SIZE, SIZE) and images.dtype == torch.float32
    expected = torch.stack([prepare(dataset[int(i)].stored, SIZE) for i in numbers])
    return float((images - expected).abs().max())


def compete(title: str, contestants: list[Contestant], config: pytest.Config) -> None:
    """All take turns, after one short round to get warm; the table is printed at the end."""
    run_rounds(contestants, 1, 0.2)
    for one in contestants:
        one.rates.clear()
        one.cores.clear()
    run_rounds(contestants, ROUNDS, SECONDS)
    config.stash.setdefault(RUNS, {})[title] = contestants
    for one in contestants:
        assert one.skipped or (len(one.rates) == ROUNDS and min(one.rates) > 0), one.name


def test_peers(ct_shards: Path, raw_shards: Path, peer_files: PeerFiles, request: pytest.FixtureRequest) -> None:
    """Everybody's pixels agree where the arithmetic is the same, and all take turns."""
    contestants: list[Contestant] = []
    with ExitStack() as stack:
        dataset = stack.enter_context(radload.open(raw_shards))
        for name, (start, package) in PEERS.items():  # first, because their workers are forks of this process
            peer = Contestant(name, "peer", skipped=missing(package))
            contestants.append(peer)
            if peer.skipped is None:
                batches = start(peer_files, SIZE, BATCH, CORES)
                peer.difference = difference(next(batches), dataset)
                assert peer.difference < SAME, f"{name} delivers other pixels"
                peer.turn = taking(batches, BATCH, READ_AHEAD * CORES, CORES)
        for name, (codec, resolution, same) in OURS.items():
            shards = raw_shards if codec == "raw" else ct_shards
            loader, batches = ours(shards, window=WINDOW, channels=1, resolution=resolution)
            stack.enter_context(loader)
            own = Contestant(name, "radload", taking(batches, BATCH, PREFETCH + 1), difference(next(batches), dataset))
            assert own.difference is not None and (not same or own.difference < SAME), f"{name} delivers other pixels"
            contestants.append(own)
        pool = stack.enter_context(ThreadPoolExecutor(CORES))
        contestants += limits(ct_shards, {"half level: decoding alone": "decode"}, pool)
        contestants += limits(raw_shards, {"raw: reading, CRC and kernel alone": "raw"}, pool)
        compete(FIRST_RUN, contestants, request.config)


def test_raw(raw_shards: Path, request: pytest.FixtureRequest) -> None:
    """The raw loader, and reading, CRC and kernel alone: into one batch, which stays in a cache, and into as many as the ring has."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(CORES))
        loader, batches = ours(raw_shards, window=WINDOW, channels=1)
        stack.enter_context(loader)
        assert next(batches)[0].shape == (BATCH, 1, SIZE, SIZE)
        ring = BATCH * (PREFETCH + 2)
        contestants = [
            *limits(raw_shards, {"reading, CRC and kernel alone": "raw"}, pool),
            Contestant("radload raw", "radload", taking(batches, BATCH, PREFETCH + 1)),
            *limits(raw_shards, {"the same, into a ring's batches": "raw"}, pool, outputs=ring),
        ]
        compete(RAW, contestants, request.config)


def test_training_defaults(ct_shards: Path, peer_files: PeerFiles, request: pytest.FixtureRequest) -> None:
    """As pretrain.py: three windows, crops, flips, window jitter; beside pydicom doing the same, and decoding the same mix of levels."""
    with ExitStack() as stack:
        batches = pydicom_training_loader(peer_files, SIZE, BATCH, CORES)
        loader, own = ours(ct_shards, augment="default", level_slack=CROP_SLACK)
        stack.enter_context(loader)
        for one in (batches, own):
            assert next(one)[0].shape == (BATCH, 3, SIZE, SIZE)
        pool = stack.enter_context(ThreadPoolExecutor(CORES))
        contestants = [
            Contestant("pydicom + DataLoader", "peer", taking(batches, BATCH, READ_AHEAD * CORES, CORES)),
            Contestant("radload HTJ2K, training", "radload", taking(own, BATCH, PREFETCH + 1)),
            *limits(ct_shards, {"decoding alone": "decode"}, pool, None, 3, "default", level_slack=CROP_SLACK),
        ]
        compete(TRAINING, contestants, request.config)


def test_more_of_one_decode(ct_shards: Path, request: pytest.FixtureRequest) -> None:
    """Three windows of the half level; two views of it, and two of default crops, in one window: beside decoding these levels alone."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(CORES))
        contestants = []
        views: dict[str, Any] = {"window": WINDOW, "channels": 1, "augment": "default", "views": 2}
        half = {
            "augment": radload.Augment(area=(0.5, 1.0)),
            "level_slack": 1.5,
        }  # no crop of 512 pixels then needs more than the half level
        for name, options, shape in (
            ("radload HTJ2K, half level, three windows", {"channels": 3}, (BATCH, 3, SIZE, SIZE)),
            ("radload HTJ2K, half level, two views", views | half, (2, BATCH, 1, SIZE, SIZE)),
            ("radload HTJ2K, two views", views, (2, BATCH, 1, SIZE, SIZE)),
        ):
            loader, batches = ours(ct_shards, **options)
            stack.enter_context(loader)
            assert next(batches)[0].shape == shape
            contestants.append(Contestant(name, "radload", taking(batches, BATCH, PREFETCH + 1)))
        contestants += limits(ct_shards, {"half level: decoding alone": "decode"}, pool)
        contestants += limits(ct_shards, {"two views: decoding alone": "decode"}, pool, WINDOW, 1, "default", 2)
        compete(MORE, contestants, request.config)
