"""One-vs-rest AUROC from rank statistics: exact, over all ranks; and the same under whole-number weights, for the bootstrap.

AUROC is the Mann-Whitney U statistic over n_positive * n_negative, with midranks for ties (Hanley and McNeil 1982).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radload.train.distributed import Ranks

_ENTRIES = 1 << 22  # weights that are added up at once: 32 MiB


def auroc(scores: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    Args:
        scores: (n,) float; positive: (n,) bool.

    Returns:
        0-dimensional float64, NaN where there is no positive or no negative.
    """
    ordered = scores.sort().values
    below = torch.searchsorted(ordered, scores)
    upto = torch.searchsorted(ordered, scores, right=True)
    midrank = (below + upto + 1).double() / 2  # of each score, from 1
    positives = positive.sum().double()
    negatives = len(scores) - positives
    u = (midrank * positive).sum() - positives * (positives + 1) / 2
    return u / (positives * negatives)


def auroc_by_class(ranks: Ranks, scores: Tensor, targets: Tensor) -> Tensor:
    """(K,) float64 AUROC of each class against the rest, NaN for classes without positives or negatives; the same on all ranks.

    Args:
        scores: (n, K), the same n on every rank; targets: (n,) int64 with -1 for none, or (n, K) 0 / 1 / NaN for unknown.
    """
    classes = scores.shape[1]
    result = torch.zeros(classes, dtype=torch.float64, device=scores.device)
    single = ranks.gather(targets) if targets.ndim == 1 else None
    for k in range(classes):  # one column at a time: the scores of all ranks together may not fit into memory
        column = ranks.gather(scores[:, k])
        target = single if single is not None else ranks.gather(targets[:, k])
        if k % ranks.world != ranks.rank:
            continue
        known = target >= 0  # false for NaN as well
        positive = target == k if single is not None else target > 0.5
        result[k] = auroc(column[known], positive[known])
    return ranks.sum(result)


def weighted_auroc(
    scores: NDArray[np.floating], positive: NDArray[np.bool_], units: NDArray[np.int64], weights: NDArray[np.integer]
) -> NDArray[np.float64]:
    """AUROC of samples that count as often as their unit (a patient) is drawn, for many draws at once.

    Args:
        scores, positive, units: (n,), units from 0.
        weights: (B, units) how often each unit counts.

    Returns:
        (B,) float64, NaN where a draw has no positive or no negative.
    """
    order = np.argsort(scores[~positive], kind="stable")
    low = scores[~positive][order]
    low_units, high_units = units[~positive][order], units[positive]
    below = np.searchsorted(low, scores[positive], "left")
    upto = np.searchsorted(low, scores[positive], "right")
    result = np.full(len(weights), np.nan)
    step = max(1, _ENTRIES // max(1, len(scores)))
    for start in range(0, len(weights), step):
        part = weights[start : start + step]
        ahead: NDArray[Any] = np.zeros((len(part), len(low) + 1), np.int64)  # weight of the first j negatives
        np.cumsum(part[:, low_units], axis=1, dtype=np.int64, out=ahead[:, 1:])
        mine = part[:, high_units].astype(np.float64)
        u = (mine * (ahead[:, below] + ahead[:, upto])).sum(axis=1) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            result[start : start + step] = u / (mine.sum(axis=1) * ahead[:, -1])
    return result


def areas_by_class(
    scores: NDArray[Any], present: NDArray[Any], units: NDArray[np.int64], weights: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(B, K) `weighted_auroc` of each class; NaN where it has no positive or no negative.

    Args:
        scores: (n, K); present: (n, K) 1, 0, NaN for unknown; units: (n,); weights: (B, units).
    """
    areas = np.full((len(weights), scores.shape[1]), np.nan)
    for k in range(scores.shape[1]):
        known = ~np.isnan(present[:, k])
        positive = present[known, k] > 0.5
        if positive.any() and not positive.all():
            areas[:, k] = weighted_auroc(scores[known, k], positive, units[known], weights)
    return areas


def macro(areas: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) mean over the classes that can be judged, of (B, K); in a draw in which one of them cannot be, over the others."""
    result = np.full(len(areas), np.nan)
    some = np.isfinite(areas).any(axis=1)
    result[some] = np.nanmean(areas[some], axis=1)
    return result


def one_hot(codes: NDArray[Any], classes: int) -> NDArray[Any]:
    """(n, K) 1, 0, and NaN for unknown, of single labels (n,), -1 for none, or of several, which have it already."""
    if codes.ndim == 2:
        return np.asarray(codes)
    found: NDArray[np.float32] = (codes[:, None] == np.arange(classes)).astype(np.float32)
    found[codes < 0] = np.nan
    return found
