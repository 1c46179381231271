"""Crops and flips lie inside the image, in the ranges that are documented, and depend on the draw alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radload.errors import UsageError
from radload.loading.augment import Geometry, geometry, make_augment


def _draw(rows: int, cols: int, n: int, epoch: int = 0, view: int = 0) -> Geometry:
    return geometry("default", np.full(n, rows), np.full(n, cols), 7, epoch, np.arange(n), view)


def test_golden() -> None:
    """Changing these changes every crop of a run that is resumed."""
    found = _draw(512, 400, 3, epoch=2)
    assert found.boxes.tolist() == GOLDEN_BOXES
    assert found.flips.tolist() == GOLDEN_FLIPS


GOLDEN_BOXES = [[23, 2, 461, 398], [131, 30, 272, 344], [15, 10, 428, 389]]
GOLDEN_FLIPS = [False, False, True]


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 3000), cols=st.integers(1, 3000), epoch=st.integers(0, 100))
def test_boxes_are_inside(rows: int, cols: int, epoch: int) -> None:
    box = _draw(rows, cols, 20, epoch).boxes
    assert (box[:, :2] >= 0).all() and (box[:, 2:] >= 1).all()
    assert (box[:, 0] + box[:, 2] <= rows).all() and (box[:, 1] + box[:, 3] <= cols).all()


def test_areas_ratios_and_flips_are_as_documented() -> None:
    found = _draw(500, 500, 20_000)
    height, width = found.boxes[:, 2], found.boxes[:, 3]
    area, ratio = height * width / 250_000, width / height
    assert 0.295 < area.min() < 0.31 and 0.97 < area.max() <= 1
    assert 0.745 < ratio.min() < 0.76 and 1.32 < ratio.max() < 1.34
    assert abs(np.log(ratio).mean()) < 0.01
    assert abs(found.flips.mean() - 0.5) < 0.02
    assert found.boxes[:, 0].max() > 200 and found.boxes[:, 0].min() == 0


def test_a_narrow_image_gets_the_largest_permitted_crop() -> None:
    box = _draw(20, 2000, 50).boxes
    assert (box[:, 2] == 20).all() and (box[:, 3] <= 27).all()


def test_epochs_and_views_differ_and_batches_do_not_matter() -> None:
    whole = _draw(512, 512, 64).boxes
    assert not np.array_equal(whole, _draw(512, 512, 64, epoch=1).boxes)
    assert not np.array_equal(whole, _draw(512, 512, 64, view=1).boxes)
    alone = geometry("default", np.array([512]), np.array([512]), 7, 0, np.array([40]))
    assert np.array_equal(alone.boxes[0], whole[40])


def test_none_is_the_whole_image() -> None:
    found = geometry(None, np.array([5, 9]), np.array([7, 3]), 0, 0, np.array([0, 1]))
    assert found.boxes.tolist() == [[0, 0, 5, 7], [0, 0, 9, 3]]
    assert not found.flips.any()


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="'default'"):
        make_augment("strong")
