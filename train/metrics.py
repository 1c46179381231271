"""Exact metrics of a validation: top-k, and one-vs-rest AUROC from rank statistics, over all ranks.

AUROC is the Mann-Whitney U statistic over n_positive * n_negative, with midranks for ties (Hanley and McNeil 1982).
"""

from __future__ import annotations

import torch
from torch import Tensor

from radload.train.distributed import Ranks


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


def top_k(logits: Tensor, targets: Tensor, k: int) -> Tensor:
    """Number of samples (0-dimensional) whose class is among the k best (all of them where there are fewer classes).

    Args:
        logits: (n, K); targets: (n,) int64, -1 for none, which is never right.
    """
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return (best == targets[:, None]).any(dim=1).sum()
