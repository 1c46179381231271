"""How fast the network alone is: some steps on images that are there already, before the run; then everything is as it was."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.optim import Optimizer

_WARM_UP = 3  # steps that choose kernels, or compile


def rehearse(
    step: Callable[[], object],
    steps: int,
    images: int,
    modules: Sequence[nn.Module],
    optimizer: Optimizer,
    device: torch.device,
) -> float:
    """Images per second of `steps` calls of `step`, which takes a training step on `images` images over all ranks.

    Args:
        modules, optimizer: what `step` changes; they are put back.
    """
    before = [copy.deepcopy(module.state_dict()) for module in modules]
    optimizer_before = copy.deepcopy(optimizer.state_dict())
    for _ in range(_WARM_UP):
        step()
    _wait(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    _wait(device)
    seconds = time.perf_counter() - began
    for module, state in zip(modules, before, strict=True):
        module.load_state_dict(state)
    optimizer.load_state_dict(optimizer_before)
    return steps * images / seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
