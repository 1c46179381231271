"""The share of the most frequent value, for every kind of stored values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from radload.audit.empty import commonest_share


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_any_stored_type(dtype: str) -> None:
    stored = np.zeros((10, 20), dtype)
    stored.ravel()[:30] = np.arange(1, 31)
    assert commonest_share(stored) == 170 / 200
    stored.flags.writeable = False
    assert commonest_share(stored[:, ::2]) == pytest.approx(85 / 100)


def test_no_number_is_a_value_too() -> None:
    stored: np.ndarray[Any, Any] = np.full((10, 10), np.nan, np.float32)
    stored[0, :3] = 1.0
    assert commonest_share(stored) == 0.97


def test_colour_counts_pixels_whose_channels_all_are_the_common_ones() -> None:
    stored = np.zeros((10, 10, 3), np.uint8)
    stored[0, :4, 0] = 9
    stored[1, :4, 2] = 9
    assert commonest_share(stored) == 0.92
