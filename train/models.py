"""Networks by their timm names, never downloaded, and the parameter groups of their optimizers."""

from __future__ import annotations

import copy
import difflib
import os
import shlex
from shutil import which
from typing import Any

import timm
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from radload.errors import UsageError
from radload.train.config import Config

PAPER = ("resnet50", "densenet121", "inception_v3", "inception_resnet_v2")  # of RadImageNet, Mei et al. 2022


def arguments(arch: str, in_chans: int, size: int, several_sizes: bool = False) -> dict[str, Any]:
    """Arguments of `timm.create_model` for `arch`, but num_classes. Raises UsageError for a name that timm does not know.

    Args:
        several_sizes: a network whose position embedding has the size of the images interpolates it for others.
    """
    if not timm.is_model(arch):  # hub names among them: training must not depend on a download
        near = difflib.get_close_matches(arch, [*PAPER, *timm.list_models()], n=4)
        hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else f"try {', '.join(PAPER)}"
        raise UsageError(f"--arch {arch!r} is no network that timm knows: {hint}")
    fixed: dict[str, Any] = {"model_name": arch, "pretrained": False, "in_chans": in_chans}
    configuration = timm.get_pretrained_cfg(arch)
    if (
        configuration is not None and configuration.fixed_input_size
    ):  # a ViT's position embedding has the size of the images
        fixed["img_size"] = size
        if several_sizes:
            fixed["dynamic_img_size"] = True
    return fixed


def build_model(
    arch: str, in_chans: int, classes: int, size: int, seed: int = 0, several_sizes: bool = False
) -> nn.Module:
    """A randomly initialised network for (n, in_chans, size, size) -> (n, classes), or features for 0 classes; the same weights for
    the same seed.

    Raises:
        UsageError: no such network, or one that cannot take images of this size.
    """
    fixed = arguments(arch, in_chans, size, several_sizes)
    torch.manual_seed(seed)
    try:
        model: nn.Module = timm.create_model(**fixed, num_classes=classes)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:  # what timm and torch raise for shapes
        raise UsageError(_unfit(arch, in_chans, size, error)) from None
    return model


def compiled(model: nn.Module, device: torch.device) -> Any:
    """`model` by `torch.compile`, which makes kernels for each size of its images when they first come.

    Raises:
        UsageError: there is no compiler, which the first step would otherwise find out.
    """
    # C++ for the kernels themselves on a CPU; C for what starts them on a GPU
    variable, names = ("CXX", ("g++",)) if device.type == "cpu" else ("CC", ("gcc", "clang"))
    given = shlex.split(os.environ.get(variable, ""))[:1]
    if not any(which(name) for name in given or names):
        raise UsageError(
            f"--compile needs a compiler, and there is no {' or '.join(given or names)}: install one, name it in {variable}, "
            "or leave --compile out"
        )
    return torch.compile(model, dynamic=False)


def check_shapes(model: nn.Module, arch: str, shape: tuple[int, int, int, int]) -> None:
    """Try one training step's forward pass on shapes alone (no memory, no time), so that a bad size fails now and in a sentence.

    Raises:
        UsageError: the network cannot take a batch of `shape` (N, C, H, W).
    """
    try:
        copy.deepcopy(model).to("meta").train()(torch.empty(shape, device="meta"))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise UsageError(_unfit(arch, shape[1], shape[2], error, shape[0])) from None


def _unfit(arch: str, in_chans: int, size: int, error: Exception, images: int | None = None) -> str:
    batch = "" if images is None else f", {images} image{'s' * (images != 1)} per process"
    reason = next((line for line in str(error).splitlines() if line), type(error).__name__)[:200]
    return f"{arch} cannot train on images of {in_chans} x {size} x {size}{batch} ({reason}): give another --size, --batch-size or --arch"


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: weights that decay; and norms, biases and what timm names in `no_weight_decay()`, which do not."""
    exempt: set[str] = set(getattr(model, "no_weight_decay", set)())
    decay: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (rest if parameter.ndim <= 1 or name in exempt else decay).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def build_optimizer(model: nn.Module, config: Config) -> Optimizer:
    """SGD with Nesterov momentum 0.9, or AdamW; one fused kernel on both devices. The learning rate is set before each step."""
    groups = parameter_groups(model, config.weight_decay or 0.0)
    if config.optimizer == "sgd":
        return SGD(groups, lr=0.0, momentum=0.9, nesterov=True, fused=True)
    return AdamW(groups, lr=0.0, fused=True)
