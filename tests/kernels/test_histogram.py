"""The compiled histogram equals `numpy.bincount`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.kernels.histogram import LANES, SPAN, count_into


def table() -> NDArray[np.int64]:
    return np.zeros((LANES, SPAN), np.int64)


@settings(deadline=None)  # the first call may compile
@given(st.integers(0, 2**32 - 1), st.sampled_from(["u2", "i2"]), st.sampled_from([(1, 1), (1, 7), (9, 11)]))
def test_it_adds_how_often_each_value_occurs(seed: int, dtype: str, shape: tuple[int, int]) -> None:
    random, limits = np.random.default_rng(seed), np.iinfo(dtype)
    low = int(random.integers(limits.min, limits.max))
    values = random.integers(low, limits.max, shape, dtype, endpoint=True)
    values[0, 0] = limits.max
    counts = table()
    for lowest in (limits.min, low):  # also a lowest value that is not the type's
        before = counts.sum(0)
        count_into(values, lowest, counts)
        expected = np.bincount(values.reshape(-1).astype(np.int64) - lowest, minlength=SPAN)
        np.testing.assert_array_equal(counts.sum(0) - before, expected)


def test_lanes_together_count_every_pixel_once() -> None:
    counts = table()
    count_into(np.full(1003, 65_535, np.uint16), 0, counts)
    assert counts[:, 65_535].tolist() == [253, 250, 250, 250] and counts.sum() == 1003


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (np.zeros((4, 4), np.int32), table()),
        (np.zeros((4, 4), ">u2"), table()),
        (np.zeros((4, 4), np.uint16)[:, ::2], table()),
        (np.zeros((4, 4), np.uint16), np.zeros((LANES, SPAN), np.int32)),
        (np.zeros((4, 4), np.uint16), np.zeros((1, SPAN), np.int64)),
    ],
)
def test_other_arrays_are_refused(values: NDArray[Any], counts: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="needed"):
        count_into(values, 0, counts)
