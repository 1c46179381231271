"""nvImageCodec's batch decoder: compressed images to arrays on a CUDA device or, with its CPU backends, on the host.

Values come out as they are coded: no colour conversion, no scaling to the type's range. Seen on the host (0.9): a stream that it cannot
decode gives None and a line on stderr, and signed JPEG 2000 counts as one. On a GPU it has not run yet.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError

NAME: Final = "nvImageCodec"
HOST_THREADS: Final = 2  # the tier-2 part of JPEG 2000 runs on the host
_INSTALL: Final = "install radload[cuda13] (or radload[cuda12] for a driver older than 580)"


class NvImageCodec:
    """A decoder of JPEG 2000, HTJ2K and lossless JPEG for batches of any sizes.

    Args:
        device_id: CUDA device, or None for the CPU backends (JPEG 2000 and HTJ2K only).

    Raises:
        UsageError: nvImageCodec is not installed.
    """

    def __init__(self, device_id: int | None, threads: int = HOST_THREADS) -> None:
        try:
            import nvidia.nvimgcodec as nv
        except ImportError as error:
            raise UsageError(f"nvImageCodec cannot be imported ({error}): {_INSTALL}") from None
        kinds = nv.BackendKind
        chosen = [kinds.CPU_ONLY] if device_id is None else [kinds.HW_GPU_ONLY, kinds.GPU_ONLY, kinds.HYBRID_CPU_GPU]
        self._nv: Any = nv
        self._decoder: Any = nv.Decoder(
            device_id=nv.NVIMGCODEC_DEVICE_CPU_ONLY if device_id is None else device_id,
            max_num_cpu_threads=threads,
            backends=[nv.Backend(kind) for kind in chosen],
        )
        self._as_coded = nv.DecodeParams(allow_any_depth=True, color_spec=nv.ColorSpec.UNCHANGED)

    def decode(self, streams: Sequence[bytes], cuda_stream: int = 0) -> list[Any]:
        """An nvimgcodec.Image, (h, w, components), of each stream, ordered on `cuda_stream`; None for one that is refused.

        `streams` must live until the work is done. Raises RuntimeError where the decoder itself fails.
        """
        sources = [self._nv.CodeStream(stream) for stream in streams]
        found: list[Any] = self._decoder.decode(sources, params=self._as_coded, cuda_stream=cuda_stream)
        return found


class HostFrames:
    """Decodes to arrays on the host, whatever the device; arguments and errors as of NvImageCodec."""

    name = NAME

    def __init__(self, device_id: int | None) -> None:
        self._codec = NvImageCodec(device_id)

    def decode(self, streams: Sequence[bytes]) -> list[NDArray[Any] | None]:
        """(h, w) or, of several components, (h, w, components) of each stream; None for one that is refused. Raises RuntimeError."""
        return [None if image is None else _on_host(image) for image in self._codec.decode(streams)]


def _on_host(image: Any) -> NDArray[Any]:
    values = np.array(image.cpu())  # a copy that waits for the device, and outlives the decoder's buffer
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values


def unavailable() -> str | None:
    """Why no CUDA device can decode through nvImageCodec here, and what to install; None where one can."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver is installed (libcuda.so.1 is missing): install one, and look at `nvidia-smi`"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value < 1:
        return "the NVIDIA driver finds no CUDA device: look at `nvidia-smi`"
    try:
        import nvidia.nvimgcodec  # noqa: F401
    except ImportError as error:
        return f"nvImageCodec cannot be imported ({error}): {_INSTALL}"
    return None
