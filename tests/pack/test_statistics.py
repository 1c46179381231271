"""Series statistics equal NumPy's over the pixels that are no padding, slope by slope."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.pack.statistics import SeriesStatistics, Statistics
from radload.sources import Lut, Slice


def gather(slices: list[Slice], padding: tuple[int, int] | None = None) -> Statistics:
    statistics = SeriesStatistics()
    for image in slices:
        statistics.add(image, image.stored, padding)
    return statistics.result()


def expect(found: Statistics, values: NDArray[Any]) -> None:
    percentiles = np.percentile(values, [0.5, 1, 50, 99, 99.5])
    assert [found.p005, found.p01, found.p50, found.p99, found.p995] == pytest.approx(
        list(percentiles), rel=1e-9, abs=1e-9
    )
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-9)
    assert found.std == pytest.approx(values.std(), rel=1e-6, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 99),
            st.sampled_from(["u1", "i1", "u2", "i2", "i4"]),
            st.sampled_from([(1, 0), (2.5, -10), (1, -1024), (-0.5, 3)]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_integers_are_exact(parts: list[tuple[int, str, tuple[float, float]]]) -> None:
    slices = []
    for seed, dtype, (slope, intercept) in parts:
        random = np.random.default_rng(seed)
        limits = np.iinfo(dtype)
        low = max(limits.min, -40_000) if seed % 2 else max(limits.min, -100)
        stored = random.integers(low, min(limits.max, low + 70_000), (7, 9)).astype(dtype)
        slices.append(Slice(0, stored, slope=slope, intercept=intercept))
    expect(gather(slices), np.concatenate([image.modality().ravel() for image in slices]))


def test_padding_is_left_out_unless_there_is_nothing_else() -> None:
    stored = np.array([[-2000, -2000, 5], [7, 9, -2000]], np.int16)
    expect(gather([Slice(0, stored)], (-2000, -2000)), np.array([5.0, 7, 9]))
    expect(gather([Slice(0, stored)], (-3000, 3000)), stored.astype(float))


def test_floats_and_wide_integers_have_exact_moments_and_close_percentiles() -> None:
    random = np.random.default_rng(0)
    for stored in (
        random.normal(1e4, 3, (300, 200)).astype(np.float32),
        random.integers(0, 2**31 - 1, (300, 200), np.int32),
    ):
        found, values = gather([Slice(0, stored), Slice(1, stored[::-1])]), stored.astype(float)
        assert (found.minimum, found.maximum) == (values.min(), values.max())
        assert found.mean == pytest.approx(values.mean(), rel=1e-9)
        assert found.std == pytest.approx(values.std(), rel=1e-6)
        assert found.p50 == pytest.approx(np.percentile(values, 50), abs=values.std() / 20)


def test_what_is_not_finite_does_not_count() -> None:
    stored = np.array([[np.nan, 1.0], [np.inf, 3.0]], np.float32)
    assert gather([Slice(0, stored)]).mean == 2.0
    assert gather([Slice(0, stored[:, :1])]) == Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_a_modality_table_is_applied() -> None:
    lut = Lut(10, np.array([5.0, 100.0, 7.0]))
    found = gather([Slice(0, np.array([[9, 10, 11, 12, 99]], np.uint16), modality_lut=lut)])
    assert (found.minimum, found.p50, found.maximum) == (5.0, 7.0, 100.0)


def test_memory_is_bounded_and_percentiles_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radload.pack.statistics._MAX_ENTRIES", 1000)
    random = np.random.default_rng(1)
    slices = [Slice(0, random.integers(0, 4000, (40, 40), np.uint16), slope=1 + i / 100) for i in range(30)]
    values = np.concatenate([image.modality().ravel() for image in slices])
    found = gather(slices)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), rel=1e-9)
    assert found.p50 == pytest.approx(np.percentile(values, 50), rel=0.02)
