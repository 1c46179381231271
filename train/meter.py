"""What happened since the last line of the log: loss on the device, time and the wait for data on the host."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor

from radload.train.distributed import Ranks


class Meter:
    """Adds up steps without waiting for the device; `flush` waits once, sums over ranks and starts again."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.doing: Callable[[str], object] = lambda what: None  # told what this rank does from now on
        self._sums = torch.zeros(
            5, dtype=torch.float64, device=ranks.device
        )  # loss, labels, right answers, norms, steps
        self.restart()

    def restart(self) -> None:
        """Forget what was since the last flush: a validation, a checkpoint, a rehearsal."""
        self._sums.zero_()
        self._waits: list[float] = []
        self._steps: list[float] = []
        self._began = self._last = time.perf_counter()

    def timed(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """`batches`, measuring how long each was waited for."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            self.doing("waits for data")
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waits.append(time.perf_counter() - asked)
            self.doing("trains")
            yield batch

    def add(self, sums: Tensor, norm: Tensor, skipped: Tensor) -> None:
        """Count one step, without waiting for the device.

        Args:
            sums: (3,) of the losses, of labels and of right answers; norm: of the gradient; skipped: 1 for a step that changed nothing
                and counts for time only.
        """
        one = torch.cat([sums.double(), norm.double().view(1), torch.ones_like(self._sums[:1])])
        self._sums += torch.where(skipped > 0, 0.0, one)
        now = time.perf_counter()
        self._steps.append(now - self._last)
        self._last = now

    def flush(self, batch_size: int) -> dict[str, Any]:
        """The steps since the last flush; a collective, and the only place where training waits for the device.

        Returns:
            loss (mean over labels, None where all steps were skipped), accuracy, grad_norm (mean over steps), images_per_s over all ranks,
            data_wait (share of the time that this rank's host waited for batches), data_wait_p50 (median share of a step),
            data_wait_ms_p50 and _p99 (of a step), memory_mib (peak of the GPU, or of the process).
        """
        loss, labels, right, norms, steps = self._ranks.sum(self._sums).tolist()
        seconds = time.perf_counter() - self._began
        shares = [min(wait / step, 1.0) for wait, step in zip(self._waits, self._steps, strict=False) if step > 0]
        if self._ranks.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self._ranks.device) / 2**20
        else:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # KiB on Linux
        window = {
            "loss": loss / labels if labels else 0.0 if steps else None,
            "accuracy": right / max(labels, 1),
            "grad_norm": norms / max(steps, 1),
            "images_per_s": round(len(self._steps) * batch_size / seconds, 1),
            "data_wait": round(min(sum(self._waits) / seconds, 1.0), 4),
            "data_wait_p50": round(median(shares), 4) if shares else 0.0,
            "data_wait_ms_p50": round(1e3 * quantile(self._waits, 0.5), 3),
            "data_wait_ms_p99": round(1e3 * quantile(self._waits, 0.99), 3),
            "memory_mib": round(memory),
        }
        self.restart()
        return window


def quantile(values: list[float], share: float) -> float:
    """The smallest of `values` that `share` of them do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1] if ordered else 0.0
