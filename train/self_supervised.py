"""Self-supervision from several views of each slice: LeJEPA and SimCLR. Both suit CNNs and ViTs, and neither has a teacher.

Embeddings are (V, N, D): V views of N images. Losses are of the *global* batch: every rank gathers the others' embeddings and
sends gradients into its own.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLICES = 256  # directions along which SIGReg looks, new ones each step
LAMBDA = 0.05  # part of SIGReg in LeJEPA's loss
TEMPERATURE = 0.1  # of SimCLR
HIDDEN, WIDTH = 2048, 128  # of the projector
_KNOTS, _RANGE = 17, 3.0  # of the integral over the characteristic function


class Embedder(nn.Module):
    """A backbone (timm, without classifier) and a projector: images (n, C, H, W), and smaller ones besides, to (n + m, WIDTH)."""

    def __init__(self, backbone: nn.Module, shape: tuple[int, int, int, int]) -> None:
        """
        Args:
            shape: of a batch of images, by which the number of features is found.
        """
        super().__init__()
        features = copy.deepcopy(backbone).to("meta").eval()(torch.empty(shape, device="meta")).shape[1]
        self.backbone = backbone
        self.projector = nn.Sequential(
            nn.Linear(features, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True),
            nn.Linear(HIDDEN, WIDTH),
        )  # fmt: skip

    def forward(self, image: Tensor, local: Tensor | None = None) -> Tensor:
        """One pass for all views, so that DDP sees one."""
        features = self.backbone(image)
        if local is not None:
            features = torch.cat([features, self.backbone(local)])
        embeddings: Tensor = self.projector(features)
        return embeddings


def sigreg(embeddings: Tensor, step: int) -> Tensor:
    """Sketched Isotropic Gaussian Regularisation (Balestriero and LeCun 2025, arXiv 2511.08544): how far the embeddings are from N(0, I).

    The Epps-Pulley statistic of their projections on random directions: the squared distance of the empirical characteristic function from
    exp(-t²/2), weighted by it, integrated over t (trapezoids on [0, 3], doubled by symmetry), times N; mean over directions and views.

    Args:
        embeddings: (V, N, D); step: by which the directions are drawn, the same on all ranks.
    """
    generator = torch.Generator(embeddings.device).manual_seed(step)
    device, kind = embeddings.device, embeddings.dtype
    directions = torch.randn(embeddings.shape[-1], SLICES, generator=generator, device=device, dtype=kind)
    t = torch.linspace(0, _RANGE, _KNOTS, device=device, dtype=kind)
    normal = torch.exp(-t.square() / 2)
    weights = torch.full_like(t, 2 * _RANGE / (_KNOTS - 1))
    weights[0] /= 2
    weights[-1] /= 2
    angles = (embeddings @ F.normalize(directions, dim=0))[..., None] * t  # (V, N, SLICES, _KNOTS)
    real, imaginary = angles.cos().mean(1), angles.sin().mean(1)
    distance = ((real - normal).square() + imaginary.square()) @ (weights * normal)  # (V, SLICES)
    statistic: Tensor = distance.mean() * embeddings.shape[1]
    return statistic


def lejepa(embeddings: Tensor, step: int, global_views: int) -> Tensor:
    """LeJEPA: views predict the mean of the global ones, and SIGReg keeps the embeddings from collapsing.

    Args:
        embeddings: (V, N, D), global views first.
    """
    centre = embeddings[:global_views].mean(0)
    return (1 - LAMBDA) * (embeddings - centre).square().mean() + LAMBDA * sigreg(embeddings, step)


def simclr(embeddings: Tensor, step: int = 0, global_views: int = 0) -> Tensor:
    """SimCLR (Chen et al. 2020): each view finds the other views of its image among all views of the batch (NT-Xent).

    With more than two views the mean over the other views, each against the views of other images (as in SupCon, L_out).
    """
    views, images, width = embeddings.shape
    flat = F.normalize(embeddings.reshape(views * images, width), dim=1)
    scores = (flat @ flat.T) / TEMPERATURE
    scores.fill_diagonal_(float("-inf"))
    row = torch.arange(views * images, device=embeddings.device)
    others = (row[:, None] + images * torch.arange(1, views, device=embeddings.device)) % len(row)  # (V * N, V - 1)
    return -scores.log_softmax(dim=1).gather(1, others).mean()


@torch.no_grad()
def found(embeddings: Tensor) -> Tensor:
    """Number of images (0-dimensional, out of N) whose second view is nearest to the first, by angle: near 1 for collapsed embeddings."""
    first, second = F.normalize(embeddings[0], dim=1), F.normalize(embeddings[1], dim=1)
    return ((first @ second.T).argmax(1) == torch.arange(len(first), device=first.device)).sum()


LOSSES = {"lejepa": lejepa, "simclr": simclr}
