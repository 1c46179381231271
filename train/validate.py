"""One pass over the validation split: loss, top-1, top-5 and macro AUROC, each sample counted once over all ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from radload.train.distributed import Ranks
from radload.train.metrics import auroc_by_class, top_k
from radload.train.objective import loss_sum
from radload.train.tasks import Task


@torch.inference_mode()
def validate(
    model: nn.Module,
    batches: Iterable[dict[str, Any]],
    task: Task,
    ranks: Ranks,
    amp: bool,
    layout: torch.memory_format,
) -> dict[str, Any]:
    """Metrics of `model` (not wrapped in DDP) on `batches`, which are equally many on every rank.

    Returns:
        "loss" (without label smoothing), "samples", "unreadable" (damaged samples, which are left out), "auroc" (mean over the
        classes that have positives and negatives, None where none has), "auroc_by_class" {name: value}; and for single labels
        "top1" and "top5" as shares.
    """
    ranks.share_buffers(model)
    model.eval()
    totals = torch.zeros(5, dtype=torch.float64, device=ranks.device)  # loss, labels, samples, top-1, top-5
    unreadable = torch.zeros((), dtype=torch.float64, device=ranks.device)
    scores, targets = [], []
    for batch in batches:
        image = batch["image"].to(ranks.device, non_blocking=True).contiguous(memory_format=layout)
        target = task.targets(batch, ranks.device)
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=amp):
            logits = model(image)
        logits = logits.float()
        loss, labels = loss_sum(logits, target)
        if task.multi:
            samples = (~target.isnan()).any(dim=1).sum()
            best, among = labels.new_zeros(()), labels.new_zeros(())
            scores.append(logits)
        else:
            samples, best, among = labels, top_k(logits, target, 1), top_k(logits, target, 5)
            scores.append(logits.log_softmax(dim=1))  # orders like the probability, and does not saturate at 1
        totals += torch.stack([loss.double(), labels.double(), samples.double(), best.double(), among.double()])
        targets.append(target)
        if "valid" in batch:  # padding has no row
            unreadable += (~batch["valid"] & (batch["index"] >= 0)).sum().to(ranks.device)
    model.train()
    loss_total, label_count, sample_count, best_count, among_count = ranks.sum(totals).tolist()
    damaged = int(ranks.sum(unreadable))
    areas = auroc_by_class(ranks, torch.cat(scores), torch.cat(targets)).tolist()
    known = {name: area for name, area in zip(task.classes, areas, strict=True) if area == area}
    result: dict[str, Any] = {
        "loss": loss_total / max(label_count, 1),
        "samples": int(sample_count),
        "unreadable": damaged,
    }
    if not task.multi:
        result |= {"top1": best_count / max(sample_count, 1), "top5": among_count / max(sample_count, 1)}
    result["auroc"] = sum(known.values()) / len(known) if known else None
    return result | {"auroc_by_class": known}
