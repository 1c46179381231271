"""Colour: one model for all, grey where the channels agree, and `exact` only where no value changed."""

from __future__ import annotations

import numpy as np
import pytest

from radload.pack.colour import to_picture
from radload.sources import Refused, Slice

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (6, 5, 3), np.uint8)


def test_grey_passes_untouched() -> None:
    stored = RANDOM.integers(-5, 5, (4, 3)).astype(np.int16)
    picture = to_picture(Slice(0, stored, photometric="MONOCHROME1", padding=(-5, -5)), "gray")
    assert (
        picture.values is stored
        and picture.exact
        and picture.photometric == "MONOCHROME1"
        and picture.padding == (-5, -5)
    )


def test_rgb_keeps_three_channels_and_its_values() -> None:
    picture = to_picture(Slice(0, RGB, photometric="RGB"), "auto")
    assert picture.values is RGB and picture.exact and picture.photometric == "RGB"


def test_equal_channels_become_one_without_loss_unless_kept() -> None:
    grey = np.repeat(RGB[..., :1], 3, axis=2)
    picture = to_picture(Slice(0, grey, photometric="RGB"), "auto")
    np.testing.assert_array_equal(picture.values, RGB[..., 0])
    assert picture.exact and picture.photometric == "MONOCHROME2"
    assert to_picture(Slice(0, grey, photometric="RGB"), "keep").values.shape == (6, 5, 3)


def test_gray_makes_luma_and_says_that_it_is_not_exact() -> None:
    picture = to_picture(Slice(0, RGB, photometric="RGB"), "gray")
    np.testing.assert_array_equal(picture.values, np.rint(RGB @ np.array([0.299, 0.587, 0.114])).astype(np.uint8))
    assert not picture.exact


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_palettes_are_applied_and_clamped(bits: int, dtype: type) -> None:
    palette = np.array([[1, 2, 3], [200, 100, 50], [9, 9, 8]], np.uint16)
    image = Slice(
        0,
        np.array([[0, 5, 6, 7, 250]], np.uint8),
        photometric="PALETTE COLOR",
        palette=palette,
        palette_first=5,
        palette_bits=bits,
    )
    picture = to_picture(image, "auto")
    np.testing.assert_array_equal(picture.values, palette[[0, 0, 1, 2, 2]][None])
    assert picture.values.dtype == dtype and not picture.exact and picture.photometric == "RGB"


def test_ybr_full_becomes_the_rgb_that_it_was_made_of() -> None:
    """PS3.3 C.7.6.3.1.2: rounding to YBR and back moves a channel by at most 2."""
    r, g, b = np.moveaxis(RGB.astype(float), 2, 0)
    ybr = np.stack(
        [
            0.299 * r + 0.587 * g + 0.114 * b,
            -0.1687 * r - 0.3313 * g + 0.5 * b + 128,
            0.5 * r - 0.4187 * g - 0.0813 * b + 128,
        ],
        axis=2,
    )
    image = Slice(0, np.clip(np.rint(ybr), 0, 255).astype(np.uint8), photometric="YBR_FULL", bits_stored=8)
    picture = to_picture(image, "auto")
    assert np.abs(picture.values.astype(int) - RGB).max() <= 2 and not picture.exact and picture.photometric == "RGB"


@pytest.mark.parametrize(
    "image",
    [
        Slice(0, RGB, photometric="YBR_PARTIAL_420"),
        Slice(0, RGB[..., 0], photometric="PALETTE COLOR"),
        Slice(0, RGB[..., 0], photometric="RGB"),
        Slice(0, RGB, photometric="MONOCHROME2"),
    ],
)
def test_other_colour_is_refused(image: Slice) -> None:
    with pytest.raises(Refused, match="unsupported-colour"):
        to_picture(image, "auto")
