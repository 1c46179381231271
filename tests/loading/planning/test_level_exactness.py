"""Promises of resolution levels through the whole loader: in full means bit-exact, a level lies where its pixels lie, and which one
is used follows from sample, crop, size and `level_slack` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from make import Image, Series, ct_slice, write_dataset
from numpy.typing import NDArray
from test_pixels import render_all, settings

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.loading import Loader
from radload.loading.planning.augment import Augment, geometry
from radload.loading.planning.levels import NARROW_HU, choose_levels
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.sources.slice import Units

SIZES = [(512, 512), (130, 97), (31, 57), (1, 1), (300, 64), (64, 300), (256, 256), (5, 400)]
# y = stored / 4096 of values stored as HU + 1024: without resampling every step is exact in float32.
EXACT: dict[str, Any] = {"window": (1024.0, 4096.0), "mean": 0.0, "std": 1.0, "channels": 1}


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.int16]]:
    return [ct_slice(i, *size) for i, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def shards(images: list[NDArray[np.int16]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same images in both codecs, all for training; and all for validation."""
    root = tmp_path_factory.mktemp("levels")
    found = {}
    for codec in ("htj2k", "raw"):
        packed = [Image(one, intercept=-1024.0, codec=codec) for one in images]
        found[codec] = write_dataset(root / codec, [Series(packed)])
    return found


def rendered(root: Path, size: tuple[int, int], **options: Any) -> NDArray[np.float32]:
    """All images by row, through the loader's own code without its process."""
    return render_all(root, settings(make_recipe(**EXACT), size, **options))[0]


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
@pytest.mark.parametrize("which", [0, 2, 3, 7], ids=lambda i: f"{SIZES[i][0]}x{SIZES[i][1]}")
def test_in_full_every_stored_integer_comes_back(
    shards: dict[str, Path], images: list[NDArray[np.int16]], codec: str, which: int
) -> None:
    """At the image's own size nothing is averaged: y * 4096 is the stored value, to the last bit, whatever the slack says."""
    found = rendered(shards[codec], SIZES[which], resolution="full", level_slack=8.0)
    np.testing.assert_array_equal(found[which, 0] * np.float32(4096), images[which].astype(np.float32))


@pytest.mark.parametrize("augment", [None, Augment(flip=True, window_jitter=0.0)])
def test_in_full_both_codecs_give_the_same_bits(shards: dict[str, Path], augment: Augment | None) -> None:
    """Also where images are cropped and resampled; with levels they differ, so this can fail. Window edges that are no binary
    fractions (jitter) are rounded in coded units, which differ by the bias: there the codecs agree to float32's rounding."""
    full = [rendered(shards[codec], (40, 56), resolution="full", augment=augment) for codec in ("htj2k", "raw")]
    assert full[0].tobytes() == full[1].tobytes()
    reduced = rendered(shards["htj2k"], (40, 56), augment=augment)
    assert np.abs(reduced - full[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("size", "level", "slack"), [(256, 0, 1.0), (128, 1, 1.0), (32, 3, 1.0), (128, 1, 1.6), (64, 2, 1.6)]
)
def test_a_level_lies_where_its_pixels_lie(tmp_path: Path, size: int, level: int, slack: float) -> None:
    """A ramp of 8 per pixel, drawn from a level: no value is further from its place than an eighth of a pixel of the image."""
    i, j = np.indices((256, 256))
    ramps = [(8 * i + 100).astype(np.uint16), (8 * j + 100).astype(np.uint16)]
    root = write_dataset(tmp_path / "d", [Series([Image(ramp) for ramp in ramps], "OT", Units.UNSPECIFIED)])
    side = int(size * slack)
    recipe = make_recipe((2048.0, 4096.0), 1, 0.0, 1.0)
    found, plan = render_all(root, settings(recipe, (side, side), level_slack=slack))
    assert plan.levels.tolist() == [level] * 2
    centres = (np.arange(side) + 0.5) * 256 / side
    want = 8 * (centres - 0.5) + 100
    inside = (centres > 2 * 2**level) & (
        centres < 256 - 2 * 2**level
    )  # the filter sees the image only: its ends lean inwards
    assert inside.sum() > 0.8 * side - 4
    for axis, image in enumerate(found[:, 0] * 4096):
        line = image.mean(axis=1 - axis)
        assert np.abs(line - want)[inside].max() < 1, "half a pixel of level 1 would be 4"


@pytest.fixture(scope="module")
def index(shards: dict[str, Path]) -> Index:
    return open_index(shards["htj2k"], read_manifest(shards["htj2k"]))


def planned(index: Index, rows: NDArray[np.int64], positions: NDArray[np.int64], **changes: Any) -> NDArray[np.int64]:
    values: dict[str, Any] = {"size": (48, 64), "recipe": make_recipe(), "dtype": "float32", "level_slack": 1.3}
    values |= {"resolution": "auto", "augment": "default", "seed": 9} | changes
    return Planner(index, Settings(**values)).plan(rows, changes.get("epoch", 2), positions).levels


@given(
    draws=st.lists(st.tuples(st.integers(0, len(SIZES) - 1), st.integers(0, 10_000)), min_size=1, max_size=12),
    slack=st.sampled_from([1.0, 1.25, 1.5, 2.0, 4.0]),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_the_level_follows_from_sample_crop_size_and_slack(
    index: Index, draws: list[tuple[int, int]], slack: float, size: tuple[int, int]
) -> None:
    """The same alone, among others, in another data type, under other (not narrow) windows; and by the rule from the crop alone."""
    rows, positions = (np.array(one, np.int64) for one in zip(*draws, strict=True))
    changes: dict[str, Any] = {"level_slack": slack, "size": size}
    levels = planned(index, rows, positions, **changes)
    assert planned(index, rows[::-1], positions[::-1], **changes)[::-1].tolist() == levels.tolist()
    alone = [planned(index, rows[i : i + 1], positions[i : i + 1], **changes)[0] for i in range(len(rows))]
    assert alone == levels.tolist()
    for other in ({"dtype": "bfloat16"}, {"recipe": make_recipe((30.0, 1.01 * NARROW_HU), 1)}, {"masks": True}):
        assert planned(index, rows, positions, **changes, **other).tolist() == levels.tolist()
    records = index.records[rows]
    boxes = geometry("default", records["rows"], records["cols"], 9, 2, positions).boxes
    never = np.zeros(len(rows), np.bool_)
    assert choose_levels(boxes, records["safe_levels"], never, size, slack).tolist() == levels.tolist()


@pytest.mark.parametrize(("world", "threads"), [(1, 3), (2, 2)])
def test_threads_and_ranks_change_no_bit_of_a_level(shards: dict[str, Path], world: int, threads: int) -> None:
    """Four levels in one batch, drawn by one thread alone and by several ranks of several threads."""
    options: dict[str, Any] = {"size": 48, "augment": "default", "seed": 5, "level_slack": 1.5}

    def draw(rank: int, ranks: int, count: int) -> dict[int, bytes]:
        with Loader(
            shards["htj2k"],
            batch_size=len(SIZES) // ranks,
            rank=rank,
            world_size=ranks,
            threads=count,
            **EXACT,
            **options,
        ) as loader:
            found = next(iter(loader))
        return {int(i): image.numpy().tobytes() for i, image in zip(found["index"], found["image"], strict=True)}

    parts = [draw(rank, world, threads) for rank in range(world)]
    assert {k: v for part in parts for k, v in part.items()} == draw(0, 1, 1)
