"""Pixels under every fit: those of the reference, round things stay round, and what is no image is the window's floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make import Image, Series, ct_slice, write_dataset
from numpy.typing import NDArray
from test_pixels import BONE, LUNG, SOFT, STD, compare, render_all, settings

from radload.loading.planning.recipe import make_recipe
from radload.sources.slice import Units

FLOOR = (0 - 0.5) / STD
MODES: list[dict[str, Any]] = [
    {"fit": "pad"}, {"fit": "crop"}, {"fit": "pad", "spacing": (1.5, 1.5)}, {"fit": "crop", "spacing": (0.3, 4.0)},
]  # fmt: skip


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
@pytest.mark.parametrize("augment", [None, "default"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_equals_the_reference(tmp_path: Path, mode: dict[str, Any], augment: str | None, codec: str) -> None:
    sizes = [(64, 64), (200, 160), (31, 57), (24, 20), (1, 1), (400, 330), (1, 300), (500, 7)]
    steps = [(0.5, 0.5), (0.7, 1.4), (3.0, 0.8), (np.nan, np.nan)]
    images = [
        Image(ct_slice(i, *size), intercept=-1024.0, codec=codec, spacing=steps[i % 4], ratio=i == 5, invert=i == 1)
        for i, size in enumerate(sizes)
    ]
    plan = compare(tmp_path, Series(images), make_recipe(), [LUNG, SOFT, BONE], augment=augment, **mode)
    assert len(set(plan.levels.tolist())) > 1 or codec == "raw"
    beyond = (plan.samples["row_first"] > 0) | (plan.samples["col_first"] > 0)
    assert beyond.any() or mode == {"fit": "crop"}


def test_the_largest_side(tmp_path: Path) -> None:
    images = [
        Image(np.resize(np.arange(1500, dtype=np.int16), shape), intercept=-1024.0) for shape in ((8192, 9), (9, 8192))
    ]
    for mode in MODES:
        (tmp_path / str(mode)).mkdir()
        compare(tmp_path / str(mode), Series(images), make_recipe("soft_tissue", 1), [SOFT], **mode)


def disc(rows: int, cols: int, step: tuple[float, float], diameter: float) -> NDArray[np.int16]:
    """A bright disc of a diameter in mm in the middle of a dark image of pixels of `step` mm."""
    y = (np.arange(rows) + 0.5 - rows / 2) * step[0]
    x = (np.arange(cols) + 0.5 - cols / 2) * step[1]
    return np.where(np.hypot(y[:, None], x[None, :]) < diameter / 2, 1000, 0).astype(np.int16)


def extent(image: NDArray[np.float32]) -> tuple[float, float]:
    """Height and width of the disc in output pixels, from the profiles through its middle."""
    y = image[0] * STD + 0.5
    rows, cols = y.shape
    return float(y[:, cols // 2 - 1 : cols // 2 + 1].mean(axis=1).sum()), float(
        y[rows // 2 - 1 : rows // 2 + 1].mean(axis=0).sum()
    )


@pytest.mark.parametrize("ratio", [False, True])
def test_round_things_stay_round(tmp_path: Path, ratio: bool) -> None:
    """A disc of 60 mm in pixels of 0.4 x 1.2 mm, 300 x 150 of them: 120 x 180 mm."""
    step = (0.4, 1.2)
    image = Image(disc(300, 150, step, 60), spacing=step, ratio=ratio)
    root = write_dataset(tmp_path / "d", [Series([image], "MR", Units.UNSPECIFIED)])
    want = {
        ("stretch", None): (48.0, 32.0),  # 96 pixels show 120 mm one way and 180 mm the other
        ("pad", None): (32.0, 32.0),
        ("crop", None): (48.0, 48.0),
        ("pad", (1.0, 1.0)): (32.0, 32.0) if ratio else (60.0, 60.0),
        ("crop", (2.0, 0.9)): (48.0, 48.0) if ratio else (30.0, 60 / 0.9),
    }
    for (fit, spacing), (height, width) in want.items():
        found, _ = render_all(root, settings(make_recipe((500.0, 1000.0), 1), (96, 96), fit=fit, spacing=spacing))
        assert np.allclose(extent(found[0]), (height, width), atol=1.5), (fit, spacing)


@pytest.mark.parametrize("invert", [False, True])
def test_outside_the_image_is_the_floor(tmp_path: Path, invert: bool) -> None:
    """Black for MONOCHROME1 too, where the lowest value is white; and where the image lies, nothing of it is lost."""
    image = Image(np.full((60, 30), -1000, np.int16), invert=invert)
    root = write_dataset(tmp_path / "d", [Series([image])])
    found, _ = render_all(root, settings(make_recipe("soft_tissue", 1), (40, 40), fit="pad"))
    assert (found[0, 0, :, :10] == FLOOR).all() and (found[0, 0, :, 30:] == FLOOR).all()
    assert np.allclose(found[0, 0, :, 10:30], (float(invert) - 0.5) / STD)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_padding_is_the_floor_whatever_level_is_decoded(tmp_path: Path, invert: bool, slope: float) -> None:
    """Padding below all values is averaged with the image in a level; the line between them never gets bright."""
    stored = np.full((128, 128), 60, np.int16)
    y, x = np.mgrid[:128, :128] - 63.5
    outside = np.hypot(y, x) > 50
    stored[outside] = -2000
    image = Image(stored, slope=slope, invert=invert, padding=(-2000, -2000))
    root = write_dataset(tmp_path / "d", [Series([image])])
    window = make_recipe((40.0 * slope, 400.0), 1)
    fine, _ = render_all(root, settings(window, (32, 32), resolution="full"))
    found, plan = render_all(root, settings(window, (32, 32)))
    assert plan.levels[0] == (2 if invert == (slope < 0) else 0)
    clear = fine[0, 0] == FLOOR  # no output here has an image pixel under its filter
    assert clear.sum() > 200
    assert (found[0, 0][clear] == FLOOR).all()
    assert np.isclose(found[0, 0, 16, 16], fine[0, 0, 16, 16], atol=1e-5)


def test_a_batch_equals_its_samples(tmp_path: Path) -> None:
    images = [
        Image(ct_slice(i, 40 + 9 * i, 90 - 8 * i), intercept=-1024.0, spacing=(0.5, 0.3 + i / 5), ratio=i % 2 == 1)
        for i in range(6)
    ]
    root = write_dataset(tmp_path / "d", [Series(images)])
    for mode in MODES:
        wanted = settings(make_recipe(), augment="default", **mode)
        whole, _ = render_all(root, wanted, epoch=3)
        for row in range(6):
            assert np.array_equal(render_all(root, wanted, [row], epoch=3)[0][0], whole[row])
