"""Series statistics equal NumPy's over the pixels that are no padding, slope by slope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.pack import statistics as module
from radload.pack.statistics import SeriesStatistics, Statistics
from radload.sources import Lut, SeriesAttributes, Slice, Units, read, scan


def gather(slices: list[Slice], padding: tuple[int, int] | None = None) -> Statistics:
    gathered = SeriesStatistics()
    for image in slices:
        gathered.add(image, image.stored, padding)
    return gathered.result()


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


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4"])
def test_padding_may_differ_from_slice_to_slice(dtype: str) -> None:
    """One that lies above, below and outside of the values, none, and all of a slice, which then counts."""
    random = np.random.default_rng(0)
    statistics, content = SeriesStatistics(), []
    for padding in ((0, 9), (0, 9), (90, 300), (120, 120), None, (0, 100)):
        stored = random.integers(0, 100, (8, 9)).astype(dtype)
        statistics.add(Slice(0, stored), stored, padding)
        low, high = padding if padding not in (None, (0, 100)) else (1, 0)
        content.append(stored[(stored < low) | (stored > high)])
    expect(statistics.result(), np.concatenate(content).astype(float))


def test_a_series_may_hold_integers_of_several_types() -> None:
    random = np.random.default_rng(0)
    slices = [Slice(0, random.integers(0, 100, (5, 6)).astype(dtype)) for dtype in (*"BHhBiHhB",)]
    expect(gather(slices), np.concatenate([image.stored.ravel() for image in slices]).astype(float))


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


def counted(values: NDArray[Any], attributes: SeriesAttributes, **changes: Any) -> Statistics:
    statistics = SeriesStatistics(attributes)
    image = Slice(0, values, **changes)
    statistics.add(image, image.stored, None)
    return statistics.result()


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("filling", [-2000, -3024])
def test_what_lies_outside_a_ct_field_does_not_count(dtype: type, filling: int) -> None:
    """Rule 18: unnamed padding around a round field; air and noise in it stay."""
    random = np.random.default_rng(0)
    image = random.normal(40, 200, (64, 64)).clip(-1100, 3000).astype(dtype)
    image[:8] = -1100
    whole = image.copy()
    whole[20:50] = filling
    ct = SeriesAttributes("CT", units=Units.HU)
    found, content = counted(whole, ct), np.delete(whole, slice(20, 50), axis=0).astype(float)
    assert (found.minimum, found.maximum) == (-1100, content.max())
    assert found.mean == pytest.approx(content.mean()) and found.p50 == pytest.approx(np.median(content), abs=1e-3)
    assert counted(whole, SeriesAttributes("MR")).minimum == filling
    assert counted(np.full((4, 4), filling, dtype), ct) == Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0)


def phantom(background: int, body: tuple[float, float], share: float, dtype: type) -> tuple[NDArray[Any], NDArray[Any]]:
    """An image, a `share` of whose pixels are body (normal), and where; the background is Rayleigh noise as in magnitude MR."""
    random = np.random.default_rng(1)
    inside = random.permutation(np.arange(10_000) < 10_000 * share).reshape(100, 100)
    noise = background + random.rayleigh(6, inside.shape)
    return np.where(inside, random.normal(*body, inside.shape), noise).astype(dtype), inside


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("modality", ["MR", "PT", "NM", ""])
def test_foreground_is_the_body_whatever_the_field_of_view(modality: str, share: float) -> None:
    image, inside = phantom(0, (400, 60), share, np.uint16)
    found = counted(image, SeriesAttributes(modality))
    body = image[inside].astype(float)
    assert found.foreground_share == pytest.approx(share, abs=0.01)
    assert found.foreground_mean == pytest.approx(body.mean(), rel=0.01)
    assert found.foreground_std == pytest.approx(body.std(), rel=0.05)
    assert found.mean == pytest.approx(image.mean()), "the records' mean stays over all pixels"


def test_a_bright_tail_does_not_draw_the_foreground_into_the_body() -> None:
    image, inside = phantom(0, (400, 60), 0.4, np.uint16)
    image[:2] *= 20  # 2 %: vessels, bladder
    assert counted(image, SeriesAttributes("PT")).foreground_share == pytest.approx(inside.mean(), abs=0.03)


def test_foreground_by_modality() -> None:
    ct = np.array([[-1000, -900, -501, -500, -499, 40, 60]], np.int16)
    found = counted(ct, SeriesAttributes("CT", units=Units.HU))
    assert (found.foreground_share, found.foreground_mean) == (pytest.approx(3 / 7), pytest.approx(-399 / 3))
    us = np.array([[0, 0, 0, 10, 30]], np.uint8)
    assert counted(us, SeriesAttributes("US")).foreground_mean == 20.0
    assert counted(us, SeriesAttributes("", units=Units.DISPLAY)).foreground_share == 0.4
    for modality in ("DX", "CR", "XA"):
        found = counted(us, SeriesAttributes(modality))
        assert (found.foreground_share, found.foreground_mean, found.foreground_std) == (
            1.0,
            found.mean,
            pytest.approx(found.std),
        )


def test_the_breast_is_foreground_whichever_side_is_white() -> None:
    image, _ = phantom(100, (3000, 200), 0.3, np.uint16)
    bright = counted(image, SeriesAttributes("MG"))
    dark = counted(4095 - image.clip(0, 4095), SeriesAttributes("MG"), invert=True, photometric="MONOCHROME1")
    assert bright.foreground_share == pytest.approx(0.3, abs=0.01) == dark.foreground_share
    assert dark.foreground_mean == pytest.approx(4095 - bright.foreground_mean, abs=1)


@pytest.mark.parametrize("modality", ["MR", "MG", "US", "CT", "DX", ""])
def test_an_image_of_one_value_has_statistics(modality: str) -> None:
    found = counted(np.full((5, 5), 7, np.uint16), SeriesAttributes(modality))
    assert found.mean == 7 and found.foreground_share in (0.0, 1.0) and np.isfinite(found.foreground_std)


def test_real_series_have_plausible_foregrounds(shared_data: Path) -> None:
    """The share of head, body and trunk in their fields."""
    expected = {
        "mr_brain_t1_adi": (0.4, 0.6),
        "mr_brain_t2_adi": (0.35, 0.55),
        "pt_wholebody_qinhn0024": (0.15, 0.35),
        "ct_chest_lidc0314": (0.25, 0.4),
    }
    for folder, (low, high) in expected.items():
        paths = sorted((shared_data / "series" / folder).iterdir())[::4]
        statistics = SeriesStatistics(scan(paths[0], "a").attributes)
        for path in paths:
            for image in read(path):
                assert isinstance(image, Slice)
                statistics.add(image, image.stored, image.padding)
        found = statistics.result()
        assert low < found.foreground_share < high, folder
        assert found.foreground_mean > found.mean, folder


@pytest.mark.parametrize("dtype", ["u2", "i2"])
def test_what_counts_first_counts_as_what_counts_later(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy for the first thousands of slices of a process, compiled code for the others: the same statistics, bit for bit."""
    limits = np.iinfo(dtype)
    images = [
        np.random.default_rng(seed).integers(limits.min, limits.max, (31, 33), endpoint=True).astype(dtype)
        for seed in range(3)
    ]
    images[1][4:9] = limits.min
    found = []
    for plain in (0, 1 << 60):
        monkeypatch.setattr(module, "_PLAIN", plain)
        found.append(gather([Slice(0, image) for image in images], (int(limits.min), int(limits.min))))
    assert found[0] == found[1]
    expect(found[0], np.concatenate([image[image != limits.min].ravel() for image in images]))


@pytest.mark.parametrize("dtype", ["u2", "i2"])
@pytest.mark.parametrize("span", [1, 200, module._FEW, module._FEW + 1])
def test_many_pixels_of_few_values_are_counted_as_others_are(
    dtype: str, span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to `_FEW` values, at both ends of the type, and with a histogram that holds something already."""
    limits = np.iinfo(dtype)
    random, bounds = np.random.default_rng(span), (int(limits.min), int(limits.max) - span + 1)
    images = [random.integers(low, low + span, (190, 181)).astype(dtype) for low in bounds]
    assert images[0].size >= module._MANY
    found = []
    for many in (module._MANY, 1 << 60):
        monkeypatch.setattr(module, "_MANY", many)
        found.append(gather([Slice(0, image) for image in images]))
    assert found[0] == found[1]
    expect(found[0], np.concatenate([image.ravel() for image in images]).astype(np.float64))
