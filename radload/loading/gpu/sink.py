"""Batches on a GPU: decoded levels and codestreams from the loader process, one launch of the fused kernel per view renders them.

It has run on no GPU yet. What has run: all of this file against a device of the host, whose streams do their work late and in any
order that events allow (tests/loading/host_device.py), with the kernel's arithmetic in a host build and DALI's CPU decoder.

The order of things in one batch: DALI decodes the streams on SIDE, from its own copy; one copy on SIDE takes the kernel's records and all
pixels from the slot to one of a few device buffers; an event says when the slot may be written again; MAIN waits for SIDE, and the
kernel writes the training tensor; an event says when buffer and decoded images may go.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.kernels import gpu as kernel
from radload.kernels.prepare import SAMPLE, WINDOW, normalisation
from radload.loading import streams
from radload.loading.fields import base_fields
from radload.loading.gpu.decoding import Decoding
from radload.loading.gpu.device import MAIN, SIDE, Device, Event
from radload.loading.gpu.held import ALL
from radload.loading.gpu.pinned import Pinned
from radload.loading.gpu.share import AUTO
from radload.loading.masks import FIELD as MASK
from radload.loading.planning import views
from radload.loading.planning.plan import Settings
from radload.loading.process import Settled
from radload.loading.ring import Ring, Slot

BUFFERS = (
    3  # on the device, for records and pixels: how many batches may be copied before the first of them is rendered
)
COPIES = 2  # slots whose copies may be under way; then the host waits, so that the ring never grows
PINNED_BYTES = 1 << 30  # of all slots together; what lies beyond is copied from pageable memory

_SIZES = (1, 2, 2, 4)  # bytes of a value, by SOURCE["dtype"]
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asks of a device, see Loader: decode, static, channels_last, bytes to keep; threads: of the loader's process."""

    decode: str = AUTO
    static: bool = False
    channels_last: bool = False
    threads: int = 1
    held: int = 0


@dataclass
class _Buffer:
    """Bytes on the device, and when MAIN has used them."""

    bytes: torch.Tensor | None = None
    free: Event | None = None


class GpuSink:
    """Tensors on a device.

    Args:
        decode: of `wishes`: "cpu", "gpu", or "auto", which the first batches decide.
    """

    deliver: Literal["pixels", "streams"] = "streams"
    pinned = True

    def __init__(
        self, device: Device, settings: Settings, batch_size: int, index: Index, rows: range, wishes: Wishes
    ) -> None:
        recipe, slices = settings.recipe, settings.neighbours.slices
        capacity = streams.capacities(index, rows)
        self.fields = base_fields(batch_size, settings) | streams.fields(
            batch_size, recipe.channels, capacity, slices, settings.views.total
        )
        self._device, self._settings, self._wishes = device, settings, wishes
        self._masks = [name for name in (MASK, views.LOCAL_MASK) if name in self.fields]
        self._dtype = _DTYPES[settings.dtype]
        output: Any = settings.dtype
        self._kernel = device.kernel(recipe.channels, output)
        norm = normalisation(recipe.mean, recipe.std).view(np.uint8).reshape(-1)
        self._norm = device.empty((norm.nbytes,), torch.uint8)
        device.wait(SIDE, device.mark(MAIN))
        device.upload(norm, self._norm)
        self._settled: Settled = ([], [])
        self._decoding = Decoding(device, wishes.decode, wishes.threads, batch_size * slices, self._forget_kept)
        self._buffers = [_Buffer() for _ in range(BUFFERS)]
        self._turn = 0
        self._pinned = Pinned(device, PINNED_BYTES)
        self._copied: deque[tuple[Event, Ring, Slot]] = deque()  # slots that SIDE may still read
        self._held: deque[tuple[Event, Any]] = deque()  # decoded images that MAIN may still read
        self._static: dict[str, torch.Tensor] = {}
        self._kept = device.empty((wishes.held,), torch.uint8)  # decoded images, see held.Held

    @property
    def share(self) -> float:
        """See Sink."""
        return self._decoding.share

    def tensors(self, ring: Ring, slot: Slot) -> dict[str, torch.Tensor] | None:
        """See Sink. None: the decoder refuses a stream, or the guard what it made of it: ask again with `share` 1."""
        arrays = ring.arrays(slot)
        self._let_go(COPIES)
        items = arrays["items"].view(streams.ITEM)[:, 0]
        coded = np.flatnonzero(items["kind"] == streams.STREAM)
        addresses: list[int] = []
        held = None
        if self._decoding.distrusted and (items["kind"] >= streams.HELD).any():
            ring.give_back(slot)
            return None
        if len(coded):
            held = self._decoding.decode([streams.content(arrays, int(i)) for i in coded], items["shard"][coded])
            if held is None:
                self._settled[1].append(int(arrays["batch"][0]))
                ring.give_back(slot)
                return None
            addresses = held.addresses()
        buffer = self._upload(ring, slot, arrays, items, coded, addresses)
        found = self._upload_masks(arrays)
        copied = self._device.mark(SIDE)
        self._copied.append((copied, ring, slot))
        self._device.wait(MAIN, copied)
        found |= self._render(arrays, buffer)
        if self._wishes.held:
            self._keep(arrays, items)
        buffer.free = self._device.mark(MAIN)
        if held is not None:
            self._held.append((buffer.free, held))
        return found

    def _keep(self, arrays: dict[str, NDArray[Any]], items: NDArray[np.void]) -> None:
        """Copy images to where the loader process said, and tell it so with the next request."""
        sources = arrays["sources"].view(kernel.SOURCE)[:, 0]
        for i in np.flatnonzero((items["kind"] != streams.NOTHING) & (items["keep"] >= 0)):
            at, size = int(items["keep"][i]), _SIZES[sources["dtype"][i]]
            length = int(items["rows"][i]) * int(items["cols"][i]) * size
            self._device.copy(int(sources["address"][i]), self._kept[at : at + length])
        self._settled[0].append(int(arrays["batch"][0]))

    def settled(self) -> Settled:
        """See Sink."""
        found, self._settled = self._settled, ([], [])
        return found

    def _forget_kept(self) -> None:
        self._settled[1].append(ALL)  # a decoder that is not trusted any more may have made what is kept

    def _upload(
        self,
        ring: Ring,
        slot: Slot,
        arrays: dict[str, NDArray[Any]],
        items: NDArray[np.void],
        coded: NDArray[np.intp],
        addresses: list[int],
    ) -> _Buffer:
        """Records and pixels, in one piece, and tables, to a buffer of the device; writes the records' addresses first."""
        layout = ring.layout.fields
        start, pool = layout["sources"].offset, layout["data"].offset
        used = pool - start + int(arrays["taken"][streams.DATA])
        tables = arrays["tables"][: int(arrays["taken"][streams.TABLES])].view(np.uint8)
        buffer = self._buffer(used + tables.nbytes)
        if buffer.bytes is None:  # pragma: no cover - _buffer has just made it
            raise RuntimeError("a buffer without memory")
        sources = arrays["sources"].view(kernel.SOURCE)[:, 0]
        sources["rows"], sources["cols"], sources["reserved"] = items["rows"], items["cols"], 0
        sources["address"] = 0
        kept = np.flatnonzero(items["kind"] >= streams.HELD)
        sources["address"][kept] = self._kept.data_ptr() + items["offset"][kept]
        pixels = np.flatnonzero((items["kind"] >= 0) & (items["kind"] < streams.STREAM))
        sources["address"][pixels] = buffer.bytes.data_ptr() + pool - start + items["offset"][pixels]
        sources["dtype"] = np.where(items["kind"] == streams.STREAM, kernel.DTYPE_CODES["uint16"], items["kind"])
        sources["dtype"][kept] -= streams.HELD
        sources["address"][coded] = addresses
        self._check(arrays, sources)
        self._pinned.upload(slot, pool + int(arrays["taken"][streams.DATA]), start, start + used, buffer.bytes[:used])
        if tables.nbytes:
            self._device.upload(tables, buffer.bytes[used : used + tables.nbytes])
        return buffer

    def _check(self, arrays: dict[str, NDArray[Any]], sources: NDArray[np.void]) -> None:
        channels = self._settings.recipe.channels
        norm = np.zeros((channels, 2), np.float32)
        for view in range(self._settings.views.total):
            samples, windows = streams.names(view)
            kernel.check(
                sources, arrays[samples].view(SAMPLE)[:, 0], arrays[windows].view(WINDOW), norm, channels
            )  # fmt: skip

    def _buffer(self, size: int) -> _Buffer:
        """The next buffer, of at least `size` bytes; SIDE may write to it."""
        buffer = self._buffers[self._turn]
        self._turn = (self._turn + 1) % BUFFERS
        if buffer.bytes is None or len(buffer.bytes) < size:
            buffer.bytes = self._device.empty((size + size // 4,), torch.uint8)
            buffer.free = self._device.mark(MAIN)  # the allocator may give out what MAIN still reads
        if buffer.free is not None:
            self._device.wait(SIDE, buffer.free)
        return buffer

    def _upload_masks(self, arrays: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        found = {}
        if self._masks:
            for name in self._masks:
                found[name] = self._output(name, arrays[name].shape, torch.int32)
            self._device.wait(SIDE, self._device.mark(MAIN))
            for name, tensor in found.items():
                self._device.upload(arrays[name].reshape(-1).view(np.uint8), tensor.view(-1).view(torch.uint8))
        return found

    def _output(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory of a tensor for the consumer: new, or the same each time."""
        if not self._wishes.static:
            return self._device.empty(shape, dtype)
        if name not in self._static:
            self._static[name] = self._device.empty(shape, dtype)
        return self._static[name]

    def _render(self, arrays: dict[str, NDArray[Any]], buffer: _Buffer) -> dict[str, torch.Tensor]:
        """ "image", and "local" where wanted: one launch per view; rows without a sample are 0."""
        settings, last = self._settings, self._wishes.channels_last
        shown, channels, slices = settings.views, settings.recipe.channels, settings.neighbours.slices
        count = len(arrays["items"])
        kinds = [(views.IMAGE, range(shown.count), settings.size)]
        if shown.local:
            kinds.append((views.LOCAL, range(shown.count, shown.total), shown.local_size))
        at = {name: self._address(buffer, arrays, name) for name in arrays if name.startswith(("samples", "windows"))}
        sources = self._address(buffer, arrays, "sources")
        pool = arrays["data"].ctypes.data - arrays["sources"].ctypes.data + int(arrays["taken"][streams.DATA])
        entries = int(arrays["taken"][streams.TABLES])
        found = {}
        for name, numbers, size in kinds:
            images = count // slices
            shape = (images, *size, channels * slices) if last else (images, channels * slices, *size)
            whole = self._output(name, (len(numbers), *shape), self._dtype)
            to = kernel.target(channels, size, slices, last)
            for view, out in zip(numbers, whole, strict=True):
                samples, windows = streams.names(view)
                self._kernel(
                    kernel.Launch(
                        count=count,
                        sources=sources,
                        samples=at[samples],
                        windows=at[windows],
                        tables=sources + pool,
                        entries=entries,
                        norm=self._norm.data_ptr(),
                        out=out.data_ptr(),
                        to=to,
                    )
                )
            shaped = whole.movedim(-1, -3) if last else whole
            found[name] = shaped[0] if name == views.IMAGE and shown.count == 1 else shaped
        return found

    def _address(self, buffer: _Buffer, arrays: dict[str, NDArray[Any]], name: str) -> int:
        """Of a slot's array in its copy on the device, which begins with "sources"."""
        if buffer.bytes is None:  # pragma: no cover - it was uploaded
            raise RuntimeError("a buffer without memory")
        return int(buffer.bytes.data_ptr() + arrays[name].ctypes.data - arrays["sources"].ctypes.data)

    def _let_go(self, copies: int) -> None:
        """Give back slots that have been copied, and drop images that have been rendered; at most `copies` slots stay."""
        while self._copied and (len(self._copied) >= copies or self._copied[0][0].query()):
            event, ring, slot = self._copied.popleft()
            event.synchronize()
            ring.give_back(slot)
        while self._held and (len(self._held) >= BUFFERS or self._held[0][0].query()):
            self._held[0][0].synchronize()
            self._held.popleft()

    def move(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {name: self._moved(name, value) for name, value in batch.items()}

    def _moved(self, name: str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or name in (views.IMAGE, views.LOCAL, *self._masks):
            return value
        if not self._wishes.static:
            return value.to(self._device.place, non_blocking=True)
        kept = self._output(name, tuple(value.shape), value.dtype)
        kept.copy_(value, non_blocking=True)
        return kept

    def close(self) -> None:
        """Wait for the device, and give up page locks and buffers. Batches stay valid."""
        for stream in (SIDE, MAIN):
            self._device.mark(stream).synchronize()
        self._let_go(0)
        self._held.clear()
        self._pinned.close()
        self._buffers = [_Buffer() for _ in range(BUFFERS)]
