"""Every augmentation together: pixels are the reference's, and no thread, rank, batch size or neighbour in the batch changes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make import Image, Series, ct_slice, write_dataset
from numpy.typing import NDArray
from test_pixels import BONE, LUNG, SOFT, compare, exact, expected, moved, render_all, settings

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.errors import UsageError
from radload.kernels import reference
from radload.kernels.prepare import Voi
from radload.loading import Augment, Loader
from radload.loading.planning.plan import Planner
from radload.loading.planning.recipe import make_recipe
from radload.loading.planning.views import Views
from radload.sources.slice import Units, VoiFunction

ALL = Augment(flip=True, rotate=20, window_jitter=(0.2, 0.3), gamma=0.3, noise=0.1)


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
@pytest.mark.parametrize("mode", [{}, {"fit": "pad"}, {"spacing": (3.0, 3.0), "fit": "crop"}], ids=str)
def test_equals_the_reference(tmp_path: Path, codec: str, mode: dict[str, Any]) -> None:
    sizes = [(64, 64), (200, 160), (31, 57), (24, 20), (2, 3), (400, 330)]
    images = [Image(ct_slice(i, *size), intercept=-1024.0, codec=codec) for i, size in enumerate(sizes)]
    plan = compare(tmp_path, Series(images), make_recipe(), [LUNG, SOFT, BONE], augment=ALL, **mode)
    assert len(set(plan.levels.tolist())) > 1 or codec == "raw"
    assert (plan.samples["effects"] == 7).all()


def test_padding_and_inversion(tmp_path: Path) -> None:
    stored = ct_slice(3, 48, 48)
    stored[:9] = -2000
    images = [
        Image(stored, intercept=-1024.0, invert=invert, padding=(-2000, -2000), codec=codec)
        for invert in (False, True)
        for codec in ("htj2k", "raw")
    ]
    compare(tmp_path, Series(images), make_recipe(), [LUNG, SOFT, BONE], augment=ALL)


def test_the_file_s_own_windows_move_and_its_tables_do_not(tmp_path: Path) -> None:
    stored = ct_slice(1, 40, 36).astype(np.uint16)
    curve = [float(v) for v in np.linspace(0, 4095, 700).round()]
    hounsfield = [float(v) for v in np.linspace(-1000, 1500, 4096).round()]
    plain: dict[str, Any] = {"averaging": False, "intercept": -1024.0}
    images = [
        Image(stored, voi=VoiFunction.LINEAR, centre=50.0, width=350.0, **plain),
        Image(stored, voi=VoiFunction.SIGMOID, centre=50.0, width=350.0, **plain),
        Image(stored, voi=VoiFunction.LINEAR, centre=10.0, width=1.0, **plain),
        Image(stored, voi=VoiFunction.LUT, voi_lut=(-600, curve), **plain),
        Image(stored, modality_lut=(0, hounsfield), **plain),
    ]
    wanted = settings(make_recipe("file", 1), augment=ALL)
    found, plan = render_all(write_dataset(tmp_path / "d", [Series(images)]), wanted)
    kinds = [(Voi.LINEAR, 50.0, 350.0), (Voi.SIGMOID, 50.0, 350.0), (Voi.LINEAR, 10.0, 1.0)]
    for i, image in enumerate(images):
        if i < 3:
            window = moved([reference.Window(*kinds[i])], wanted, i)[0]
            windows = [reference.Window(window.function, window.centre, max(window.width, 1.0))]
            assert window.centre != image.centre
        elif i == 3:
            index = np.clip(np.arange(4096) - 1024 + 600, 0, 699)
            windows = [reference.Window(Voi.TABLE, table=np.array(curve)[index] / 4095, first=0)]
        else:
            y = reference.voi(np.array(hounsfield), Voi.LINEAR_EXACT, 0.0, 2000.0)  # the default's one CT channel
            windows = [reference.Window(Voi.TABLE, table=y, first=0)]
        want = expected(image, windows, plan, i, wanted.size)
        assert np.abs(found[i] - want).max() <= 4e-5, i


def test_other_types_and_colour(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    wide = (rng.integers(0, 3000, (40, 30)) + 2**30).astype(np.int32)
    compare(
        tmp_path,
        Series([Image(wide, intercept=-1024.0 - 2**30, codec="raw")]),
        make_recipe(),
        [LUNG, SOFT, BONE],
        augment=ALL,
    )
    (tmp_path / "us").mkdir()
    images = [Image(rng.integers(0, 256, (60, 50, 3)).astype(np.uint8), codec=c) for c in ("htj2k", "raw")]
    compare(
        tmp_path / "us", Series(images, "US", Units.UNSPECIFIED), make_recipe(), [exact(127.5, 255.0)] * 3, augment=ALL
    )


def test_a_batch_equals_its_samples(mixed_data: Path, ct_data: Path) -> None:
    for root in (mixed_data, ct_data):
        wanted = settings(make_recipe(), augment=ALL)
        whole, _ = render_all(root, wanted, epoch=3)
        for row in range(0, len(whole), 5):
            assert np.array_equal(render_all(root, wanted, [row], epoch=3)[0][0], whole[row])


def _epoch(root: Path, epoch: int = 0, **changes: Any) -> dict[int, NDArray[np.float32]]:
    """Position in the epoch -> image."""
    arguments: dict[str, Any] = {"size": 24, "seed": 4, "threads": 1, "augment": ALL, "epoch": epoch} | changes
    world, batch_size = arguments.pop("world", 1), arguments.pop("global_batch", 12)
    found = {}
    for rank in range(world):
        with Loader(root, batch_size=batch_size // world, rank=rank, world_size=world, **arguments) as loader:
            for step, batch in enumerate(loader):
                for i, image in enumerate(batch["image"].numpy().copy()):
                    found[step * batch_size + rank * (batch_size // world) + i] = image
    return found


@pytest.mark.parametrize(
    "change",
    [{"world": 2}, {"world": 4}, {"threads": 3}, {"global_batch": 24}, {"global_batch": 4, "prefetch": 1}],
    ids=str,
)
def test_nothing_but_the_draw_decides(ct_data: Path, change: dict[str, Any]) -> None:
    one, other = _epoch(ct_data), _epoch(ct_data, **change)
    both = one.keys() & other.keys()
    assert len(both) >= 24
    assert all(np.array_equal(one[p], other[p]) for p in both)


def test_epochs_and_seeds_draw_anew(ct_data: Path) -> None:
    wanted = settings(make_recipe(), augment=ALL)
    first, _ = render_all(ct_data, wanted)
    for found in (
        render_all(ct_data, wanted, epoch=1)[0],
        render_all(ct_data, settings(make_recipe(), augment=ALL, seed=5))[0],
        render_all(ct_data, wanted, positions=list(range(100, 137)))[0],
    ):
        assert all(not np.array_equal(a, b) for a, b in zip(first, found, strict=True))


def test_views_share_what_is_decoded_and_nothing_else(mixed_data: Path) -> None:
    """`pivot` is subtracted while decoding: it must be the same in every view and epoch, however the window moves."""
    planner = Planner(
        open_index(mixed_data, read_manifest(mixed_data)), settings(make_recipe(), augment=ALL, views=Views(2))
    )
    rows = np.arange(12)
    one, same, other = (planner.plan(rows, 0, rows, view) for view in (0, 0, 1))
    later = planner.plan(rows, 5, rows)
    assert np.array_equal(planner.plan(rows, 0, rows).samples, one.samples)
    assert np.array_equal(one.samples, same.samples) and np.array_equal(one.windows, same.windows)
    assert one.pivot.any() and np.array_equal(one.pivot, other.pivot) and np.array_equal(one.pivot, later.pivot)
    for name in ("top", "left", "sine", "gamma", "noise", "key_low"):
        assert (one.samples[name] != other.samples[name]).mean() > 0.8
    assert (one.windows["gain"] != other.windows["gain"]).all()


def test_a_state_holds_for_one_augmentation_only(ct_data: Path) -> None:
    arguments: dict[str, Any] = {"batch_size": 6, "size": 16, "threads": 1}
    with Loader(ct_data, augment=ALL, **arguments) as loader:
        next(iter(loader))
        state = loader.state_dict()
    with Loader(ct_data, augment=ALL, **arguments) as again:
        again.load_state_dict(state)
        assert torch.isfinite(next(iter(again))["image"]).all()
    for other in (None, "default", Augment(flip=True)):
        with Loader(ct_data, augment=other, **arguments) as loader, pytest.raises(UsageError, match="same augment"):
            loader.load_state_dict(state)
