"""Where a delivered slot becomes tensors: on the CPU without a copy, on the GPU through decode and kernel."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch

from radload.dataset.index import Index
from radload.errors import UsageError
from radload.loading.fields import Fields, base_fields
from radload.loading.gpu.share import GPU, check_decode
from radload.loading.planning import views
from radload.loading.planning.plan import Settings
from radload.loading.process import NOTHING, Settled
from radload.loading.ring import Ring, Slot


class Sink(Protocol):
    """One device.

    Attributes:
        deliver: what the loader process is asked for; fields: the arrays of a slot, with "rows" and "valid" among them.
        share: of a batch's samples that the loader process decodes, where it could leave them coded; pinned: see Ring.
    """

    deliver: Literal["pixels", "streams"]
    fields: Fields
    pinned: bool

    @property
    def share(self) -> float: ...

    def tensors(self, ring: Ring, slot: Slot) -> dict[str, torch.Tensor] | None:
        """ "image", and "mask", "local" and "local_mask" where wanted, of a delivered slot, which is lent or given back.

        None: the device cannot decode it, or not rightly; the loader process must, with a share of 1.
        """

    def settled(self) -> Settled:
        """Batches since the last call whose images the device keeps, and those that it could not render."""

    def move(self, batch: dict[str, Any]) -> dict[str, Any]:
        """All tensors of a batch on the device."""

    def close(self) -> None:
        """Give up what belongs to the device."""


class CpuSink:
    """Tensors on the ring's memory itself."""

    deliver: Literal["pixels", "streams"] = "pixels"
    share, pinned = 1.0, False

    def __init__(self, settings: Settings, batch_size: int, channels_last: bool = False) -> None:
        dtype = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[settings.dtype]  # NumPy has no bfloat16
        shown = views.fields(batch_size, settings.views, settings.size, settings.channels, dtype, settings.masks)
        self.fields: Fields = shown | base_fields(batch_size, settings)
        self._bfloat16 = settings.dtype == "bfloat16"
        self._names, self._channels_last = tuple(shown), channels_last

    def tensors(self, ring: Ring, slot: Slot) -> dict[str, torch.Tensor] | None:
        found = dict(zip(self._names, map(torch.from_numpy, ring.lend(slot, *self._names)), strict=True))
        if self._bfloat16:
            for name in (views.IMAGE, views.LOCAL):
                if name in found:
                    found[name] = found[name].view(torch.bfloat16)
        if self._channels_last:
            for name in (views.IMAGE, views.LOCAL):
                if name in found:
                    found[name] = found[name].movedim(-3, -1).contiguous().movedim(-1, -3)
        return found

    def settled(self) -> Settled:
        return NOTHING

    def move(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch

    def close(self) -> None:
        return


def make_sink(
    device: str,
    settings: Settings,
    batch_size: int,
    index: Index,
    rows: range,
    decode: str,
    static: bool,
    channels_last: bool,
    threads: int,
    cached: bool,
    held: int,
) -> Sink:
    """The sink of a torch device, or of the one that "auto" finds; arguments as of Loader.

    Args:
        threads: of the loader process; cached: it keeps decoded images, and so decodes for every device. held: bytes that the device keeps.

    Raises:
        UsageError: a device that radload does not serve, or whose software is missing.
    """
    where = check_decode(decode, cached)
    kind = device.partition(":")[0]
    chosen = kind != "auto"
    if not chosen:
        from radload.loading.gpu.device import choose_device

        device = kind = choose_device()
    if kind == "cpu":
        of_a_gpu = {"static": static, "device_cache_bytes": held, 'decode="gpu"': where == GPU}
        wrong = next((name for name, given in of_a_gpu.items() if given), None)
        if chosen and wrong:
            raise UsageError(f'{wrong} goes with device="cuda": leave it out')
        return CpuSink(settings, batch_size, channels_last)
    if kind == "cuda":
        from radload.loading.gpu import device as devices
        from radload.loading.gpu.sink import GpuSink, Wishes

        if held and settings.masks:
            raise UsageError(
                "device_cache_bytes keeps images, and masks=True would read their samples anyway: leave one out"
            )
        wishes = Wishes(where, static, channels_last, threads, held)
        return GpuSink(devices.open_device(device), settings, batch_size, index, rows, wishes)
    raise UsageError(f'device={device!r} cannot be used: choose "cpu", "cuda" or "auto"')
