"""DALI's decoder for ragged batches of grey HTJ2K streams: nvJPEG2000 on a GPU, its CPU form in tests.

DALI decodes through nvImageCodec, whose batch decoder is the same library without DALI's pipeline around it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError

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
        )
        with pipe:
            data = fn.external_source(name="streams", dtype=types.UINT8, ndim=1)
            # uint16: any other type would be rescaled
            pipe.set_outputs(fn.decoders.image(data, device=device, output_type=types.ANY_DATA, dtype=types.UINT16))
        pipe.build()
        return pipe

    def decode(self, data: list[NDArray[np.uint8]]) -> DaliImages:
        """See device.Decoder."""
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
