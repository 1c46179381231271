"""What happened since the last line of the log: loss on the device, time and the wait for data on the host."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor

from radload.train.distributed import Ranks


class Meter:
    """Adds up steps without waiting for the device; `flush` waits once, sums over ranks and starts again."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._sums = torch.zeros(3, dtype=torch.float64, device=ranks.device)  # loss, labels, right answers
        self._start()

    def _start(self) -> None:
        self._sums.zero_()
        self._waits: list[float] = []
        self._steps: list[float] = []
        self._began = self._last = time.perf_counter()

    def pause(self) -> None:
        """Leave out what happened since the last step (a validation, a checkpoint). Only right after `flush`."""
        self._began = self._last = time.perf_counter()

    def timed(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """`batches`, measuring how long each was waited for."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self._waits.append(time.perf_counter() - asked)
            yield batch

    def add(self, loss: Tensor, labels: Tensor, right: Tensor) -> None:
        """Count one step: sum of the losses, number of labels and of right answers, 0-dimensional and on the device."""
        self._sums += torch.stack([loss.detach().double(), labels.double(), right.double()])
        now = time.perf_counter()
        self._steps.append(now - self._last)
        self._last = now

    def flush(self, batch_size: int) -> dict[str, Any]:
        """The steps since the last flush; a collective, and the only place where training waits for the device.

        Returns:
            loss (mean over labels), accuracy, images_per_s over all ranks, data_wait (share of the time that this rank's host
            waited for batches), data_wait_p50 (median share of a step), memory_mib (peak of the GPU, or of the process).
        """
        loss, labels, right = self._ranks.sum(self._sums).tolist()
        seconds = time.perf_counter() - self._began
        shares = [min(wait / step, 1.0) for wait, step in zip(self._waits, self._steps, strict=False) if step > 0]
        if self._ranks.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self._ranks.device) / 2**20
        else:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # KiB on Linux
        window = {
            "loss": loss / max(labels, 1),
            "accuracy": right / max(labels, 1),
            "images_per_s": round(len(self._steps) * batch_size / seconds, 1),
            "data_wait": round(min(sum(self._waits) / seconds, 1.0), 4),
            "data_wait_p50": round(median(shares), 4) if shares else 0.0,
            "memory_mib": round(memory),
        }
        self._start()
        return window
