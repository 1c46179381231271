"""Masks lie where their images lie: exactly the reference's nearest neighbour, absent as -1, and a damaged one costs its sample."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make import Image, Series, ct_slice, rewrite, write_dataset
from numpy.typing import NDArray
from test_pixels import settings

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import FormatError, UsageError
from radload.kernels import reference
from radload.loading import Augment, Loader, streams
from radload.loading.fields import base_fields
from radload.loading.masks import FIELD
from radload.loading.planning.plan import Planner
from radload.loading.planning.recipe import make_recipe
from radload.loading.ring import Layout

SIZE = (24, 20)
SHAPES = [(64, 64), (200, 160), (31, 57), (1, 1), (96, 40), (64, 300)]
WITHOUT = (2, 9)  # rows that have no mask
MODES: list[dict[str, Any]] = [
    {}, {"augment": "default"}, {"fit": "pad", "augment": "default"}, {"fit": "crop"}, {"fit": "pad", "spacing": 2.0},
    {"spacing": (0.7, 0.2), "augment": "default"}, {"augment": Augment(flip=True, rotate=30)},
    {"fit": "pad", "spacing": 1.5, "augment": Augment(flip=True, rotate=180)},
]  # fmt: skip


def masks() -> list[NDArray[Any] | None]:
    rng = np.random.default_rng(2)
    found: list[NDArray[Any] | None] = []
    for row in range(12):
        dtype, top = (np.uint8, 255) if row % 2 else (np.uint16, 65_535)
        label = rng.integers(0, top, SHAPES[row % 6], dtype, endpoint=True)
        label[0, 0] = top
        found.append(None if row in WITHOUT else label)
    return found


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = [
        Image(
            ct_slice(i, *SHAPES[i % 6]), intercept=-1024.0, spacing=(0.8, 1.3), mask=mask, codec=("htj2k", "raw")[i % 2]
        )
        for i, mask in enumerate(masks())
    ]
    return write_dataset(tmp_path_factory.mktemp("masks") / "d", [Series(images[:6]), Series(images[6:])])


def load(root: Path, split: str = "train", **changes: Any) -> Loader:
    return Loader(root, split, **({"size": SIZE, "threads": 2, "seed": 4, "batch_size": 4, "masks": True} | changes))


def wanted(root: Path, rows: list[int], positions: list[int], mode: dict[str, Any]) -> NDArray[np.int32]:
    """What the reference makes of the masks, under the plan's crop and flip."""
    spacing = mode.get("spacing")
    changed = {**mode, "spacing": (spacing, spacing) if isinstance(spacing, float) else spacing}
    if spacing is not None:
        changed.setdefault("fit", "pad")
    planner = Planner(open_index(root, read_manifest(root)), settings(make_recipe(), SIZE, **changed))
    samples = planner.plan(np.array(rows), 0, np.array(positions)).samples
    result = np.full((len(rows), *SIZE), -1, np.int32)
    for i, row in enumerate(rows):
        mask, s = masks()[row], samples[i]
        if mask is not None:
            crop = (float(s["top"]), float(s["left"]), float(s["height"]), float(s["width"]))
            angle = math.degrees(math.atan2(s["sine"], s["cosine"]))
            result[i] = reference.render_mask(mask, SIZE, crop=crop, flip=(bool(s["flip"]), False), angle=angle)
    return result


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_masks_are_the_reference_s(masked: Path, mode: dict[str, Any]) -> None:
    seen: list[int] = []
    with load(masked, **mode) as loader:
        for step, batch in enumerate(loader):
            rows = batch["index"].tolist()
            assert batch["mask"].dtype == torch.int32
            assert np.array_equal(
                batch["mask"].numpy(), wanted(masked, rows, list(range(4 * step, 4 * step + 4)), mode)
            )
            seen += rows
    assert sorted(seen) == list(range(12))


def test_images_are_the_same_with_and_without_masks(masked: Path) -> None:
    with (
        load(masked, augment="default", dtype="bfloat16") as one,
        load(masked, augment="default", dtype="bfloat16", masks=False) as other,
    ):
        for left, right in zip(one, other, strict=True):
            assert torch.equal(left["image"], right["image"]) and "mask" not in right


def test_batches_may_be_kept_in_part(masked: Path) -> None:
    """A slot is used again only when both of its tensors are gone."""
    with load(masked, prefetch=1, batch_size=2) as loader:
        kept: list[torch.Tensor] = []
        for epoch in range(4):
            kept += [batch[("image", "mask")[epoch % 2]] for batch in loader]
        copies = [k.clone() for k in kept]
        for _ in range(3):
            list(loader)
        assert all(torch.equal(k, c) for k, c in zip(kept, copies, strict=True))


def test_evaluation_pads_with_minus_one(masked: Path) -> None:
    with load(masked, batch_size=5, shuffle=False, drop_last=False) as loader:
        batches = list(loader)
    last = batches[-1]
    assert last["valid"].tolist() == [True, True, False, False, False]
    assert (last["mask"][2:] == -1).all() and (last["mask"][:2] != -1).all()


def copy_with(masked: Path, tmp_path: Path) -> Path:
    import shutil

    root = tmp_path / "copy"
    shutil.copytree(masked, root)
    return root


def flip_mask_byte(root: Path, row: int) -> None:
    index = open_index(root, read_manifest(root))
    assert index.masks is not None
    with (root / index.shard_names[0]).open("r+b") as file:
        file.seek(int(index.masks["offset"][row]) + int(index.masks["length"][row]) - 1)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def test_a_damaged_mask_costs_its_sample(masked: Path, tmp_path: Path) -> None:
    root = copy_with(masked, tmp_path)
    flip_mask_byte(root, 4)
    with load(root) as loader:
        rows = torch.cat([batch["index"] for batch in loader]).tolist()
        assert len(rows) == 12 and 4 not in rows
        assert [f.key for f in loader.failures] == ["000000000004"] and "mask" in loader.failures[0].reason
    with load(root, shuffle=False, drop_last=False) as loader:
        batches = list(loader)
        assert torch.cat([b["valid"] for b in batches]).tolist() == [row != 4 for row in range(12)]
        assert (batches[1]["mask"][0] == -1).all() and (batches[1]["image"][0] == 0).all()
    with load(root, masks=False) as loader:
        assert 4 in torch.cat([batch["index"] for batch in loader]).tolist(), "who wants no masks reads none"


def test_a_mask_of_another_size_is_damage(masked: Path, tmp_path: Path) -> None:
    root = copy_with(masked, tmp_path)
    records = open_index(root, read_manifest(root)).masks
    assert records is not None
    swapped = records.copy()
    swapped[0] = records[1]
    rewrite(root, "masks.bin", swapped.tobytes())
    with load(root) as loader:
        list(loader)
        assert [f.key for f in loader.failures] == ["000000000000"] and "where the sample is" in loader.failures[
            0
        ].reason
    rewrite(root, "masks.bin", swapped[:5].tobytes())
    with pytest.raises(FormatError, match=r"masks\.bin has 5 records for 12 samples"):
        load(root)


def test_a_data_set_without_masks_is_refused_in_words(ct_data: Path) -> None:
    with pytest.raises(UsageError, match="has no masks"):
        load(ct_data)
    with load(ct_data, masks=False) as loader:
        assert "mask" not in next(iter(loader))


def test_the_gpu_s_slot_has_the_same_masks(masked: Path) -> None:
    index = open_index(masked, read_manifest(masked))
    mode = {"fit": "pad", "augment": "default"}
    planned = settings(make_recipe(), SIZE, masks=True, **mode)
    planner = Planner(index, planned)
    layout = Layout.of({**streams.fields(13, 3, streams.capacities(index, range(12))), **base_fields(13, planned)})
    arrays = layout.arrays(np.zeros(layout.size, np.uint8), 0)
    rows = np.arange(12)
    with ShardFiles(masked, index.shard_names) as files:
        deliverer = streams.StreamDeliverer(files, planner, range(12), replace=False)
        plan = planner.plan(rows, 0, rows)
        deliverer.begin(arrays, plan, rows)
        for row in rows:
            deliverer.deliver(arrays, int(row), plan, int(row), 0, int(row), None)
    assert np.array_equal(arrays[FIELD][:12], wanted(masked, rows.tolist(), rows.tolist(), mode))
    assert (arrays[FIELD][12] == -1).all()


def test_a_mask_lies_on_its_image(tmp_path: Path) -> None:
    """A bright square and its mask, decoded at a lower level, cropped, flipped and turned: they cover the same outputs but for the rim."""
    images = []
    for i in range(8):
        stored = np.zeros((256, 200), np.int16)
        stored[40 + 9 * i : 150 + 9 * i, 30 + 5 * i : 120 + 5 * i] = 1000
        images.append(Image(stored, spacing=(0.5, 0.8), mask=(stored > 0).astype(np.uint8)))
    root = write_dataset(tmp_path / "d", [Series(images, "MR")])
    augment = Augment(flip=True, rotate=40, window_jitter=0)
    with load(root, batch_size=8, fit="pad", augment=augment, window=(500.0, 1000.0), channels=1, size=64) as loader:
        batch = next(iter(loader))
    y = batch["image"][:, 0] * 0.25 + 0.5
    clear = (y < 0.02) | (y > 0.98)
    assert clear.float().mean() > 0.8
    assert ((y > 0.5) == (batch["mask"] == 1))[clear].all()
