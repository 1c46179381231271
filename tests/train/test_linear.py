"""The probe finds the minimum that logistic regression has, chooses the penalty by other patients, and masks what is unknown."""

from __future__ import annotations

import torch

from radload.train.linear import PENALTIES, fit_linear
from radload.train.objective import loss_sum, mean_loss


def clusters(n: int, seed: int, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    targets = torch.arange(n) % 3
    means = torch.tensor([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 2.0, 0]])
    return (means[targets] + spread * torch.randn(n, 4)) * torch.tensor([1.0, 100.0, 0.01, 1.0]) + 5, targets


def test_the_gradient_is_zero_at_what_it_returns() -> None:
    features, targets = clusters(300, 0)
    others = clusters(300, 1)
    found = fit_linear(features, targets, *others, 3)
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    weight = (found.weight * deviation).double().requires_grad_(True)
    bias = (found.bias + found.weight @ mean).double().requires_grad_(True)
    inputs = ((features - mean) / deviation).double()
    loss = mean_loss(*loss_sum(inputs @ weight.T + bias, targets)) + found.penalty / 2 * weight.square().sum()
    gradients = torch.autograd.grad(loss, (weight, bias))
    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-4


def test_scales_and_constant_features_change_nothing() -> None:
    features, targets = clusters(300, 0)
    others, other_targets = clusters(300, 1)
    plain = fit_linear(features, targets, others, other_targets, 3)
    scaled = fit_linear(features * 7 - 3, targets, others * 7 - 3, other_targets, 3)
    assert plain.penalty == scaled.penalty
    torch.testing.assert_close(
        (others * 7 - 3) @ scaled.weight.T + scaled.bias, others @ plain.weight.T + plain.bias, atol=2e-2, rtol=2e-2
    )
    constant = torch.full((300, 1), 3.0)
    wide = fit_linear(torch.cat([features, constant], 1), targets, torch.cat([others, constant], 1), other_targets, 3)
    assert wide.weight.isfinite().all()
    layer = wide.as_layer()
    accuracy = (layer(torch.cat([others, constant], 1)).argmax(1) == other_targets).float().mean()
    assert accuracy > 0.8


def test_noise_gets_a_strong_penalty_and_a_clear_case_a_weak_one() -> None:
    torch.manual_seed(3)
    noise, other = torch.randn(60, 200), torch.randn(60, 200)
    labels = torch.arange(60) % 2
    assert fit_linear(noise, labels, other, labels, 2).penalty >= 0.1
    clear, targets = clusters(600, 0, 0.3)
    assert fit_linear(clear, targets, *clusters(600, 1, 0.3), 3).penalty <= 1e-3
    assert list(PENALTIES) == sorted(PENALTIES, reverse=True)


def test_several_labels_with_unknown_ones() -> None:
    features, targets = clusters(400, 0)
    several = torch.nn.functional.one_hot(targets, 3).float()
    unknown = several.clone()
    unknown[::2, 0] = float("nan")
    found = fit_linear(features, unknown, features, several, 3)
    right = ((features @ found.weight.T + found.bias > 0) == (several > 0.5)).float().mean(dim=0)
    assert right.min() > 0.75 and found.weight.isfinite().all()
