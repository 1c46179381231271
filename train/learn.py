"""What a network learns from a batch, as one function: `objective(net, batch, step) -> Outcome`, from labels or from several views.

A trainer of another kind is another such function; docs/training.md has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radload.train.config import Config
from radload.train.distributed import Ranks, step_seed
from radload.train.objective import correct, loss_sum
from radload.train.self_supervised import LOSSES, found
from radload.train.tasks import Task

_LARGEST = 12.0  # weight of a class: one that is rarer still would rule the batch that it is in


@dataclass(frozen=True)
class Outcome:
    """Of one batch, all 0-dimensional and on the device.

    Attributes:
        loss: its gradient, averaged over ranks and batches, is the step's.
        total, count, right: for the log, sums over the batch: of the losses, of what has one, and of right answers.
    """

    loss: Tensor
    total: Tensor
    count: Tensor
    right: Tensor


Batch = dict[str, Any]
Objective = Callable[[nn.Module, Batch, int], Outcome]


def make_objective(config: Config, task: Task, ranks: Ranks) -> Objective:
    """The objective of a resolved `config`."""
    return _supervised(config, task, ranks) if config.supervised else _self_supervised(config, ranks)


def pieces(batch: Batch, parts: int) -> list[Batch]:
    """Equal parts of a batch's images, for gradients that are added up."""
    if parts == 1:
        return [batch]
    columns = {
        name: column.chunk(parts, dim=int(name == "local" or (name == "image" and column.ndim == 5)))
        for name, column in batch.items()
        if isinstance(column, Tensor)
    }
    return [{name: column[part] for name, column in columns.items()} for part in range(parts)]


def placed(image: Tensor, config: Config, device: torch.device) -> Tensor:
    """(N, C, H, W) as the network takes it: on the device, NHWC in memory unless --no-channels-last."""
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return image.to(device, real(config), non_blocking=True).contiguous(memory_format=layout)


def real(config: Config) -> torch.dtype:
    """The type of weights and losses."""
    return torch.float64 if config.amp == "float64" else torch.float32


def class_weights(task: Task) -> Tensor:
    """(K,) float32: single labels in inverse proportion to their number in the training split, 1 on average over its samples; of several
    labels, negatives per positive. At most 12, 1 for what was never seen."""
    seen = task.counts["train"]
    counts = np.maximum(seen, 1)
    if task.multi:
        weights = (task.labelled["train"] - counts) / counts
    else:
        weights = np.where(seen > 0, seen.sum() / ((seen > 0).sum() * counts), 1.0)
    return torch.from_numpy(np.clip(weights, 1 / _LARGEST, _LARGEST).astype(np.float32))


def _supervised(config: Config, task: Task, ranks: Ranks) -> Objective:
    device, kind = ranks.device, real(config)
    weights = class_weights(task).to(device, kind) if config.class_weights == "balanced" else None

    def learn(net: nn.Module, batch: Batch, step: int) -> Outcome:
        image, target = placed(batch["image"], config, device), task.targets(batch, device)
        target = target.to(kind) if task.multi else target
        share = mixup_share(config.mixup, config.seed, step)
        if share < 1:
            image = share * image + (1 - share) * image.roll(1, 0)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.amp == "bf16"):
            logits = net(image)
        logits = logits.to(kind)
        total, count = loss_sum(logits, target, config.label_smoothing, weights)
        if share < 1:
            total = (
                share * total + (1 - share) * loss_sum(logits, target.roll(1, 0), config.label_smoothing, weights)[0]
            )
        return Outcome(total / len(image), total.detach(), count, correct(logits.detach(), target))

    return learn


def mixup_share(alpha: float, seed: int, step: int) -> float:
    """The part of the first image in a mixture (Zhang et al. 2018), from 0.5 to 1; a function of its arguments, 1 for alpha 0."""
    if alpha == 0:
        return 1.0
    share = np.random.default_rng(step_seed(seed, step, 1 << 30)).beta(alpha, alpha)
    return float(max(share, 1 - share))


def _self_supervised(config: Config, ranks: Ranks) -> Objective:
    of_views = LOSSES[config.objective]

    def learn(net: nn.Module, batch: Batch, step: int) -> Outcome:
        image = batch["image"]  # (V, N, C, H, W), and where there are local views those in "local"
        views = [
            placed(batch[name].flatten(0, 1), config, ranks.device) for name in ("image", "local") if name in batch
        ]
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=config.amp == "bf16"):
            flat = net(*views)
        mine = flat.to(real(config)).unflatten(0, (-1, image.shape[1]))
        embeddings = ranks.join_columns(mine)  # (views, images of all ranks, D)
        loss = of_views(embeddings, step, len(image))
        # A rank's gradient is that of its own embeddings; the mean over ranks, which DDP takes, is to be their sum.
        count = loss.new_full((), image.shape[1])
        return Outcome(loss * ranks.world, loss.detach() * count, count, found(embeddings) / ranks.world)

    return learn
