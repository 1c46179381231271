"""The linear probe: logistic regression on features, its penalty chosen on patients that it was not fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from radload.train.objective import loss_sum, mean_loss

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # of the squared weights, beside the mean loss
_ROUNDS = 200  # of L-BFGS, per penalty


@dataclass(frozen=True)
class Fitted:
    """A linear head on features as they come: logits = features @ weight.T + bias; and the penalty that was chosen."""

    weight: Tensor
    bias: Tensor
    penalty: float

    def as_layer(self) -> nn.Linear:
        """The same as a layer."""
        layer = nn.Linear(self.weight.shape[1], self.weight.shape[0])
        layer.load_state_dict({"weight": self.weight, "bias": self.bias})
        return layer


def fit_linear(features: Tensor, targets: Tensor, others: Tensor, other_targets: Tensor, classes: int) -> Fitted:
    """Fit for each penalty, from the strongest, and keep what has the lowest loss on the others.

    Args:
        features: (n, d) float; targets: (n,) int64, -1 for none, or (n, K) float32, NaN for unknown.
        others, other_targets: the same of other patients.
    """
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    deviation = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, torch.ones_like(deviation))
    inputs, judged = (features - mean) / deviation, (others - mean) / deviation
    weight = features.new_zeros((classes, features.shape[1]), requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    lowest, found, offset, chosen = float("inf"), weight, bias, PENALTIES[0]
    for penalty in PENALTIES:
        _minimise(inputs, targets, weight, bias, penalty)
        with torch.no_grad():
            loss = float(mean_loss(*loss_sum(judged @ weight.T + bias, other_targets)))
        if loss < lowest:
            lowest, chosen = loss, penalty
            found, offset = weight.detach().clone(), bias.detach().clone()
    scaled = found.detach() / deviation
    return Fitted(scaled, offset.detach() - scaled @ mean, chosen)


def _minimise(inputs: Tensor, targets: Tensor, weight: Tensor, bias: Tensor, penalty: float) -> None:
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_ROUNDS, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = mean_loss(*loss_sum(inputs @ weight.T + bias, targets)) + penalty / 2 * weight.square().sum()
        torch.autograd.backward(loss)
        return loss

    step: Callable[[Callable[[], Tensor]], Any] = optimizer.step
    step(closure)
