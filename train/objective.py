"""The loss of labels: cross-entropy for one per image, binary cross-entropy per class for several; what has no label is masked."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def loss_sum(
    logits: Tensor, target: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum of the losses and number of labels (both 0-dimensional, on the device: nothing waits for it).

    Args:
        logits: (N, K) float32; target: (N,) int64, -1 for none, or (N, K) float, NaN for unknown; smoothing: of single labels.
        weights: (K,) of the classes; of several labels, of their positives.
    """
    if target.ndim == 1:
        total = F.cross_entropy(logits, target, weights, ignore_index=-1, reduction="sum", label_smoothing=smoothing)
        return total, (target >= 0).sum()
    known = ~target.isnan()
    each = F.binary_cross_entropy_with_logits(logits, target.nan_to_num(), reduction="none", pos_weight=weights)
    return (each * known).sum(), known.sum()


def losses(logits: Tensor, target: Tensor) -> Tensor:
    """(N,) loss of each sample, of several labels the mean over those that are known; NaN without a label. As in `loss_sum`."""
    if target.ndim == 1:
        each = F.cross_entropy(logits, target, ignore_index=-1, reduction="none")
        return each.masked_fill(target < 0, float("nan"))
    known = ~target.isnan()
    each = F.binary_cross_entropy_with_logits(logits, target.nan_to_num(), reduction="none")
    return (each * known).sum(dim=1) / known.sum(dim=1)


def mean_loss(total: Tensor, count: Tensor) -> Tensor:
    """Mean over the labels of this rank; 0, with zero gradients, where a batch has none."""
    return total / count.clamp(min=1)


def correct(logits: Tensor, target: Tensor) -> Tensor:
    """Number of right answers (0-dimensional): the best class, or for several labels the side of zero."""
    if target.ndim == 1:
        return (logits.argmax(1) == target).sum()
    return ((logits > 0) == (target > 0.5)).logical_and(~target.isnan()).sum()
