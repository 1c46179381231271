"""Mixtures, class weights and parts of a batch are what they are called."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from radload.train.config import Config
from radload.train.distributed import Ranks
from radload.train.learn import class_weights, make_objective, mixup_share, pieces
from radload.train.tasks import Task

ALONE = Ranks(0, 1, 0, torch.device("cpu"))


def task(counts: list[int], multi: bool = False, labelled: int | None = None) -> Task:
    number = np.array(counts, np.int64)
    total = int(number.sum()) if labelled is None else labelled
    return Task("t", "t", multi, tuple("abc"[: len(counts)]), {"train": number}, {"train": total}, {"train": 0})


def test_balanced_classes_have_the_same_part_in_the_loss() -> None:
    weights = class_weights(task([60, 20, 40]))
    torch.testing.assert_close(weights * torch.tensor([60.0, 20, 40]), torch.full((3,), 40.0))
    assert class_weights(task([100, 0])).tolist() == [1.0, 1.0] and class_weights(task([9999, 1]))[1] == 12
    torch.testing.assert_close(class_weights(task([25, 50], multi=True, labelled=100)), torch.tensor([3.0, 1.0]))
    config = Config(objective="supervised", class_weights="balanced", label_smoothing=0.0)
    net, image = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(6, 3, 2, 2)
    label = torch.tensor([0, 1, 2, 2, -1, 0])
    outcome = make_objective(config, task([60, 20, 40]), ALONE)(net, {"image": image, "label": label}, 0)
    known = label >= 0
    each = F.cross_entropy(net(image)[known], label[known], reduction="none") * weights[label[known]]
    torch.testing.assert_close(outcome.total, each.sum().detach())
    assert outcome.count == 5 and torch.equal(outcome.loss.detach(), outcome.total / 6)


def test_a_mixture_is_of_images_and_of_losses_and_a_function_of_its_step() -> None:
    shares = [mixup_share(0.4, 1, step) for step in range(200)]
    assert all(0.5 <= share <= 1 for share in shares) and len(set(shares)) == 200
    assert shares[7] == mixup_share(0.4, 1, 7) and mixup_share(0.0, 1, 7) == 1.0
    config = Config(objective="supervised", mixup=0.4, label_smoothing=0.0, seed=1)
    net, image, label = (
        nn.Sequential(nn.Flatten(), nn.Linear(12, 3)),
        torch.randn(4, 3, 2, 2),
        torch.tensor([0, 1, 2, 0]),
    )
    outcome = make_objective(config, task([1, 1, 1]), ALONE)(net, {"image": image, "label": label}, 7)
    mixed, share = shares[7] * image + (1 - shares[7]) * image[[3, 0, 1, 2]], shares[7]
    soft = share * F.one_hot(label, 3) + (1 - share) * F.one_hot(label[[3, 0, 1, 2]], 3)
    torch.testing.assert_close(outcome.loss.detach(), F.cross_entropy(net(mixed), soft).detach())


def test_parts_of_a_batch_are_the_batch() -> None:
    batch = {"image": torch.randn(2, 6, 3, 4, 4), "local": torch.randn(5, 6, 3, 2, 2), "index": torch.arange(6)}
    parts = pieces(batch, 3)
    assert [part["index"].tolist() for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert torch.equal(torch.cat([part["image"] for part in parts], 1), batch["image"])
    assert torch.equal(torch.cat([part["local"] for part in parts], 1), batch["local"])
    assert pieces(batch, 1) == [batch] and pieces({"image": torch.zeros(4, 3, 2, 2)}, 2)[0]["image"].shape == (
        2,
        3,
        2,
        2,
    )
