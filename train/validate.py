"""One pass over the validation split: what is logged each epoch, each sample counted once over all ranks; `judge` says the rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from radload.dataset.schema import key_text
from radload.train.auroc import auroc_by_class
from radload.train.distributed import Ranks
from radload.train.learn import Objective
from radload.train.metrics import balanced_accuracy, right_by_class, top_k
from radload.train.objective import loss_sum, losses
from radload.train.predictions import Seen, concatenate, hardest
from radload.train.tasks import Task

HARDEST = 10  # keys in a line of the log


@torch.inference_mode()
def validate_views(
    model: nn.Module, batches: Iterable[dict[str, Any]], objective: Objective, ranks: Ranks
) -> dict[str, Any]:
    """A self-supervised objective on augmented views of `batches`, whose padding is none.

    Returns:
        "loss", "samples", "unreadable" (damaged samples: black images), "found" (share of images whose second view is nearest to the
        first in its batch).
    """
    ranks.share_buffers(model)
    model.eval()
    totals = torch.zeros(4, dtype=torch.float64, device=ranks.device)  # loss, images, found, unreadable
    for number, batch in enumerate(batches):
        outcome = objective(model, batch, number)
        damaged = (~batch["valid"]).sum().to(ranks.device, non_blocking=True)
        totals += torch.stack(
            [outcome.total.double(), outcome.count.double(), outcome.right.double(), damaged.double()]
        )
    model.train()
    loss, images, found, damaged_count = ranks.sum(totals).tolist()
    share = max(images, 1)
    return {"loss": loss / share, "samples": int(images), "unreadable": int(damaged_count), "found": found / share}


@torch.inference_mode()
def validate(
    model: nn.Module,
    batches: Iterable[dict[str, Any]],
    task: Task,
    keys: NDArray[np.uint64],
    ranks: Ranks,
    amp: bool,
    layout: torch.memory_format,
) -> tuple[dict[str, Any], Seen]:
    """Metrics of `model` (not wrapped in DDP) on `batches`, which are equally many on every rank; and what it said on this rank.

    Args:
        keys: of the data set's rows.

    Returns:
        "loss" (without label smoothing), "samples", "unreadable" (damaged samples, which are left out), "auroc" (mean over the
        classes that have positives and negatives, None where none has), "auroc_by_class" {name: value}, "hardest" (keys of the samples
        with the highest loss, highest first); and for single labels "top1" and "top5" as shares, and "balanced_accuracy" over the
        classes that have samples.
    """
    ranks.share_buffers(model)
    model.eval()
    kind = next(model.parameters()).dtype
    classes = len(task.classes)
    totals = torch.zeros(5, dtype=torch.float64, device=ranks.device)  # loss, labels, samples, top-1, top-5
    by_class = torch.zeros((2, classes), dtype=torch.float64, device=ranks.device)  # right, all
    unreadable = torch.zeros((), dtype=torch.float64, device=ranks.device)
    parts: list[Seen] = []
    for batch in batches:
        image = batch["image"].to(ranks.device, kind, non_blocking=True).contiguous(memory_format=layout)
        target = task.targets(batch, ranks.device)
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=amp):
            logits = model(image)
        logits = logits.float()
        loss, labels = loss_sum(logits, target)
        if task.multi:
            samples = (~target.isnan()).any(dim=1).sum()
            best, among, scores = labels.new_zeros(()), labels.new_zeros(()), logits
        else:
            samples, best, among = labels, top_k(logits, target, 1), top_k(logits, target, 5)
            by_class += right_by_class(logits, target)
            scores = logits.log_softmax(dim=1)  # orders like the probability, and does not saturate at 1
        totals += torch.stack([loss.double(), labels.double(), samples.double(), best.double(), among.double()])
        index = batch["index"].to(ranks.device, non_blocking=True)
        if "valid" in batch:  # padding has no row
            valid = batch["valid"].to(ranks.device, non_blocking=True)
            unreadable += (~valid & (index >= 0)).sum()
            index = index.masked_fill(~valid, -1)
        parts.append(Seen(index, scores, target, losses(logits, target)))
    model.train()
    seen = concatenate(parts)
    loss_total, label_count, sample_count, best_count, among_count = ranks.sum(totals).tolist()
    damaged = int(ranks.sum(unreadable))
    areas = auroc_by_class(ranks, seen.scores, seen.targets).tolist()
    known = {name: area for name, area in zip(task.classes, areas, strict=True) if area == area}
    result: dict[str, Any] = {
        "loss": loss_total / max(label_count, 1),
        "samples": int(sample_count),
        "unreadable": damaged,
    }
    if not task.multi:
        right, total = ranks.sum(by_class).cpu().numpy()
        result |= {"top1": best_count / max(sample_count, 1), "top5": among_count / max(sample_count, 1)}
        result["balanced_accuracy"] = float(balanced_accuracy(right, total)) if total.any() else None
    result["auroc"] = sum(known.values()) / len(known) if known else None
    result["auroc_by_class"] = known
    result["hardest"] = [key_text(int(keys[row])) for row, _ in hardest(ranks, seen, HARDEST)]
    return result, seen
