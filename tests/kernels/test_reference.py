"""reference.py is the definition, so it is held to what others define: DICOM's windows, torch's antialiased resize, and plain geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from radload.kernels import reference
from radload.kernels.prepare import Voi
from radload.kernels.reference import Window
from radload.sources.slice import VoiFunction

IDENTITY = Window(Voi.LINEAR_EXACT, 0.5, 1.0)  # y = value on [0, 1]


def test_codes_are_those_of_the_sources() -> None:
    pairs = {"LINEAR": "LINEAR", "LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID", "LUT": "TABLE"}
    assert all(VoiFunction[a] == Voi[b] for a, b in pairs.items())


def test_linear_is_ps3_3_c_11_2_1_2_1() -> None:
    """Worked by hand from the standard's formula for centre 40, width 400: floor at -160, ceiling above 239, 399 steps between."""
    x = np.array([-1000, -160, -159, 40, 239, 240, 1000])
    assert np.allclose(reference.voi(x, Voi.LINEAR, 40, 400), [0, 0, 1 / 399, 200 / 399, 1, 1, 1], atol=1e-15)
    # the standard's own notes: c=2048 w=4096 maps 0..4095 to the whole range; c=0 w=100 maps -50..49; c=0 w=1: below 0 black, else white
    assert np.allclose(reference.voi([0, 4095], Voi.LINEAR, 2048, 4096), [0, 1], atol=1e-15)
    assert np.allclose(reference.voi([-50, 49], Voi.LINEAR, 0, 100), [0, 1], atol=1e-15)
    assert reference.voi([-1, -0.5, 0, 1], Voi.LINEAR, 0, 1).tolist() == [0, 0, 1, 1]


def test_linear_exact_and_sigmoid() -> None:
    assert reference.voi([0, 1024, 2048, 4096, 5000], Voi.LINEAR_EXACT, 2048, 4096).tolist() == [0, 0.25, 0.5, 1, 1]
    assert np.allclose(
        reference.voi([-100, 0, 100], Voi.SIGMOID, 0, 400), [1 / (1 + np.e), 0.5, np.e / (1 + np.e)], atol=1e-15
    )
    assert reference.voi([-1e9, 1e9], Voi.SIGMOID, 0, 1e-3) == pytest.approx([0, 1], abs=1e-300)


@pytest.mark.parametrize(
    ("function", "width"), [(Voi.LINEAR, 0.5), (Voi.LINEAR_EXACT, 0), (Voi.SIGMOID, -1), (Voi.LINEAR, np.nan)]
)
def test_width_out_of_range(function: Voi, width: float) -> None:
    with pytest.raises(ValueError, match="width"):
        reference.voi(0, function, 0, width)


def torch_antialias(image: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """torch's own resize; an output one column wide is asked for transposed.

    torch 2.15.0 on the CPU repeats the first row in every row of such an output: [[0.8], [0]] to (3, 1) is 0.8, 0.8, 0.8, where its
    transpose, its antialias=False and the same column stored twice all give 0.8, 0.4, 0.
    """
    if width == 1 and height > 1:
        return torch_antialias(image.T, width, height).T
    tensor = torch.from_numpy(image.copy())[None, None]
    return np.asarray(interpolate(tensor, size=(height, width), mode="bilinear", antialias=True)[0, 0].numpy())


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 80), st.integers(1, 80), st.integers(1, 60), st.integers(1, 60), st.randoms(use_true_random=False)
)
def test_level_0_is_torch_antialias(rows: int, cols: int, height: int, width: int, random: object) -> None:
    y0, x0 = random.randrange(rows), random.randrange(cols)  # type: ignore[attr-defined]
    ch, cw = random.randint(1, rows - y0), random.randint(1, cols - x0)  # type: ignore[attr-defined]
    image = np.random.default_rng(rows * 81 + cols).random((rows, cols))
    want = torch_antialias(image[y0 : y0 + ch, x0 : x0 + cw], height, width)
    got = reference.render(image, [IDENTITY], (height, width), crop=(y0, x0, ch, cw))[0]
    assert np.abs(got - want).max() < 1e-12


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("crop", [(0, 256), (32, 128), (17.25, 200.5)])
def test_level_samples_lie_at_multiples_of_two_to_the_level(level: int, crop: tuple[float, float]) -> None:
    """A ramp stays the same ramp at every level, if the resampler knows where the level's samples lie. Block centres would be off."""
    full, step = 256, 2**level
    start, extent = crop
    ramp = np.arange(full, dtype=np.float64) / full  # pixel j has the value of its centre j + 0.5, less 0.5 / full
    coded = np.broadcast_to(ramp[::step], (full // step, full // step))
    n_out = 2 * int(extent)  # upsampling, so that the filter is linear interpolation: exact on a ramp
    y = reference.render(
        coded, [IDENTITY], (n_out, n_out), full=(full, full), level=level, crop=(start, start, extent, extent)
    )[0]
    centre = start + (np.arange(n_out) + 0.5) * extent / n_out
    inner = (centre > start + step) & (centre < start + extent - 2 * step)
    assert inner.sum() > n_out / 2
    assert np.abs(y[:, inner] - (centre[inner] - 0.5) / full).max() < 1e-12


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 300), st.integers(0, 5), st.floats(0, 0.999), st.floats(0.001, 1), st.integers(1, 64))
def test_weights_are_averages_over_the_crop(full: int, level: int, where: float, share: float, n_out: int) -> None:
    extent = full * share
    start = (full - extent) * where
    n_in = -(-full >> level)
    w = reference.weights(n_in, level, full, start, extent, n_out)
    assert w.shape == (n_out, n_in)
    assert (w >= 0).all()
    assert np.allclose(w.sum(axis=1), 1, atol=1e-12)
    position = np.arange(n_in) * 2.0**level + 0.5
    inside = (position >= start) & (position < start + extent)
    if inside.any():
        assert not w[:, ~inside].any()
    else:
        assert ((w > 0).sum(axis=1) == 1).all()


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 3), st.integers(1, 4), st.integers(0, 9), st.booleans())
def test_a_crop_beyond_the_image_is_the_image_with_floor_around(
    rows: int, cols: int, level: int, factor: int, border: int, flip: bool
) -> None:
    """Whole output pixels of border: what is inside equals the image rendered alone (where no border is, the image fills it)."""
    rng = np.random.default_rng(rows * 41 + cols)
    full = rows * factor * 2**level, cols * factor * 2**level
    coded = rng.random((rows * factor, cols * factor))
    options = {"full": full, "level": level, "mean": [0.3], "std": [0.2], "flip": (flip, False)}
    alone = reference.render(coded, [IDENTITY], (rows, cols), **options)
    pixel = factor * 2**level  # of the output, in pixels of the image
    crop = (-border * pixel, 0, full[0] + 2 * border * pixel, full[1])
    whole = reference.render(coded, [IDENTITY], (rows + 2 * border, cols), crop=crop, **options)
    assert np.allclose(whole[:, border : border + rows], alone, atol=1e-12)
    outside = np.concatenate([whole[:, :border], whole[:, border + rows :]], axis=1)
    assert np.allclose(outside, (0 - 0.3) / 0.2)


def test_an_image_smaller_than_an_output_is_still_seen() -> None:
    for n, at in ((4, 2), (5, 2)):
        y = reference.render(np.ones((1, 1)), [IDENTITY], (n, n), crop=(-49.5, -49.5, 100, 100))[0]
        assert y[at, at] == 1 and y.sum() == 1


def test_masks_take_the_pixel_under_the_centre() -> None:
    mask = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    assert reference.render_mask(mask, (2, 2)).tolist() == [[1, 3], [7, 9]]
    assert reference.render_mask(mask, (2, 2), flip=(True, False)).tolist() == [[3, 1], [9, 7]]
    assert reference.render_mask(mask, (4, 4), crop=(-1, 1, 4, 4)).tolist() == [
        [0, 0, 0, 0], [2, 3, 0, 0], [5, 6, 0, 0], [8, 9, 0, 0],
    ]  # fmt: skip


def test_order_is_window_inversion_padding_resample_normalisation() -> None:
    coded = np.array([[0, 10, 5, 7]], np.int16)
    options = {"slope": 0.1, "invert": True, "padding": (7, 7), "mean": [0.5], "std": [0.25]}
    y = reference.render(coded, [IDENTITY], (1, 4), **options)
    assert np.allclose(y, (np.array([[[1, 0, 0.5, 0]]]) - 0.5) / 0.25)
    y = reference.render(coded, [IDENTITY], (1, 2), **options)  # taps 3/7, 3/7, 1/7 at either end
    assert np.allclose(y * 0.25 + 0.5, [[[(3 + 0 + 0.5) / 7, (0 + 3 * 0.5 + 0) / 7]]])
    y = reference.render(coded, [IDENTITY], (1, 4), flip=(True, False), slope=0.1)
    assert np.allclose(y, [[[0.7, 0.5, 1, 0]]])


def test_what_is_not_finite_is_blank_and_a_table_clamps() -> None:
    coded = np.array([[np.nan, np.inf, -np.inf, 0.5]], np.float32)
    assert reference.planes(coded, [IDENTITY], invert=True)[0].tolist() == [[0, 0, 0, 0.5]]
    table = Window(Voi.TABLE, table=np.array([0.1, 0.2, 0.3]), first=-1)
    assert reference.planes(np.array([[-9, -1, 0, 1, 9]], np.int16), [table])[0].tolist() == [[0.1, 0.1, 0.2, 0.3, 0.3]]


def test_luma() -> None:
    assert np.allclose(
        reference.luma(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)), [[76.245, 149.685, 29.07]]
    )


@pytest.mark.parametrize(
    "args", [(5, 1, 8, 0, 8, 4), (8, 0, 8, -4, 4, 4), (8, 0, 8, 8, 4, 4), (8, 0, 8, 0, 0, 4), (8, 0, 8, 0, 8, 0)]
)
def test_sizes_that_do_not_fit(args: tuple[int, int, int, float, float, int]) -> None:
    with pytest.raises(ValueError, match=r"level|crop"):
        reference.weights(*args)
