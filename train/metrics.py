"""Counts of right answers, of single labels: among the k best, by class, and as a confusion matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def top_k(logits: Tensor, targets: Tensor, k: int) -> Tensor:
    """Number of samples (0-dimensional) whose class is among the k best (all of them where there are fewer classes).

    Args:
        logits: (n, K); targets: (n,) int64, -1 for none, which is never right.
    """
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (best == targets[:, None]).any(dim=1).sum()


def right_by_class(logits: Tensor, targets: Tensor) -> Tensor:
    """(2, K) float64: samples of each class whose best class is their own, and all samples of each class; -1 counts nowhere."""
    classes = logits.shape[1]
    known = targets >= 0
    right = known & (logits.argmax(1) == targets)
    spare = targets.clamp(min=0)
    counts = logits.new_zeros((2, classes)).double()
    counts[0].index_add_(0, spare, right.double())
    counts[1].index_add_(0, spare, known.double())
    return counts


def balanced_accuracy(right: NDArray[np.floating], total: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean over the classes that have samples of the share that is right.

    Args:
        right, total: (..., K) counts.

    Returns:
        (...) float64, NaN where no class has a sample.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(total > 0, right / total, 0.0)
        return np.asarray(recall.sum(axis=-1) / (total > 0).sum(axis=-1))


def confusion(targets: NDArray[np.int64], best: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(K, K) counts: row true class, column best class. targets, best: (n,), -1 in `targets` for none."""
    known = targets >= 0
    pairs = targets[known] * classes + best[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
