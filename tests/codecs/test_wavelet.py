"""Promise: our 5/3 low-pass is the codec's, bit for bit, so that a level called safe has not wrapped around."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.codecs.wavelet import CODED_MAX, SAFE_RANGE, choose_bias, iterate_levels

LEVELS = 5


def level_matrix(n: int, levels: int) -> NDArray[np.float64]:
    """The linear 5/3 low-pass without rounding, (ceil(n / 2**levels), n): an independent way to its coefficients."""
    rows = np.eye(n)
    taps = {-2: -1 / 8, -1: 2 / 8, 0: 6 / 8, 1: 2 / 8, 2: -1 / 8}
    for _ in range(levels):
        length = len(rows)
        period = max(2 * (length - 1), 1)
        step = np.zeros(((length + 1) // 2, length))
        for i in range(len(step)):
            for offset, tap in taps.items():
                j = abs(2 * i + offset) % period
                step[i, min(j, period - j) if length > 1 else 0] += tap
        rows = step @ rows
    return rows


@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))
    ),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_levels_equal_those_of_the_codec(shape: tuple[int, ...], seed: int) -> None:
    image = np.random.default_rng(seed).integers(24_000, 42_000, shape).astype(np.uint16)
    colour: dict[str, Any] = {"planar": False, "rgb": True} if len(shape) == 3 else {}
    stream = imagecodecs.htj2k_encode(image, tlm=True, tilepart=1, **colour)
    for k, level in enumerate(iterate_levels(image.astype(np.int32), LEVELS), 1):
        np.testing.assert_array_equal(imagecodecs.htj2k_decode(stream, skipres=k, planar=False), level)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 31, 64, 97, 256])
def test_the_bound_behind_the_safe_range(n: int) -> None:
    """L1 norms of the iterated low-pass: a level cannot leave the centre by more than norm / 2 times the range."""
    norm = max(float(np.abs(level_matrix(n, k)).sum(1).max()) for k in range(1, LEVELS + 1))
    assert norm <= 1.7067
    assert norm**2 / 2 * SAFE_RANGE + 130 < 2**15


def worst_images(n: int, levels: int, span: int) -> list[NDArray[np.int64]]:
    """Images that push one sample of a level as far out as any can: the signs of the filter's own coefficients."""
    matrix = level_matrix(n, levels)
    row = matrix[int(np.abs(matrix).sum(1).argmax())]
    push = np.where(np.outer(row, row) > 0, span, 0)
    i, j = np.indices((n, n))
    return [push, span - push, (i + j) % 2 * span, (i > n // 2) * span, (j // 2**levels % 2) * span]


@pytest.mark.parametrize("levels", range(1, LEVELS + 1))
def test_a_range_of_22000_never_wraps(levels: int) -> None:
    reached = 0.0
    for image in worst_images(96, levels, SAFE_RANGE):
        bias, safe = choose_bias(image, LEVELS)
        assert safe == LEVELS
        for level in iterate_levels((image + bias).astype(np.int32), LEVELS):
            assert level.min() >= 0 and level.max() <= CODED_MAX
            reached = max(reached, (level.max() - SAFE_RANGE - bias) / SAFE_RANGE)
    assert reached > {1: 0.6, 2: 0.8, 3: 0.9, 4: 0.9, 5: 0.9}[levels]  # these images are as bad as they are meant to be


@given(
    low=st.integers(-(2**30), 2**30),
    span=st.integers(0, CODED_MAX),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_image_and_safe_levels_fit_16_bits(low: int, span: int, shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = low + np.where(rng.random(shape) < 0.5, 0, span) * rng.integers(0, 2, shape)
    bias, safe = choose_bias(image, LEVELS)
    assert image.min() + bias >= 0 and image.max() + bias <= CODED_MAX
    levels = list(iterate_levels((image + bias).astype(np.int32), LEVELS))
    fits = [bool(level.min() >= 0 and level.max() <= CODED_MAX) for level in levels]
    assert all(fits[:safe])
    if safe < LEVELS:  # and no bias would have given one more
        values: list[NDArray[Any]] = [image + bias, *levels[: safe + 1]]
        assert max(int(v.max()) for v in values) - min(int(v.min()) for v in values) > CODED_MAX


def test_more_than_16_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit 16 bits"):
        choose_bias(np.array([[0, 65_536]]), LEVELS)
