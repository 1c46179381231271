"""The mask kernel equals reference.render_mask in every pixel: all types, crops inside and beyond the image, flips, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radload.kernels import masks, prepare, reference
from radload.kernels.prepare import FLIP_HORIZONTAL, FLIP_VERTICAL

Box = tuple[float, float, float, float]


def rendered(
    mask: np.ndarray, size: tuple[int, int], crop: Box | None, flip: tuple[bool, bool], angle: float = 0.0
) -> np.ndarray:
    code = flip[0] * FLIP_HORIZONTAL + flip[1] * FLIP_VERTICAL
    out = np.full(size, -9, np.int32)
    masks.render_mask_into(mask, prepare.samples(*mask.shape, crop=crop, flip=code, size=size, angle=angle), out)
    return out


def random_box(rng: np.random.Generator, shape: tuple[int, int]) -> Box:
    """Overlaps the image; half of the numbers are thirds and halves of pixels, so that centres fall on borders."""
    extent = np.array(shape) * 10.0 ** rng.uniform(-1.5, 1.5, 2)
    if rng.random() < 0.5:
        extent = np.maximum(np.rint(extent), 1) / rng.choice([1, 2, 3])
    lowest = -extent * 0.99
    start = lowest + (np.array(shape) * 0.99 - lowest) * rng.random(2)
    if rng.random() < 0.5:
        start = np.clip(np.rint(start * 2) / 2, lowest, np.array(shape) * 0.99)
    return float(start[0]), float(start[1]), float(extent[0]), float(extent[1])


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 2**32 - 1))
def test_equals_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, rng.choice([3, 40, 300]), 2))
    dtype = masks.DTYPES[rng.integers(len(masks.DTYPES))]
    mask = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    crop = None if rng.random() < 0.2 else random_box(rng, (shape[0], shape[1]))
    flip = (bool(rng.random() < 0.5), bool(rng.random() < 0.5))
    size = (int(rng.integers(1, 70)), int(rng.integers(1, 70)))
    angle = float(rng.choice([0.0, 0.0, rng.uniform(-180, 180), rng.normal(0, 8), 90.0, -90.0, 180.0, 45.0]))
    assert np.array_equal(
        rendered(mask, size, crop, flip, angle), reference.render_mask(mask, size, crop=crop, flip=flip, angle=angle)
    )


def test_a_read_only_mask_and_the_largest_image() -> None:
    mask = np.frombuffer(np.random.default_rng(0).bytes(8192 * 8192), np.uint8).reshape(8192, 8192)
    crop = (-100.5, 3000.25, 9000.0, 17.0)
    assert np.array_equal(
        rendered(mask, (224, 224), crop, (True, False)),
        reference.render_mask(mask, (224, 224), crop=crop, flip=(True, False)),
    )


def test_a_mask_lies_where_its_image_lies() -> None:
    """Of a step between two areas, mask and image show the same side in every output that the border does not touch."""
    for crop, angle in (
        ((0, 0, 40, 40), 0),
        ((-13, 3.5, 60, 50), 0),
        ((4.2, 8.9, 20.5, 11.0), 0),
        ((-13, 3.5, 60, 50), 25.0),
    ):
        image = np.zeros((40, 40))
        image[11:29, 15:33] = 1
        window = reference.Window(prepare.Voi.LINEAR_EXACT, 0.5, 1.0)
        shown = reference.render(image, [window], (64, 48), crop=crop, angle=angle)[0]
        label = rendered(image.astype(np.uint8), (64, 48), crop, (False, False), angle)
        clear = (shown < 0.01) | (shown > 0.99)
        assert clear.mean() > 0.5
        assert np.array_equal(label[clear], (shown[clear] > 0.5).astype(np.int32))


def test_arrays_that_would_be_overrun_are_refused() -> None:
    mask, sample, out = np.zeros((8, 6), np.uint8), prepare.samples(8, 6), np.zeros((4, 4), np.int32)
    masks.render_mask_into(mask, sample, out)
    for bad in (mask.T, mask[:, ::2], mask.astype(np.int64), mask[:7].copy(), mask[None]):
        with pytest.raises(ValueError, match="mask"):
            masks.render_mask_into(bad, sample, out)
    with pytest.raises(ValueError, match="sample"):
        masks.render_mask_into(mask, np.repeat(sample, 2), out)
    for wrong in (out[:, ::2], out.astype(np.int64), out[:0]):
        with pytest.raises(ValueError, match="out"):
            masks.render_mask_into(mask, sample, wrong)
