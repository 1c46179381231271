"""A group's score equals what a loop over its slices gives, whatever their order; a group's target is what its slices say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.train.grouping import MIXED, RULES, group_scores, group_targets


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 8))
def test_scores_equal_a_loop(seed: int, n: int, groups: int) -> None:
    rng = np.random.default_rng(seed)
    scores, group = rng.integers(0, 6, (n, 3)) / 7, rng.integers(0, groups, n) * 5
    by_hand = {
        "mean": lambda part: part.mean(axis=0),
        "max": lambda part: part.max(axis=0),
        "top3": lambda part: np.sort(part, axis=0)[::-1][:3].mean(axis=0),
    }
    assert set(by_hand) == set(RULES)
    for rule, function in by_hand.items():
        expected = [function(scores[group == name]) for name in np.unique(group)]
        assert np.allclose(group_scores(scores, group, rule), expected, atol=1e-12, rtol=0)


def test_single_labels_of_a_group() -> None:
    targets, groups = np.array([1, 1, -1, 0, 2, -1, 2]), np.array([7, 7, 7, 3, 3, 9, 11])
    single, present = group_targets(targets, groups, 3)
    assert single.tolist() == [MIXED, 1, -1, 2]  # of groups 3, 7, 9, 11
    assert present[[0, 1, 3]].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]] and np.isnan(present[2]).all()


def test_several_labels_of_a_group() -> None:
    nan = np.nan
    targets = np.array([[1, nan], [0, nan], [0, 0], [nan, 1]], np.float32)
    single, present = group_targets(targets, np.array([0, 0, 1, 1]), 2)
    assert np.array_equal(present, np.array([[1, nan], [0, 1]], np.float32), equal_nan=True) and single is present


@pytest.mark.parametrize("rule", RULES)
def test_one_slice_is_its_own_group(rule: str) -> None:
    scores = np.random.default_rng(0).random((5, 2))
    assert np.allclose(group_scores(scores, np.arange(5), rule), scores)
