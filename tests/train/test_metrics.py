"""Counts of right answers equal those by hand, and unlabelled samples count nowhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radload.train.metrics import balanced_accuracy, confusion, right_by_class, top_k


def test_top_k() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [9.0, 0.0, 0.0]])
    target = torch.tensor([0, 1, 2, -1])
    assert [int(top_k(logits, target, k)) for k in (1, 2, 3, 5)] == [1, 2, 3, 3]


def test_right_answers_by_class() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [9.0, 0.0, 0.0]])
    counts = right_by_class(logits, torch.tensor([0, 1, 2, -1]))
    assert counts.tolist() == [[1, 0, 1], [1, 1, 1]]


def test_balanced_accuracy_leaves_out_classes_without_samples() -> None:
    assert balanced_accuracy(np.array([1.0, 0, 0]), np.array([4.0, 1, 0])) == pytest.approx((0.25 + 0) / 2)
    both = balanced_accuracy(np.array([[2.0, 2], [0, 0]]), np.array([[2.0, 4], [0, 0]]))
    assert both[0] == pytest.approx(0.75) and np.isnan(both[1])


def test_confusion_counts_pairs() -> None:
    matrix = confusion(np.array([0, 0, 2, 2, -1]), np.array([0, 1, 2, 0, 1]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1]]
