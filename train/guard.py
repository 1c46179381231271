"""Steps whose gradient is not finite change nothing; too many in a row end the run. Nothing waits for the device but `check`.

All ranks see the same averaged gradient, so they skip the same steps without asking each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from radload.errors import AgreedEnd


class Guard:
    """Watches the norm of the gradient, and tells the (fused) optimizer on the device whether to leave its step out."""

    def __init__(self, modules: Sequence[nn.Module], optimizer: Optimizer, device: torch.device, limit: int) -> None:
        """
        Args:
            modules: whose running statistics a skipped step may have spoilt; limit: skipped steps in a row that end the run.
        """
        self.skipped = torch.zeros((), device=device)  # 1.0 where the last step was
        self._counts = torch.zeros(3, device=device)  # skipped now in a row, at most in a row and in all since `check`
        self._limit = limit
        # Fused optimizers read this attribute, as GradScaler sets it: where it is 1 they leave everything as it is.
        optimizer.found_inf = self.skipped  # type: ignore[attr-defined]
        if isinstance(optimizer, SGD):  # a skipped first step would leave momentum that was never written
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self._buffers = [one for module in modules for one in module.buffers() if one.is_floating_point()]
        self._kept = [one.clone() for one in self._buffers]

    @torch.no_grad()
    def remember(self) -> None:
        """Take the running statistics as they are for good ones: after they were loaded."""
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)

    def watch(self, norm: Tensor) -> None:
        """Before the optimizer's step: the gradient's norm (0-dimensional), over all ranks."""
        self.skipped.copy_(~norm.isfinite())
        now = (self._counts[0] + 1) * self.skipped
        self._counts.copy_(torch.stack([now, torch.maximum(self._counts[1], now), self._counts[2] + self.skipped]))

    @torch.no_grad()
    def check(self, step: int, lr: float, last: bool = False) -> tuple[int, bool]:
        """Steps skipped since the last check, and whether the last one was; waits for the device. Mends running statistics that
        are not finite with those of the last check.

        Raises:
            AgreedEnd: too many in a row, or the last one of the run.
        """
        now, longest, skipped = (int(count) for count in self._counts.tolist())
        if longest >= self._limit or (last and now):
            raise AgreedEnd(
                f"the loss is not finite: {longest} steps in a row had no finite gradient (at step {step}); start again with a "
                f"smaller --lr (now {lr:g}) or --clip-grad 1: the checkpoints before them are whole"
            )
        if skipped:
            for buffer, kept in zip(self._buffers, self._kept, strict=True):
                buffer.copy_(torch.where(buffer.isfinite(), buffer, kept))
        self.remember()
        self._counts[1:] = 0
        return skipped, now > 0


def gradient_norm(parameters: Sequence[nn.Parameter], limit: float | None) -> Tensor:
    """Norm of the gradient (0-dimensional, on the device); with `limit` the gradient is scaled down to it."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if limit is not None:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
