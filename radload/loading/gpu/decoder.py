"""Decoders of ragged batches of grey HTJ2K streams: DALI, and nvImageCodec, which DALI decodes through, without DALI's pipeline around it.

Both are nvJPEG2000 on a GPU, and have a CPU form for tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.codecs.nvimgcodec import NAME as NVIMGCODEC
from radload.codecs.nvimgcodec import NvImageCodec
from radload.errors import UsageError
from radload.loading.gpu.decoded import Decoder

DALI = "DALI"
NAMES = (DALI, NVIMGCODEC)  # the first that is there is used where nothing is measured

_HOST_THREADS = 2  # of DALI: the tier-2 part of JPEG 2000 runs on the host


class DaliDecoder:
    """A pipeline of one operator, built anew after each error: DALI's pipelines are dead then.

    Args:
        batch_size: the most streams of one call.
        device_id: CUDA device, or None for DALI's CPU decoder.
        stream: torch's CUDA stream that the output is ordered on.

    Raises:
        UsageError: DALI is not installed.
    """

    name = DALI

    def __init__(self, batch_size: int, device_id: int | None, stream: Any = None) -> None:
        self._batch_size, self._device_id, self._stream = batch_size, device_id, stream
        self._pipe = self._build()

    def _build(self) -> Any:
        try:
            from nvidia.dali import fn, types
            from nvidia.dali.pipeline import Pipeline
        except ImportError as error:
            raise UsageError(
                f'decode="gpu" needs NVIDIA DALI, which cannot be imported ({error}): install radload[cuda13] or '
                'radload[cuda12], or use decode="cpu"'
            ) from None
        device = "cpu" if self._device_id is None else "mixed"
        pipe = Pipeline(
            batch_size=self._batch_size,
            num_threads=_HOST_THREADS,
            device_id=self._device_id,
            prefetch_queue_depth=1,  # the batch that goes in is the batch that comes out
            exec_dynamic=True,  # outputs own their memory: the next batch does not overwrite what is held
        )
        with pipe:
            data = fn.external_source(name="streams", dtype=types.UINT8, ndim=1)
            # uint16: any other type would be rescaled
            pipe.set_outputs(fn.decoders.image(data, device=device, output_type=types.ANY_DATA, dtype=types.UINT16))
        pipe.build()
        return pipe

    def decode(self, data: list[NDArray[np.uint8]]) -> DaliImages:
        """See decoded.Decoder."""
        try:
            return DaliImages(self._pipe.run(self._stream, streams=data)[0], len(data), self._stream)
        except RuntimeError:
            self._pipe = self._build()
            raise


class DaliImages:
    """A DALI TensorList of (h, w, 1) uint16."""

    def __init__(self, images: Any, count: int, stream: Any) -> None:
        self._images, self._count, self._stream = images, count, stream

    def addresses(self) -> list[int]:
        return [int(self._images[i].data_ptr()) for i in range(self._count)]

    def pixels(self, i: int) -> NDArray[np.uint16]:
        image = self._images[i]
        if self._stream is not None:
            self._stream.synchronize()
            image = image.as_cpu()
        found: NDArray[np.uint16] = np.array(image)[..., 0]
        return found


class NvImageDecoder:
    """nvImageCodec's batch decoder; arguments as of DaliDecoder, of which it needs no batch size.

    Raises:
        UsageError: nvImageCodec is not installed.
    """

    name = NVIMGCODEC

    def __init__(self, device_id: int | None, stream: Any = None) -> None:
        try:
            self._codec = NvImageCodec(device_id)
        except UsageError as error:
            raise UsageError(f'decode="gpu" needs DALI or nvImageCodec, and {error}, or use decode="cpu"') from None
        self._stream = stream

    def decode(self, data: list[NDArray[np.uint8]]) -> NvImages:
        """See decoded.Decoder."""
        coded = [
            one.tobytes() for one in data
        ]  # the copy to the device may be under way for longer than the slot is held
        images = self._codec.decode(coded, 0 if self._stream is None else self._stream.cuda_stream)
        refused = [i for i, image in enumerate(images) if image is None]
        if refused:
            raise RuntimeError(f"nvImageCodec refuses stream {refused[0]} of {len(data)}")
        found = NvImages(images, coded, self._stream)
        found.check()
        return found


class NvImages:
    """nvImageCodec's images, (h, w, 1) uint16, and the streams that they are made of."""

    def __init__(self, images: list[Any], coded: list[bytes], stream: Any) -> None:
        self._images, self._coded, self._stream = images, coded, stream

    def check(self) -> None:
        """Raises RuntimeError for an image that the kernel cannot read: of another type, colour, or with gaps between rows."""
        for image, layout in zip(self._images, self._layouts(), strict=True):
            strides = layout.get("strides")
            _, cols, components = layout["shape"]
            if layout["typestr"] != "<u2" or components != 1 or strides not in (None, (2 * cols, 2, 2)):
                raise RuntimeError(f"nvImageCodec made {layout['typestr']} values of shape {image.shape}")

    def _layouts(self) -> list[dict[str, Any]]:
        kind = "__array_interface__" if self._stream is None else "__cuda_array_interface__"
        return [getattr(image, kind) for image in self._images]

    def addresses(self) -> list[int]:
        return [int(layout["data"][0]) for layout in self._layouts()]

    def pixels(self, i: int) -> NDArray[np.uint16]:
        image = self._images[i]
        if self._stream is not None:
            self._stream.synchronize()
            image = image.cpu()
        found: NDArray[np.uint16] = np.array(image)[..., 0]
        return found


def open_decoder(name: str, batch_size: int, device_id: int | None, stream: Any = None) -> Decoder:
    """The decoder of a name in NAMES. Raises UsageError where its software is missing."""
    return DaliDecoder(batch_size, device_id, stream) if name == DALI else NvImageDecoder(device_id, stream)
