"""Page-locked slots: as much of each as its batches have needed, within a budget."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from radload.loading.gpu.device import Device
from radload.loading.ring import Slot

_STEP = 2 << 20  # bytes: page locks grow in steps
_log = logging.getLogger("radload")


class Pinned:
    """Uploads from slots, and page-locks them on the way.

    A slot is as large as its largest possible batch, and untouched pages of it take no memory; page-locking all of it would take all of it.

    Args:
        budget: bytes of all slots together.
    """

    def __init__(self, device: Device, budget: int) -> None:
        self._device, self._left = device, budget
        self._locked: dict[int, NDArray[np.uint8]] = {}  # by number of the slot

    def upload(self, slot: Slot, need: int, start: int, stop: int, to: torch.Tensor) -> None:
        """Copy bytes start to stop of a slot that no copy reads any more to the device; need: how much of it should be page-locked."""
        edge = min(max(self._lock(slot, need), start), stop)
        for first, last in ((start, edge), (edge, stop)):  # a copy must not cross the lock's edge
            if last > first:
                part = slot.memory[slot.start + first : slot.start + last]
                self._device.upload(part, to[first - start : last - start])

    def _lock(self, slot: Slot, need: int) -> int:
        """Bytes of a slot, from its start, that are page-locked now."""
        old = self._locked.get(slot.number)
        held = 0 if old is None else len(old)
        if need <= held or self._left <= 0:
            return held
        size = min(-(-(need + need // 4) // _STEP) * _STEP, len(slot.memory) - slot.start, held + self._left)
        size -= size % 4096
        if size <= held:
            return held
        if old is not None:
            self._device.unpin(old)
            del self._locked[slot.number]
            self._left += held
        part = slot.memory[slot.start : slot.start + size]
        if not self._device.pin(part):
            self._left = 0
            _log.warning(
                "%d bytes of memory could not be page-locked: copies to the GPU are slower from now on (look at `ulimit -l` and the "
                "container's memory limit)",
                size,
            )
            return 0
        self._locked[slot.number] = part
        self._left -= size
        return size

    def close(self) -> None:
        """Undo all page locks; no copy may be under way."""
        while self._locked:
            self._device.unpin(self._locked.popitem()[1])
