"""Frames keep what they promise: proportions in millimetres, the whole image or the whole output, and exact millimetres on request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.dataset.schema import RECORD, Flag
from radload.errors import UsageError
from radload.loading.planning.augment import AREA, geometry
from radload.loading.planning.fit import check_fit, frames, has_millimetres


def record(rows: int, cols: int, spacing: tuple[float, float], flags: int = 0, count: int = 1) -> NDArray[np.void]:
    found = np.zeros(count, RECORD)
    found["rows"], found["cols"], found["flags"] = rows, cols, flags
    found["spacing_row"], found["spacing_col"] = spacing
    return found


sides, sizes = st.integers(1, 8192), st.tuples(st.integers(1, 600), st.integers(1, 600))
spacings = st.tuples(st.floats(0.05, 5), st.floats(0.05, 5)).filter(lambda s: 1 / 19 < s[0] / s[1] < 19)


@settings(deadline=None, max_examples=300)
@given(sides, sides, spacings, sizes, st.booleans(), st.sampled_from(["pad", "crop"]))
def test_proportions_are_kept(
    rows: int, cols: int, spacing: tuple[float, float], size: tuple[int, int], ratio: bool, fit: str
) -> None:
    """A millimetre is as many output pixels high as wide, whether the spacing is in millimetres or only a ratio."""
    found = frames(record(rows, cols, spacing, Flag.RATIO * ratio), size, fit, None)
    assert found.framed.all() and not found.fixed.any()
    height, width = found.extents[0]
    step = np.float64(np.float32(spacing[0])), np.float64(np.float32(spacing[1]))
    assert np.isclose(height * step[0] / size[0], width * step[1] / size[1], rtol=1e-12)
    assert height == rows or width == cols
    if fit == "pad":
        assert height >= rows * (1 - 1e-12) and width >= cols * (1 - 1e-12)
    else:
        assert height <= rows * (1 + 1e-12) and width <= cols * (1 + 1e-12)


@pytest.mark.parametrize(
    "spacing", [(np.nan, 0.5), (0.5, np.nan), (0.0, 0.5), (-1.0, 1.0), (np.inf, np.inf), (1.0, 30.0)]
)
def test_pixels_are_square_where_nothing_is_known(spacing: tuple[float, float]) -> None:
    unknown = record(100, 50, spacing)
    assert not has_millimetres(unknown).any()
    assert frames(unknown, (40, 40), "pad", (1.0, 1.0)).extents.tolist() == [[100, 100]]
    assert frames(unknown, (40, 40), "crop", None).extents.tolist() == [[50, 50]]


@settings(deadline=None)
@given(sides, sides, spacings, sizes, st.tuples(st.floats(0.001, 1000), st.floats(0.001, 1000)))
def test_millimetres_are_exact(
    rows: int, cols: int, spacing: tuple[float, float], size: tuple[int, int], wanted: tuple[float, float]
) -> None:
    one = record(rows, cols, spacing)
    found = frames(one, size, "pad", wanted)
    assert found.fixed.all() and found.framed.all()
    for axis, name in enumerate(("spacing_row", "spacing_col")):
        assert np.isclose(found.extents[0, axis] * float(one[name][0]), size[axis] * wanted[axis], rtol=1e-12)
    only_a_ratio = frames(record(rows, cols, spacing, int(Flag.RATIO)), size, "stretch", wanted)
    assert not only_a_ratio.fixed.any() and not only_a_ratio.framed.any()


def draw(one: NDArray[np.void], size: tuple[int, int], fit: str, spacing: Any, augment: str | None) -> NDArray[Any]:
    n = len(one)
    laid = frames(one, size, fit, spacing)
    return geometry(augment, one["rows"], one["cols"], 7, 1, np.arange(n), frames=laid).boxes


def test_frames_are_centred_without_augmentation() -> None:
    one = record(300, 200, (0.5, 0.5))
    assert draw(one, (100, 100), "pad", None, None).tolist() == [[0, -50, 300, 300]]
    assert draw(one, (100, 100), "crop", None, None).tolist() == [[50, 0, 200, 200]]
    assert draw(one, (100, 50), "pad", (2.0, 2.0), None).tolist() == [[-50, 0, 400, 200]]
    assert draw(one, (100, 100), "stretch", None, None).tolist() == [[0, 0, 300, 200]]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.integers(1, 3000), spacings, sizes, st.sampled_from(["pad", "crop"]))
def test_random_crops_keep_proportions_and_show_what_they_can(
    rows: int, cols: int, spacing: tuple[float, float], size: tuple[int, int], fit: str
) -> None:
    many = record(rows, cols, spacing, count=30)
    boxes, frame = draw(many, size, fit, None, "default"), frames(many, size, fit, None).extents
    share = boxes[:, 2] * boxes[:, 3] / (frame[:, 0] * frame[:, 1])
    assert (share > AREA[0] - 1e-9).all() and (share < AREA[1] + 1e-9).all() and np.ptp(share) > 0.3
    assert np.allclose(boxes[:, 2] / boxes[:, 3], frame[:, 0] / frame[:, 1], rtol=1e-12)
    for axis, full in enumerate((rows, cols)):
        start, end = boxes[:, axis], boxes[:, axis] + boxes[:, 2 + axis]
        within = (start >= -1e-9) & (end <= full + 1e-9)
        around = (start <= 1e-9) & (end >= full - 1e-9)
        assert (within | around).all()


def test_augmentation_moves_given_millimetres_and_never_scales_them() -> None:
    boxes = draw(record(512, 512, (0.5, 0.5), count=200), (100, 100), "pad", (1.0, 1.0), "default")
    assert (boxes[:, 2:] == 200).all()
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] <= 312).all() and np.ptp(boxes[:, 0]) > 250


def test_stretching_is_what_it_was() -> None:
    """Frames change nothing where the image is stretched: the boxes are those of test_augment.GOLDEN_BOXES."""
    many = record(512, 400, (0.5, 0.9), count=3)
    laid = frames(many, (224, 224), "stretch", None)
    found = geometry("default", many["rows"], many["cols"], 7, 2, np.arange(3), frames=laid)
    assert found.boxes.tolist() == [[23, 2, 461, 398], [131, 30, 272, 344], [15, 10, 428, 389]]


def test_arguments() -> None:
    assert check_fit(None, None) == ("stretch", None)
    assert check_fit(None, 1) == ("pad", (1.0, 1.0))
    assert check_fit("crop", (0.5, 2)) == ("crop", (0.5, 2.0))
    with pytest.raises(UsageError, match="'pad'"):
        check_fit("letterbox", None)
    for bad in (0, -1.0, float("nan"), (1, 2, 3), "wide", (1.0, "x"), 1e9):
        with pytest.raises(UsageError, match="millimetres"):
            check_fit("pad", bad)
