"""AUROC is exact: the count over all pairs, ties as half, for any scores and masks; under weights that over repeated samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from radload.train.auroc import auroc, auroc_by_class, weighted_auroc
from radload.train.distributed import Ranks

ALONE = Ranks(0, 1, 0, torch.device("cpu"))


def by_pairs(scores: list[float], positive: list[bool]) -> float:
    """The definition, O(n^2)."""
    high = [s for s, p in zip(scores, positive, strict=True) if p]
    low = [s for s, p in zip(scores, positive, strict=True) if not p]
    if not high or not low:
        return math.nan
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in high for b in low) / (len(high) * len(low))


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=40))
def test_equals_the_count_over_pairs_with_many_ties(items: list[tuple[int, bool]]) -> None:
    scores, positive = [i[0] / 7 for i in items], [i[1] for i in items]
    measured = float(auroc(torch.tensor(scores, dtype=torch.float32), torch.tensor(positive, dtype=torch.bool)))
    assert measured == pytest.approx(by_pairs(scores, positive), abs=1e-12, nan_ok=True)


def test_extremes() -> None:
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert float(auroc(scores, torch.tensor([False, False, True, True]))) == 1.0
    assert float(auroc(scores, torch.tensor([True, True, False, False]))) == 0.0
    assert float(auroc(torch.zeros(4), torch.tensor([True, False, True, False]))) == 0.5
    assert auroc(scores, torch.ones(4, dtype=torch.bool)).isnan()


def test_float64_ranks_are_exact_for_many_samples() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(200_000) < 0.01
    scores = rng.normal(size=200_000).astype(np.float32) + positive
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.bincount(inverse, ranks) / counts)[inverse]  # midranks, another way
    p = int(positive.sum())
    expected = (ranks[positive].sum() - p * (p + 1) / 2) / (p * (len(scores) - p))
    assert len(values) < len(scores)  # there are ties
    assert float(auroc(torch.from_numpy(scores), torch.from_numpy(positive))) == pytest.approx(expected, abs=1e-13)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 5))
def test_one_vs_rest_leaves_out_unlabelled_samples(seed: int, n: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    scores, target = rng.integers(0, 4, (n, classes)).astype(np.float32), rng.integers(-1, classes, n)
    measured = auroc_by_class(ALONE, torch.from_numpy(scores), torch.from_numpy(target)).tolist()
    known = target >= 0
    for k in range(classes):
        expected = by_pairs(scores[known, k].tolist(), (target[known] == k).tolist())
        assert measured[k] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_multi_label_leaves_out_unknown_values_per_class(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (n, 3)).astype(np.float32)
    target = rng.choice(np.array([0, 1, np.nan], np.float32), (n, 3))
    measured = auroc_by_class(ALONE, torch.from_numpy(scores), torch.from_numpy(target)).tolist()
    for k in range(3):
        known = ~np.isnan(target[:, k])
        expected = by_pairs(scores[known, k].tolist(), (target[known, k] == 1).tolist())
        assert measured[k] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6))
def test_weights_count_like_repeated_samples(seed: int, n: int, units: int) -> None:
    rng = np.random.default_rng(seed)
    scores, positive, unit = rng.integers(0, 5, n) / 7, rng.random(n) < 0.4, rng.integers(0, units, n)
    weights = rng.integers(0, 4, (8, units)).astype(np.uint16)
    measured = weighted_auroc(scores, positive, unit, weights)
    for row, area in zip(weights, measured, strict=True):
        repeated = np.repeat(np.arange(n), row[unit])
        expected = by_pairs(scores[repeated].tolist(), positive[repeated].tolist())
        assert area == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_many_draws_are_added_up_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores, positive, unit = rng.random(50), rng.random(50) < 0.5, rng.integers(0, 9, 50)
    weights = rng.integers(0, 3, (31, 9)).astype(np.uint16)
    whole = weighted_auroc(scores, positive, unit, weights)
    monkeypatch.setattr("radload.train.auroc._ENTRIES", 200)
    assert np.array_equal(whole, weighted_auroc(scores, positive, unit, weights))
