"""A moving average of the weights (Polyak averaging), which often judges better than the last ones.

torch's AveragedModel copies its counter to the device at each update, which waits for the device; this one does not.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Average:
    """An average of `model`'s parameters and buffers: average = decay * average + (1 - decay) * model, after each step.

    In the first steps the decay is lower, (1 + steps) / (10 + steps), lest the random start weigh for long (as in TensorFlow).

    Attributes:
        module: a copy of the network with the averaged weights; whole numbers among its buffers are the network's.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module: nn.Module = copy.deepcopy(model).requires_grad_(False)
        self._decay = decay
        self._pairs = [
            (mine, theirs)
            for mine, theirs in zip(_tensors(self.module), _tensors(model), strict=True)
            if theirs.is_floating_point()
        ]
        self._whole = [
            (mine, theirs)
            for mine, theirs in zip(_tensors(self.module), _tensors(model), strict=True)
            if not theirs.is_floating_point()
        ]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step `step`, counted from 0; nothing waits for the device."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([mine for mine, _ in self._pairs], [theirs for _, theirs in self._pairs], 1 - decay)
        if self._whole:
            torch._foreach_copy_([mine for mine, _ in self._whole], [theirs for _, theirs in self._whole])


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*(parameter.detach() for parameter in module.parameters()), *module.buffers()]
