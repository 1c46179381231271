"""What has no label adds nothing to the loss or to a gradient; what has one adds exactly what torch's own loss says."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from radload.train.objective import correct, loss_sum, losses, mean_loss


def test_unlabelled_samples_do_not_count() -> None:
    logits = torch.randn(6, 3, requires_grad=True)
    target = torch.tensor([0, -1, 2, 1, -1, 2])
    total, count = loss_sum(logits, target, 0.1)
    known = target >= 0
    expected = F.cross_entropy(logits[known], target[known], label_smoothing=0.1)
    torch.testing.assert_close(mean_loss(total, count), expected)
    mean_loss(total, count).backward()
    assert logits.grad is not None and not logits.grad[~known].any() and logits.grad[known].any()
    assert int(correct(logits, target)) == int((logits.argmax(1)[known] == target[known]).sum())


def test_a_batch_without_any_label_gives_zero_and_zero_gradients() -> None:
    for target in (torch.full((4,), -1), torch.full((4, 3), torch.nan)):
        logits = torch.randn(4, 3, requires_grad=True)
        loss = mean_loss(*loss_sum(logits, target))
        loss.backward()
        assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_multi_label_masks_unknown_values() -> None:
    logits = torch.randn(5, 4, requires_grad=True)
    target = torch.tensor([0.0, 1.0, torch.nan, 1.0]).repeat(5, 1)
    total, count = loss_sum(logits, target)
    known = ~target.isnan()
    torch.testing.assert_close(
        mean_loss(total, count), F.binary_cross_entropy_with_logits(logits[known], target[known])
    )
    mean_loss(total, count).backward()
    assert logits.grad is not None and not logits.grad[:, 2].any() and bool(logits.grad.isfinite().all())
    assert int(correct(torch.full((5, 4), 3.0), target)) == 10


def test_losses_of_samples_add_up() -> None:
    logits, single = torch.randn(6, 3), torch.tensor([0, -1, 2, 1, -1, 2])
    each = losses(logits, single)
    assert each.isnan().tolist() == (single < 0).tolist()
    torch.testing.assert_close(each.nansum(), loss_sum(logits, single)[0])
    several = torch.tensor([[1, torch.nan, 0], [torch.nan] * 3])
    each = losses(logits[:2], several)
    torch.testing.assert_close(each[0], mean_loss(*loss_sum(logits[:1], several[:1])))
    assert each[1].isnan()


def test_one_class_has_nothing_to_learn() -> None:
    logits = torch.randn(4, 1, requires_grad=True)
    total, count = loss_sum(logits, torch.zeros(4, dtype=torch.int64), 0.1)
    assert mean_loss(total, count).item() == 0
