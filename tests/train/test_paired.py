"""Differences between networks are judged patient for patient, on the same draws, over all divisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radload.train.auroc import auroc
from radload.train.divide import Targets
from radload.train.paired import Answers, Judged, closed, difference, judge_divisions, make_weights

PATIENTS, SLICES = 60, 5


def cohort(seed: int, skill: float, targets: Targets) -> np.ndarray:
    random = np.random.default_rng([seed, 1])
    noise = np.repeat(random.normal(size=PATIENTS), SLICES) + 0.3 * random.normal(size=PATIENTS * SLICES)
    score = skill * targets.codes + noise
    return np.stack([-score, score], axis=1).astype(np.float32)


@pytest.fixture
def targets() -> Targets:
    of = np.repeat(np.arange(PATIENTS), SLICES)
    return Targets(("a", "b"), (of % 2).astype(np.int64), of)


def judged(targets: Targets, scores: np.ndarray) -> Judged:
    weights = make_weights(targets.patients, len(scores), 2)
    tested = [Answers(np.flatnonzero(targets.patients % 3 != d), scores[targets.patients % 3 != d]) for d in range(3)]
    return judge_divisions(tested, targets, weights)


def test_the_figure_is_the_mean_of_the_divisions(targets: Targets) -> None:
    scores = cohort(0, 1.0, targets)
    found = judged(targets, scores)
    want = []
    for d in range(3):
        rows = targets.patients % 3 != d
        want.append(float(auroc(torch.from_numpy(scores[rows, 1]), torch.from_numpy(targets.codes[rows] == 1))))
    assert found.areas[0] == pytest.approx(want) and found.auroc.value == pytest.approx(np.mean(want))
    low, high = found.auroc.low, found.auroc.high
    assert low is not None and high is not None and low < np.mean(want) < high
    assert found.classes == pytest.approx([np.mean(want)] * 2), "of two classes both have the same"


def test_a_difference_is_narrower_than_what_it_is_of(targets: Targets) -> None:
    scores = cohort(0, 1.0, targets)
    better = scores + np.stack([-0.3 * targets.codes, 0.3 * targets.codes], axis=1).astype(np.float32)
    a, b = judged(targets, better), judged(targets, scores)
    gap = difference(a, b)
    assert gap.value is not None and gap.low is not None and gap.high is not None
    assert gap.value == pytest.approx(float(a.mean[0] - b.mean[0])) and gap.low > 0
    assert b.auroc.low is not None and b.auroc.high is not None
    assert gap.high - gap.low < 0.5 * (b.auroc.high - b.auroc.low)
    same = difference(b, b)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert closed(a, b) == pytest.approx(gap.value / (1 - float(b.mean[0])))


def test_the_interval_of_nothing_holds_zero(targets: Targets) -> None:
    """Two networks of the same skill and noise of their own: of 40 such pairs, intervals of 95 % miss zero in few."""
    missed = 0
    for seed in range(40):
        gap = difference(
            judged(targets, cohort(2 * seed, 1.0, targets)), judged(targets, cohort(2 * seed + 1, 1.0, targets))
        )
        assert gap.low is not None and gap.high is not None
        missed += not gap.low <= 0 <= gap.high
    assert missed <= 6


def test_a_division_that_cannot_be_judged_leaves_the_others(targets: Targets) -> None:
    scores = cohort(0, 1.0, targets)
    one_class = np.flatnonzero(targets.codes == 0)
    weights = make_weights(targets.patients, len(scores), 2)
    every = np.arange(len(scores))
    found = judge_divisions([Answers(every, scores), Answers(one_class, scores[one_class])], targets, weights)
    assert np.isnan(found.areas[0, 1]) and found.auroc.value == pytest.approx(found.areas[0, 0])
    nothing = judge_divisions([Answers(one_class, scores[one_class])], targets, weights)
    assert nothing.auroc.value is None and closed(nothing, found) is None
