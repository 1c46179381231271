"""Fine-tuning for a probe: the top layers or all of a network, under a new head; the epoch with the lowest loss on other patients stays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from radload.train.backbones import Backbone
from radload.train.divide import CHOOSE, FIT
from radload.train.features import wanted
from radload.train.models import parameter_groups
from radload.train.objective import loss_sum, mean_loss
from radload.train.schedule import lr_at

TOP, FULL = "top", "full"
_DROPOUT, _DECAY, _WARMUP = 0.5, 0.01, 0.1


class Probe(nn.Module):
    """A backbone under a linear head: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, backbone: Backbone, head: nn.Linear, dropout: float = 0.0) -> None:
        super().__init__()
        self.backbone, self.head, self.dropout = backbone, head, nn.Dropout(dropout)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images."""
        return self.classify(self.backbone(image))

    def classify(self, features: Tensor) -> Tensor:
        """Logits of features (N, width)."""
        logits: Tensor = self.head(self.dropout(features))
        return logits


def thaw(backbone: Backbone, method: str, layers: int) -> list[nn.Module]:
    """Let all parameters learn, or only those of the last `layers` layers that have any; returns the layers that stay as they are.

    A layer that stays has to be in evaluation mode while the others train: its batch statistics belong to its weights.
    """
    own = [module for module in backbone.modules() if any(True for _ in module.parameters(recurse=False))]
    frozen = own[: max(len(own) - layers, 0)] if method == TOP else []
    for parameter in backbone.parameters():
        parameter.requires_grad_(True)
    for module in frozen:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    return frozen


def finetune(
    backbone: Backbone,
    method: str,
    layers: int,
    batches: Iterable[dict[str, Any]],
    evaluation: Callable[[], Iterable[dict[str, Any]]],
    part: NDArray[np.int8],
    codes: NDArray[Any],
    classes: int,
    *,
    steps: int,
    epochs: int,
    lr: float,
    seed: int,
    device: torch.device,
    amp: bool = False,
) -> tuple[Probe, list[float]]:
    """A fine-tuned copy of `backbone`, in evaluation mode on the device, and the loss on CHOOSE after each epoch.

    Args:
        batches: of a shuffling loader over all parts, `steps` per iteration; evaluation: gives one pass over all samples.
        part: (rows,) of `divide`; codes: (rows,) or (rows, K) of `Targets`.
        lr: after warm-up, of AdamW; then half a cosine to 0.
    """
    torch.manual_seed(seed)
    probe = Probe(copy.deepcopy(backbone), nn.Linear(backbone.width, classes), _DROPOUT).to(device)
    frozen = thaw(probe.backbone, method, layers)
    optimizer = AdamW(parameter_groups(probe, _DECAY), lr=0.0)
    targets, step, losses = torch.from_numpy(codes), 0, list[float]()
    best = copy.deepcopy(probe.state_dict())
    for _ in range(epochs):
        probe.train()
        for module in frozen:
            module.eval()
        seen = 0
        for index, batch in wanted(batches, part == FIT, device):
            if len(index) < 2:  # batch norm has nothing to average
                continue
            for group in optimizer.param_groups:
                group["lr"] = lr_at(min(step, steps * epochs - 1), steps * epochs, lr, _WARMUP)
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                logits = probe(batch["image"])
            torch.autograd.backward(mean_loss(*loss_sum(logits.float(), targets[index].to(device))))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, seen = step + 1, seen + 1
        rows, scores = predict(probe, evaluation(), part == CHOOSE, device, amp)
        losses.append(float(mean_loss(*loss_sum(scores, targets[rows]))) if seen else float("inf"))
        if losses[-1] <= min(losses):
            best = copy.deepcopy(probe.state_dict())
    probe.load_state_dict(best)
    return probe.eval(), losses


@torch.inference_mode()
def predict(
    probe: Probe, batches: Iterable[dict[str, Any]], rows: NDArray[np.bool_], device: torch.device, amp: bool = False
) -> tuple[NDArray[np.int64], Tensor]:
    """Rows of the index (n,), ascending, and logits (n, K) float32 on the CPU, of the samples that `rows` chooses."""
    probe.eval()
    seen, scores = [np.zeros(0, np.int64)], [torch.zeros(0, probe.head.out_features)]
    for index, batch in wanted(batches, rows, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            logits = probe(batch["image"])
        seen.append(index)
        scores.append(logits.float().cpu())
    index = np.concatenate(seen)
    order = np.argsort(index)
    return index[order], torch.cat(scores)[torch.from_numpy(order)]
