"""Crops and flips lie inside the image, in the ranges that are documented, and depend on the draw alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radload.errors import UsageError
from radload.loading.planning.augment import Augment, Geometry, Intensity, geometry, intensity, make_augment


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


ALL = Augment(flip=True, rotate=12, gamma=0.3, noise=0.1)


def _grey(augment: Augment | str | None, n: int, epoch: int = 0, view: int = 0, seed: int = 7) -> Intensity:
    found = intensity(augment, seed, epoch, np.arange(n), view)
    assert found is not None
    return found


def test_golden_of_all_that_is_drawn() -> None:
    shape = geometry(ALL, np.full(3, 512), np.full(3, 400), 7, 2, np.arange(3))
    grey = _grey(ALL, 3, epoch=2)
    assert shape.boxes.tolist() == GOLDEN_BOXES and shape.flips.tolist() == GOLDEN_FLIPS
    assert grey.keys.tolist() == GOLDEN_KEYS
    found = [shape.angles, grey.shifts, grey.factors, grey.gammas, grey.noises]
    assert np.allclose(found, GOLDEN_REST, rtol=1e-12, atol=0)


GOLDEN_KEYS = [[2443438399, 2260813740], [2383384455, 124188053], [3844166171, 2327326092]]
GOLDEN_REST = [
    [-4.076556815765798, 10.894638572819531, 5.685411284677684],
    [-0.005281927227042616, 0.012295229895971716, 0.07506757227238268],
    [1.0503209580925612, 0.9974311238919913, 1.0714521132118118],
    [1.1588777396009293, 0.7617401507351093, 0.8855040968970946],
    [0.03843733846442774, 0.09418135365704075, 0.03109974461840466],
]


def test_what_is_not_asked_for_changes_nothing_else() -> None:
    """Crops and flips are those of "default", whatever else is on: a run with noise sees the same crops as one without."""
    plain, all_of_it = _draw(512, 400, 200), geometry(ALL, np.full(200, 512), np.full(200, 400), 7, 0, np.arange(200))
    assert np.array_equal(plain.boxes, all_of_it.boxes) and np.array_equal(plain.flips, all_of_it.flips)
    assert not plain.angles.any() and all_of_it.angles.all()
    assert np.array_equal(_grey("default", 200).shifts, _grey(ALL, 200).shifts)
    assert (_grey("default", 200).gammas == 1).all() and not _grey("default", 200).noises.any()
    assert intensity(None, 1, 0, np.arange(3)) is None
    assert intensity(Augment(window_jitter=0, rotate=5), 1, 0, np.arange(3)) is None


def test_ranges_are_as_documented() -> None:
    n = 20_000
    angles = geometry(ALL, np.full(n, 50), np.full(n, 50), 7, 0, np.arange(n)).angles
    grey = _grey(Augment(window_jitter=(0.2, 0.5), gamma=0.3, noise=0.1), n)
    for values, low, high in (
        (angles, -12, 12), (grey.shifts, -0.2, 0.2), (np.log(grey.factors), -0.5, 0.5), (np.log(grey.gammas), -0.3, 0.3),
        (grey.noises, 0, 0.1),
    ):  # fmt: skip
        assert low < values.min() < low + 0.001 * (high - low) and high - 0.001 * (high - low) < values.max() < high
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)
    together = np.stack([angles, grey.shifts, grey.factors, grey.gammas, grey.noises, *grey.keys.T.astype(float)])
    assert np.abs(np.corrcoef(together) - np.eye(7)).max() < 0.03
    assert len(np.unique(grey.keys, axis=0)) == n


@pytest.mark.parametrize("change", [{"epoch": 1}, {"view": 1}, {"seed": 8}])
def test_every_draw_differs_by_epoch_view_and_seed(change: dict[str, int]) -> None:
    one, other = _grey(ALL, 64), _grey(ALL, 64, **change)
    for name in ("shifts", "factors", "gammas", "noises", "keys"):
        assert not np.any(getattr(one, name) == getattr(other, name))
    alone = intensity(ALL, 7, 0, np.array([40]))
    assert alone is not None and np.array_equal(alone.keys[0], one.keys[40]) and alone.shifts[0] == one.shifts[40]


def test_flips_are_off_where_nothing_may_be_mirrored() -> None:
    may = np.arange(400) % 2 == 0
    sizes = np.full(400, 64)
    auto = geometry("default", sizes, sizes, 7, 0, np.arange(400), mirrors=may).flips
    free = geometry(Augment(flip=True), sizes, sizes, 7, 0, np.arange(400), mirrors=may).flips
    assert np.array_equal(auto, free & may) and 80 < auto.sum() < 120 and (free & ~may).any()
    assert not geometry(Augment(flip=False), sizes, sizes, 7, 0, np.arange(400), mirrors=may).flips.any()


def test_an_area_of_one_is_the_whole_image_whatever_its_proportions() -> None:
    found = geometry(Augment(area=(1, 1)), np.array([20, 30]), np.array([2000, 30]), 7, 0, np.arange(2))
    assert found.boxes.tolist() == [[0, 0, 20, 2000], [0, 0, 30, 30]]


def test_it_survives_json() -> None:
    for augment in (Augment(), ALL, Augment(window_jitter=0.05, area=(0.5, 0.9))):
        assert Augment.from_dict(json.loads(json.dumps(augment.as_dict()))) == augment
    assert Augment(window_jitter=0.05) == Augment(window_jitter=(0.05, 0.05))
    with pytest.raises(UsageError, match="as_dict"):
        Augment.from_dict({"rotate": 3})


@pytest.mark.parametrize(
    "wrong",
    [{"area": (0, 1)}, {"area": (0.9, 0.3)}, {"area": (0.3, 1.1)}, {"area": 0.5}, {"area": (0.3, float("nan"))}, {"ratio": (0, 1)},
     {"ratio": (2, 1)}, {"flip": "always"}, {"flip": None}, {"rotate": -1}, {"rotate": 181}, {"rotate": float("nan")},
     {"rotate": "10"}, {"gamma": 1.1}, {"gamma": True}, {"noise": -0.1}, {"noise": 2}, {"window_jitter": (0.1, 1.5)},
     {"window_jitter": -0.1}, {"window_jitter": (0.1,)}, {"window_jitter": "much"}],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Augment(**wrong)
