"""Batches on a CUDA device: codestreams from the loader process, DALI decodes them, one launch of the fused kernel renders them.

This path has run on no GPU yet. What has run: the loader process and its slots, DALI's decoder on the same streams on the
CPU, and the kernel's arithmetic in a host build. Not run: the "mixed" decoder, the streams' synchronisation, the launch.

The order of things in one batch, all on torch's current stream: DALI copies the codestreams out of the slot and decodes
them (`decoders.image`, uint16: any other type would be rescaled), the kernel reads DALI's buffers by address and writes the
training tensor; an event tells when those buffers may go.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Literal

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.errors import UsageError
from radload.kernels import gpu as kernel
from radload.kernels.prepare import SAMPLE, WINDOW, normalisation
from radload.loading import masks, streams, views
from radload.loading.plan import Settings
from radload.loading.ring import Ring, Slot
from radload.loading.sinks import base_fields

_log = logging.getLogger("radload")
_INSTALL = 'install radload[cuda13] (or radload[cuda12] for an older driver), or use device="cpu"'
_HOST_THREADS = 2  # of DALI: the tier-2 part of JPEG 2000 runs on the host


class StreamDecoder:
    """DALI's decoder for ragged batches of grey HTJ2K streams.

    Args:
        batch_size: the most streams of one call.
        device_id: CUDA device, or None for DALI's CPU decoder (which tests use).
    """

    def __init__(self, batch_size: int, device_id: int | None) -> None:
        self._batch_size, self._device_id = batch_size, device_id
        self._pipe = self._build()

    def _build(self) -> Any:
        from nvidia.dali import fn, types
        from nvidia.dali.pipeline import Pipeline

        device = "cpu" if self._device_id is None else "mixed"
        pipe = Pipeline(
            batch_size=self._batch_size,
            num_threads=_HOST_THREADS,
            device_id=self._device_id,
            prefetch_queue_depth=1,  # the batch that goes in is the batch that comes out
        )
        with pipe:
            data = fn.external_source(name="streams", dtype=types.UINT8, ndim=1)
            pipe.set_outputs(fn.decoders.image(data, device=device, output_type=types.ANY_DATA, dtype=types.UINT16))
        pipe.build()
        return pipe

    def decode(self, data: list[NDArray[np.uint8]], stream: Any = None) -> Any:
        """A DALI TensorList of (h, w, 1) uint16, ordered on a CUDA stream.

        Raises:
            RuntimeError: DALI could not decode a stream; the pipeline has been built anew, so the next call may succeed.
        """
        try:
            return self._pipe.run(stream, streams=data)[0]
        except RuntimeError:
            self._pipe = self._build()  # DALI: after an error a pipeline is dead
            raise


def check_available(device: str) -> int:
    """Index of a CUDA device that this path can use.

    Raises:
        UsageError: what is missing, and how to install it.
    """
    if not torch.cuda.is_available():
        raise UsageError(f"device={device!r} cannot be used: torch finds no CUDA device; {_INSTALL}")
    try:
        import nvidia.dali  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"device={device!r} needs NVIDIA DALI, which cannot be imported ({error}): {_INSTALL}"
        ) from None
    reason = kernel.unavailable()
    if reason is not None:
        raise UsageError(f"device={device!r} cannot be used: {reason}; {_INSTALL}")
    found = torch.device(device).index
    number = torch.cuda.current_device() if found is None else found
    if number >= torch.cuda.device_count():
        raise UsageError(f"device={device!r} does not exist: this machine has {torch.cuda.device_count()}")
    return number


class GpuSink:
    """Tensors on a CUDA device."""

    deliver: Literal["pixels", "streams"] = "streams"

    def __init__(
        self, device: str, settings: Settings, batch_size: int, index: Index, rows: range, decoded: bool = False
    ) -> None:
        number = check_available(device)
        recipe = settings.recipe
        self.fields = {
            **streams.fields(
                batch_size,
                recipe.channels,
                streams.longest(index, rows, decoded),
                settings.neighbours.slices,
                settings.views.total,
            ),
            **base_fields(batch_size, settings),
        }
        self._masks = [name for name in (masks.FIELD, views.LOCAL_MASK) if name in self.fields]
        self._device = torch.device("cuda", number)
        self._settings = settings
        self._dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[settings.dtype]
        self._norm = normalisation(recipe.mean, recipe.std)
        output: Any = settings.dtype
        with torch.cuda.device(self._device):
            self._kernel = kernel.FusedKernel(recipe.channels, output)
            self._decoder = StreamDecoder(batch_size * settings.neighbours.slices, number)
        self._busy: deque[tuple[torch.cuda.Event, Any]] = deque()  # what the kernel may still read

    def tensors(self, ring: Ring, slot: Slot) -> dict[str, torch.Tensor]:
        arrays = ring.arrays(slot)
        with torch.cuda.device(self._device):
            try:
                found = self._render(arrays)
                for name in self._masks:
                    found[name] = torch.from_numpy(arrays[name]).to(self._device)  # waits for the copy
                return found
            finally:
                ring.give_back(slot)  # every byte of it has been copied

    def _render(self, arrays: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
        """ "image", and "local" where wanted: decoded once, one launch per view; rows without a sample are 0."""
        stream = torch.cuda.current_stream()
        items = arrays["items"].view(streams.ITEM)[:, 0]
        there = np.flatnonzero(items["kind"] != streams.NOTHING)
        sources = np.zeros(len(there), kernel.SOURCE)
        sources["rows"], sources["cols"] = items["rows"][there], items["cols"][there]
        held: list[Any] = []
        coded = np.flatnonzero(items["kind"][there] == streams.STREAM)
        if len(coded):
            data = [arrays["data"][i, : items["length"][i]] for i in there[coded]]
            sources["address"][coded] = self._decode(data, stream, held)
            sources["dtype"][coded] = kernel.DTYPE_CODES["uint16"]
        pixels = np.flatnonzero(items["kind"][there] != streams.STREAM)
        if len(pixels):
            self._upload(arrays["data"], items, there, pixels, sources, held)
        settings = self._settings
        rendered = []
        for view in range(settings.views.total):
            size = settings.views.size_of(view, settings.size)
            out = torch.empty((len(there), settings.recipe.channels, *size), dtype=self._dtype, device=self._device)
            samples, windows = streams.names(view)
            self._kernel.launch(
                sources,
                np.ascontiguousarray(arrays[samples][there]).view(SAMPLE)[:, 0],
                np.ascontiguousarray(arrays[windows][there]).view(WINDOW),
                self._norm,
                out.data_ptr(),
                size,
                tables=arrays["tables"][: max(int(arrays["used"][0]), 1)],
                stream=stream.cuda_stream,
            )
            rendered.append(self._at_their_places(out, there, len(items)))
        self._hold(held, stream)
        count = settings.views.count
        found = {views.IMAGE: rendered[0] if count == 1 else torch.stack(rendered[:count])}
        if settings.views.local:
            found[views.LOCAL] = torch.stack(rendered[count:])
        return found

    def _at_their_places(self, out: torch.Tensor, there: NDArray[np.intp], count: int) -> torch.Tensor:
        """Rendered slices `there` of `count`, (n, C, H, W), as images (N, slices * C, H, W) with 0 for those that are not there."""
        if len(there) < count:
            whole = torch.zeros((count, *out.shape[1:]), dtype=self._dtype, device=self._device)
            whole[torch.from_numpy(there).to(self._device)] = out
            out = whole
        return out.view(-1, self._settings.channels, *out.shape[2:])

    def _decode(self, data: list[NDArray[np.uint8]], stream: torch.cuda.Stream, held: list[Any]) -> list[int]:
        """Addresses of the decoded images; what owns them goes to `held`."""
        try:
            decoded = self._decoder.decode(data, stream)
        except RuntimeError as error:
            _log.warning("DALI could not decode a batch, the CPU does (%s)", str(error).strip().splitlines()[-1][:200])
            tensors = [
                torch.from_numpy(imagecodecs.htj2k_decode(d.tobytes()).view(np.int16)).to(self._device) for d in data
            ]
            held.extend(tensors)
            return [t.data_ptr() for t in tensors]
        held.append(decoded)
        return [int(decoded[i].data_ptr()) for i in range(len(data))]

    def _upload(
        self,
        data: NDArray[np.uint8],
        items: NDArray[np.void],
        there: NDArray[np.intp],
        pixels: NDArray[np.intp],
        sources: NDArray[np.void],
        held: list[Any],
    ) -> None:
        """Copy samples that are pixels already, in one piece; writes their addresses and types into `sources`."""
        lengths = items["length"][there[pixels]]
        starts = np.concatenate([[0], np.cumsum(-(-lengths // 64) * 64)])
        packed = np.empty(int(starts[-1]), np.uint8)
        for i, start, length in zip(there[pixels], starts[:-1], lengths, strict=True):
            packed[start : start + length] = data[i, :length]
        device = torch.from_numpy(packed).to(self._device)
        held.append(device)
        sources["address"][pixels] = device.data_ptr() + starts[:-1]
        sources["dtype"][pixels] = items["kind"][there[pixels]]

    def _hold(self, held: list[Any], stream: torch.cuda.Stream) -> None:
        """Keep `held` until the stream has passed this point; let go of what it has passed."""
        while self._busy and self._busy[0][0].query():  # type: ignore[no-untyped-call]
            self._busy.popleft()
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(stream)
        self._busy.append((event, held))

    def move(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value.to(self._device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }

    def close(self) -> None:
        while self._busy:
            self._busy.popleft()[0].synchronize()
