"""flip="auto" mirrors only slices of symmetric or paired parts of the body of which nothing states a side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make import Image, Series, ct_slice, write_dataset
from test_pixels import settings

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.loading import Augment, Loader
from radload.loading.planning.mirror import SYMMETRIC, Mirrors
from radload.loading.planning.plan import Planner
from radload.loading.planning.recipe import make_recipe
from radload.pack.terms import BODY_PARTS

# modality, body part, (laterality, view) of the images, whether it may be mirrored
KINDS = [
    ("CT", "HEAD", [(None, None)] * 3, True),
    ("MR", "KNEE", [(None, None)] * 2, True),
    ("MR", "KNEE", [(None, None), ("L", None), (None, None)], False),
    ("MR", "KNEE", [("R", None)] * 2, False),
    ("PT", "PELVIS", [("U", None), ("B", None)], True),
    ("CT", "CHEST", [(None, None)] * 2, False),
    ("CT", "ABDOMEN", [(None, None)], False),
    ("MR", "BREAST", [("B", None)], False),
    ("CT", None, [(None, None)], False),
    ("DX", "KNEE", [(None, None)], False),
    ("CR", "HAND", [("L", "PA")], False),
    ("US", "NECK", [(None, None)], False),
    ("CT", "SKULL", [(None, "AP"), (None, None)], False),
    ("MR", "BRAIN", [(None, None)] * 2, True),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    series = [
        Series(
            [Image(ct_slice(i, 24, 20), intercept=-1024.0, laterality=side, view=view) for side, view in images],
            modality,
            body_part=part,
            split="val" if i % 3 == 2 else "train",  # so that the index has several pieces
        )
        for i, (modality, part, images, _) in enumerate(KINDS)
    ]
    return write_dataset(tmp_path_factory.mktemp("mirror") / "d", series)


def test_the_rule(data: Path) -> None:
    index = open_index(data, read_manifest(data))
    numbers = [int(text[1:]) for text in index.table("series").column("pseudonym").to_pylist()]
    want = np.array([KINDS[number][3] for number in numbers])
    for _ in range(2):  # looked up, and remembered
        mirrors = Mirrors(index)
        assert np.array_equal(mirrors.allowed(np.arange(len(want))), want)
        assert np.array_equal(mirrors.allowed(index.records["series"]), want[index.records["series"]])


def test_the_planner_follows_it(data: Path) -> None:
    index = open_index(data, read_manifest(data))
    may = Mirrors(index).allowed(index.records["series"])
    rows = np.tile(np.arange(len(index.records)), 20)
    positions = np.arange(len(rows))
    flipped = {}
    for name, augment, masks in (
        ("auto", "default", False), ("yes", Augment(flip=True), False), ("no", Augment(flip=False), False), ("masks", "default", True),
    ):  # fmt: skip
        planner = Planner(index, settings(make_recipe(), augment=augment, masks=masks))
        flipped[name] = planner.plan(rows, 0, positions).samples["flip"] != 0
    assert np.array_equal(flipped["auto"], flipped["yes"] & np.tile(may, 20))
    assert 0.4 < flipped["yes"].mean() < 0.6 and flipped["auto"].any()
    assert not flipped["no"].any() and not flipped["masks"].any()


def test_a_loader_mirrors_as_its_plan_says(data: Path) -> None:
    with Loader(
        data,
        None,
        batch_size=8,
        size=16,
        threads=1,
        window=(-300.0, 1000.0),
        augment=Augment(area=(1, 1), window_jitter=0),
    ) as loader:
        found = list(loader)
    with Loader(data, None, batch_size=8, size=16, threads=1, window=(-300.0, 1000.0)) as loader:
        plain = list(loader)
    index = open_index(data, read_manifest(data))
    may = Mirrors(index).allowed(index.records["series"])
    mirrored = 0
    for one, other in zip(found, plain, strict=True):
        assert one["index"].equal(other["index"])
        for row, image, upright in zip(
            one["index"].tolist(), one["image"].numpy(), other["image"].numpy(), strict=True
        ):
            same = np.abs(image - upright).max() < 1e-5
            assert same or (may[row] and np.abs(image - upright[:, :, ::-1]).max() < 1e-5)
            mirrored += not same
    assert mirrored


def test_names_are_the_standard_s() -> None:
    assert SYMMETRIC < BODY_PARTS
