"""Where a delivered slot becomes tensors: on the CPU without a copy, on the GPU through decode and kernel."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch

from radload.dataset.index import Index
from radload.errors import UsageError
from radload.loading import views
from radload.loading.plan import Settings
from radload.loading.ring import Ring, Slot

Fields = dict[str, tuple[str, tuple[int, ...]]]


class Sink(Protocol):
    """One device.

    Attributes:
        deliver: what the loader process is asked for; fields: the arrays of a slot, with "rows" and "valid" among them.
    """

    deliver: Literal["pixels", "streams"]
    fields: Fields

    def tensors(self, ring: Ring, slot: Slot) -> dict[str, torch.Tensor]:
        """ "image", and "mask", "local" and "local_mask" where wanted, of a delivered slot, which is lent or given back."""

    def move(self, batch: dict[str, Any]) -> dict[str, Any]:
        """All tensors of a batch on the device."""

    def close(self) -> None:
        """Give up what belongs to the device."""


def base_fields(batch_size: int, settings: Settings) -> Fields:
    """Arrays of a slot on every device: rows of the index (-1: padding), whether they hold a sample, and masks where wanted."""
    fields: Fields = {"rows": ("<i8", (batch_size,)), "valid": ("?", (batch_size,))}
    return fields | views.fields(batch_size, settings.views, settings.size, settings.channels, None, settings.masks)


class CpuSink:
    """Tensors on the ring's memory itself."""

    deliver: Literal["pixels", "streams"] = "pixels"

    def __init__(self, settings: Settings, batch_size: int) -> None:
        dtype = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[settings.dtype]  # NumPy has no bfloat16
        shown = views.fields(batch_size, settings.views, settings.size, settings.channels, dtype, settings.masks)
        self.fields: Fields = shown | base_fields(batch_size, settings)
        self._bfloat16 = settings.dtype == "bfloat16"
        self._names = tuple(shown)

    def tensors(self, ring: Ring, slot: Slot) -> dict[str, torch.Tensor]:
        found = dict(zip(self._names, map(torch.from_numpy, ring.lend(slot, *self._names)), strict=True))
        if self._bfloat16:
            for name in (views.IMAGE, views.LOCAL):
                if name in found:
                    found[name] = found[name].view(torch.bfloat16)
        return found

    def move(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch

    def close(self) -> None:
        return


def make_sink(
    device: str, settings: Settings, batch_size: int, index: Index, rows: range, decoded: bool = False
) -> Sink:
    """The sink of a torch device; `decoded`: the loader process decodes for every device, because it keeps decoded images.

    Raises:
        UsageError: a device that radload does not serve, or whose software is missing.
    """
    kind = device.partition(":")[0]
    if kind == "cpu":
        return CpuSink(settings, batch_size)
    if kind == "cuda":
        from radload.loading.gpu import GpuSink

        return GpuSink(device, settings, batch_size, index, rows, decoded)
    raise UsageError(f'device={device!r} cannot be used: choose "cpu" or "cuda"')
