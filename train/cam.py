"""Grad-CAM (Selvaraju et al. 2017) on the last feature maps of a CNN, and how well it agrees with masks (Dice)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from radload.errors import UsageError
from radload.train.finetune import Probe

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # shares of a map's maximum


def grad_cam(probe: Probe, image: Tensor, classes: Tensor) -> Tensor:
    """(N, H, W) float32 in [0, 1], the maximum of each map being 1; all 0 where nothing speaks for the class.

    Args:
        probe: in evaluation mode; image: (N, C, H, W); classes: (N,) int64, the class that each map is for.

    Raises:
        UsageError: the network has no feature maps (a transformer's tokens are none).
    """
    with torch.no_grad():
        maps = probe.backbone.maps(image)
    width = int(probe.backbone.net.num_features)
    if maps.ndim != 4 or width not in (maps.shape[1], maps.shape[3]):
        raise UsageError(
            f"{type(probe.backbone.net).__name__} ends in {tuple(maps.shape[1:])}, not in feature maps: take a CNN"
        )
    maps = maps.detach().float().requires_grad_(True)
    logits = probe.classify(probe.backbone.pool(maps))
    chosen = logits.gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, maps)
    maps = maps.detach()
    if maps.shape[1] != width:  # channels last, as timm's Swin has them
        maps, gradient = maps.permute(0, 3, 1, 2), gradient.permute(0, 3, 1, 2)
    heat = (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1, keepdim=True).relu()
    heat = F.interpolate(heat, image.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def dice(heat: Tensor, mask: Tensor) -> NDArray[np.float64]:
    """(N, thresholds) overlap 2|A and B| / (|A| + |B|) of the maps above each of THRESHOLDS and the masks.

    Args:
        heat: (N, H, W) of `grad_cam`; mask: (N, H, W) bool, none of them empty.
    """
    size = mask.sum(dim=(1, 2))
    columns = []
    for threshold in THRESHOLDS:
        above = heat >= threshold
        both = (above & mask).sum(dim=(1, 2))
        columns.append(2 * both / (above.sum(dim=(1, 2)) + size))
    return np.asarray(torch.stack(columns, dim=1).double().cpu().numpy())


def mean_by_patient_draws(
    values: NDArray[np.float64], patients: NDArray[np.int64], weights: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(B,) mean of values (n,) under the weights (B, patients) of their patients (n,); NaN where none is drawn."""
    counts = np.bincount(patients, minlength=weights.shape[1]).astype(np.float64)
    sums = np.bincount(patients, values, weights.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weights @ sums) / (weights @ counts))
