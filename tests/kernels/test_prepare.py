"""The folded parameters keep float32 within 1e-5 of float64 over the whole range of coded values, and refuse what has no meaning."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.kernels import prepare, reference
from radload.kernels.prepare import Voi
from radload.kernels.reference import Window


def folded(coded: NDArray[np.generic], window: np.void) -> NDArray[np.float32]:
    """What a kernel does with one WINDOW, in float32 step by step."""
    with np.errstate(over="ignore", invalid="ignore"):
        t = (coded.astype(np.float32) - window["x0"]) * window["gain"] + window["offset"]
    assert t.dtype == np.float32
    if window["kind"] == prepare.SIGMOID:
        return 1 / (1 + np.exp(np.clip(-t, -30, 30)))
    return np.clip(t, 0, 1)


ALL = np.arange(65536, dtype=np.uint16)[None]


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([Voi.LINEAR, Voi.LINEAR_EXACT, Voi.SIGMOID]),
    st.integers(0, 65535),
    st.one_of(st.floats(1, 80), st.integers(1, 4096).map(float), st.floats(1, 1e6)),
    st.sampled_from([1.0, -1.0, 0.0, 1e-6, -1e-6, 0.1, 2.44140625, 3e5, -7e7, 1e-30, 1e30]),
    st.sampled_from([0.0, -1024.0, 0.3, 1e7]),
    st.sampled_from([0, 32768, -32768]),
    st.booleans(),
)
def test_every_uint16_value(
    function: Voi, at: int, width: float, slope: float, intercept: float, bias: int, invert: bool
) -> None:
    centre = (at - bias) * slope + intercept + 0.25
    width = 1 + (width - 1) * abs(slope) if function == Voi.LINEAR else max(width * abs(slope), 1e-9)
    got = prepare.windows([function], [centre], [width], slope=slope, intercept=intercept, bias=bias, invert=invert)
    want = reference.planes(
        ALL, [Window(function, centre, width)], slope=slope, intercept=intercept, bias=bias, invert=invert
    )
    # float64 itself has lost digits where the edge is far from the values: the reference is then no better than this
    lost = np.finfo(np.float64).eps * (abs(centre) + abs(intercept)) / max(width - (function == Voi.LINEAR), 1e-300)
    if width > 1 or function != Voi.LINEAR:
        assert np.abs(folded(ALL, got[0, 0]) - want).max() < 1e-5 + 8 * lost
    else:
        assert np.array_equal(folded(ALL, got[0, 0]), want[0])


@pytest.mark.parametrize("slope", [0.1, -0.1, 1 / 3, 7e-5])
@pytest.mark.parametrize("invert", [False, True])
def test_a_step_falls_on_the_integer_where_float64_puts_it(slope: float, invert: bool) -> None:
    """Thresholds that equal a value: 3 * 0.1 is above 0.3 in float64, 10 * 0.1 is not above 1."""
    coded = np.arange(1, 40, dtype=np.uint16)[None]
    for at in range(1, 40):
        centre = at * slope + 0.5
        got = prepare.windows([Voi.LINEAR], [centre], [1], slope=slope, invert=invert)
        want = reference.planes(coded, [Window(Voi.LINEAR, centre, 1)], slope=slope, invert=invert)
        assert np.array_equal(folded(coded, got[0, 0]), want[0]), at


def test_float_sources_of_any_scale() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-12, 1e-3, 1.0, 1e5, 1e20):
        x = (rng.normal(0.3, 1, (1, 4000)) * scale).astype(np.float32)
        for slope in (1.0, -2e-3, 1e6):
            centre, width = float(x[0, 0]) * slope, 0.01 * scale * abs(slope)
            got = prepare.windows([Voi.LINEAR_EXACT], [centre], [width], slope=slope, integers=False)
            want = reference.planes(x, [Window(Voi.LINEAR_EXACT, centre, width)], slope=slope)
            assert np.abs(folded(x, got[0, 0]) - want).max() < 1e-5


def test_a_batch_equals_its_samples_one_by_one() -> None:
    rng = np.random.default_rng(1)
    function = rng.integers(1, 4, (50, 3))
    centre, width = rng.normal(0, 500, (50, 3)), rng.uniform(1, 3000, (50, 3))
    slope, intercept = rng.choice([1, 0, -0.5], 50), rng.normal(0, 9, 50)
    bias, invert = rng.integers(0, 40000, 50), rng.random(50) < 0.5
    whole = prepare.windows(function, centre, width, slope=slope, intercept=intercept, bias=bias, invert=invert)
    for i in range(50):
        one = prepare.windows(
            function[i], centre[i], width[i], slope=slope[i], intercept=intercept[i], bias=bias[i], invert=invert[i]
        )
        assert np.array_equal(whole[i], one[0])


@pytest.mark.parametrize(
    ("function", "centre", "width", "options"),
    [
        (Voi.LINEAR, 0, 0.9, {}),
        (Voi.LINEAR_EXACT, 0, 0, {}),
        (Voi.SIGMOID, np.nan, 1, {}),
        (Voi.LINEAR, 0, np.inf, {}),
        (0, 0, 1, {}),
        (5, 0, 1, {}),
        (Voi.TABLE, 0, 1, {}),
        (Voi.TABLE, 0, 1, {"table_entries": 4, "table_start": -1}),
        (Voi.LINEAR, 0, 1, {"slope": np.nan}),
        (Voi.LINEAR, 0, 1, {"intercept": np.inf}),
    ],
)
def test_windows_without_meaning(function: int, centre: float, width: float, options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"window|rescale"):
        prepare.windows([function], [centre], [width], **options)


def test_samples_default_to_the_whole_image_without_padding() -> None:
    s = prepare.samples([5, 7], 9)
    assert s[["top", "left", "height", "width"]].tolist() == [(0, 0, 5, 9), (0, 0, 7, 9)]
    assert (s["padding_first"] > s["padding_last"]).all()
    crops = prepare.samples(8, 8, crop=[(0, 0, 8, 8), (0.5, 1, 2, 7)], padding=(-3, 4), flip=prepare.FLIP_VERTICAL)
    assert crops["left"].tolist() == [0, 1]
    assert crops["padding_last"].tolist() == [4, 4]


@pytest.mark.parametrize("crop", [(-2, 0, 2, 2), (8, 0, 9, 8), (0, 0, 0, 1), (0, 0, np.nan, 1), (0, 0, 1, np.inf)])
def test_a_crop_that_shows_nothing(crop: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="crop"):
        prepare.samples(8, 8, crop=crop, size=(4, 4))


def test_a_crop_beyond_the_image_needs_the_output_s_size() -> None:
    boxes = [(-4, 0, 16, 8), (0, 0, 8, 8), (0, -0.5, 8, 8)]
    with pytest.raises(ValueError, match="size"):
        prepare.samples(8, 8, crop=boxes)
    found = prepare.samples(8, 8, crop=boxes, size=(8, 16))
    names = ("row_first", "row_end", "col_first", "col_end")
    every = prepare.EVERY
    assert [tuple(int(s[n]) for n in names) for s in found] == [
        (2, 6, 0, every),
        (0, every, 0, every),
        (0, every, 1, 16),
    ]


@settings(deadline=None, max_examples=500)
@given(
    st.integers(1, 9000),
    st.integers(1, 300),
    st.floats(-3, 1, exclude_max=True),
    st.one_of(st.floats(1e-6, 1e6), st.integers(1, 8).map(float)),
)
def test_outputs_in_the_image_are_those_of_the_reference(full: int, n_out: int, where: float, share: float) -> None:
    """To the last bit, ties at the border included: an output on the wrong side would be wrong by all of its value."""
    extent = full * share
    start = where * full if where > 0 else where * extent / 3.001
    inside = reference.shown(full, start, extent, n_out)
    assert inside.any()
    s = prepare.samples(full, 1, crop=(start, 0, extent, 1), size=(n_out, 1))[0]
    assert np.array_equal(np.flatnonzero(inside), np.arange(s["row_first"], min(s["row_end"], n_out)))


def test_sizes_levels_and_deviations_out_of_range() -> None:
    for rows, level in ((0, 0), (4, -1), (4, 31)):
        with pytest.raises(ValueError, match=r"pixels|level"):
            prepare.samples(rows, 4, level=level)
    for mean, std in ((0, 0), (np.nan, 1), (0, -1)):
        with pytest.raises(ValueError, match="deviations"):
            prepare.normalisation(mean, std)
    assert prepare.normalisation([0.5, 0], [0.25, 2]).tolist() == [[4, -2], [0.5, 0]]


def test_luma_is_the_reference_s() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.abs(prepare.luma(rgb) - reference.luma(rgb)).max() < 1e-5
    coded = rgb.astype(np.uint16) + 32_640
    assert np.abs(prepare.luma(coded, 32_640.0) - reference.luma(rgb)).max() < 1e-5


def test_records_have_no_holes() -> None:
    """fused.h reads the same bytes as C structs."""
    for record in (prepare.WINDOW, prepare.SAMPLE):
        fields = sorted((offset, dtype.itemsize) for dtype, offset, *_ in (record.fields or {}).values())
        assert all(a + size == b for (a, size), (b, _) in pairwise(fields))
        assert all(offset % size == 0 for offset, size in fields)


def test_a_batch_of_none_has_no_records() -> None:
    none = np.zeros(0, np.int64)
    assert len(prepare.samples(none, none, crop=np.zeros((0, 4)), padding=np.zeros((0, 2)), size=(4, 4))) == 0
    every = {"angle": np.zeros(0), "gamma": np.zeros(0), "noise": np.zeros(0), "key": np.zeros((0, 2), np.uint32)}
    assert len(prepare.samples(none, none, crop=np.zeros((0, 4)), padding=np.zeros((0, 2)), size=(4, 4), **every)) == 0
    assert len(prepare.samples(8, 8, key=np.zeros((3, 2), np.uint32), angle=5.0)) == 3
