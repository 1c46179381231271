"""A series as an array: values in order, and an affine that leads each voxel to its place in the patient, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make import Image, Series, write_dataset

import radload
from radload.dataset import Volume
from radload.errors import UsageError
from radload.sources.slice import Units

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TURNED = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)  # an oblique coronal plane
RNG = np.random.default_rng(6)


def slices(positions: Any, orientation: Any, ratio: bool = False) -> list[Image]:
    """6 x 9 pixels of 0.5 x 0.75 mm at each of `positions`."""
    return [
        Image(
            RNG.integers(-1000, 2000, (6, 9)).astype(np.int16),
            slope=2.0,
            intercept=-24.0,
            spacing=(0.5, 0.75),
            position=position,
            orientation=orientation,
            ratio=ratio,
        )
        for position in positions
    ]


def volume(folder: Path, images: list[Image], **options: Any) -> Volume:
    root = write_dataset(folder / "d", [Series(slices([None], None)), Series(images)])
    with radload.open(root) as dataset:
        return dataset.volume(1, **options)


def test_values_in_order(tmp_path: Path) -> None:
    images = slices([(0.0, 0.0, float(z)) for z in range(4)], AXIAL)
    found = volume(tmp_path, images)
    stored = np.stack([image.stored for image in images])
    assert found.values.dtype == np.float32 and np.array_equal(found.values, stored * 2.0 - 24.0)
    assert found.rows == range(1, 5)
    again = volume(tmp_path / "again", images, modality=False)
    assert again.values.dtype == np.int16 and np.array_equal(again.values, stored)


@pytest.mark.parametrize("orientation", [AXIAL, TURNED])
@pytest.mark.parametrize("shift", [(-1.2, 1.6, 1.5), (0.3, -0.4, 2.5), (1.5, -2.0, 0.1)])
def test_the_affine_is_the_standard_s(
    tmp_path: Path, orientation: tuple[float, ...], shift: tuple[float, float, float]
) -> None:
    """PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, voxel by voxel; for a tilted gantry too."""
    origins = np.array([10.0, -20.0, 5.0]) + np.arange(5)[:, None] * np.array(shift)
    found = volume(tmp_path, slices([tuple(map(float, o)) for o in origins], orientation))
    assert found.affine is not None and found.spacing is not None
    assert np.allclose(found.spacing, (np.linalg.norm(shift), 0.5, 0.75)) and np.array_equal(found.positions, origins)
    for k, i, j in [(0, 0, 0), (4, 0, 0), (2, 5, 0), (3, 0, 8), (4, 5, 8)]:
        want = origins[k] + np.array(orientation[:3]) * 0.75 * j + np.array(orientation[3:]) * 0.5 * i
        assert np.allclose(found.affine @ (k, i, j, 1), [*want, 1])


@pytest.mark.parametrize(
    "images",
    [
        slices([None, None], None),
        slices([(0.0, 0.0, 0.0)], AXIAL),
        slices([(0.0, 0.0, z) for z in (0.0, 1.0, 3.0)], AXIAL),
        slices([(0.0, 0.0, z) for z in (0.0, 0.0)], AXIAL),
        slices([(0.0, y, 0.0) for y in (0.0, 50.0)], AXIAL),
        slices([(0.0, 0.0, z) for z in (0.0, 1.0)], AXIAL, ratio=True),
    ],
    ids=["unknown", "one slice", "a gap", "one place", "one plane", "a ratio"],
)
def test_no_affine_where_there_is_none(tmp_path: Path, images: list[Image]) -> None:
    found = volume(tmp_path, images)
    assert found.affine is None and found.spacing is None and len(found.values) == len(images)


def test_several_stacks_are_chosen_from(tmp_path: Path) -> None:
    images = slices([(0.0, 0.0, float(z)) for z in range(3)], AXIAL) + slices(
        [(0.0, 1.0, 0.0), (0.0, 4.0, 0.0)], TURNED
    )
    with pytest.raises(
        UsageError, match=r"series 1 has several orientations or phases, in 2 stacks of 3, 2 slices: choose"
    ):
        volume(tmp_path, images)
    found = volume(tmp_path / "again", images, stack=1, modality=False)
    assert found.rows == range(4, 6) and np.array_equal(found.values, np.stack([i.stored for i in images[3:]]))
    with pytest.raises(UsageError, match="no stack 2: it has 2, 0 to 1"):
        volume(tmp_path / "more", images, stack=2)


def test_shapes_that_differ_are_said(tmp_path: Path) -> None:
    images = [Image(np.zeros(shape, np.int16)) for shape in ((4, 5), (4, 6))]
    with pytest.raises(UsageError, match=r"images of 2 shapes, in 2 stacks of 1, 1 slices"):
        volume(tmp_path, images)


def test_grey_and_coloured_slices_make_no_array(tmp_path: Path) -> None:
    images = [Image(np.zeros(shape, np.uint8)) for shape in ((4, 5), (4, 5, 3))]
    with pytest.raises(UsageError, match="series 1 has grey slices and coloured ones"):
        volume(tmp_path, images)


def test_colour_and_lost_series(tmp_path: Path) -> None:
    images = [Image(RNG.integers(0, 256, (4, 5, 3)).astype(np.uint8)) for _ in range(3)]
    root = write_dataset(tmp_path / "d", [Series(images, "US", Units.DISPLAY)])
    with radload.open(root) as dataset:
        assert dataset.volume(0, modality=False).values.shape == (3, 4, 5, 3)
        with pytest.raises(UsageError, match="there is no series 1"):
            dataset.volume(1)
