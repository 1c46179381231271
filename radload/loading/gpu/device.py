"""What the GPU's sink asks of a device: memory, copies, streams, events, the kernel, a decoder. One seam, so tests run it on a host.

There are two streams. MAIN is torch's current one: the kernel runs there, and what `empty` gives is ordered on it, as all memory of
torch's allocator. SIDE carries copies from the host and decoding, beside the training on MAIN; only events order the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from radload.codecs.verdicts import Verdicts, open_verdicts
from radload.errors import UsageError
from radload.kernels import gpu as kernel
from radload.loading.gpu.decoded import Decoder

Stream = Literal["main", "side"]
MAIN: Stream = "main"
SIDE: Stream = "side"
Render = Callable[[kernel.Launch], None]  # the kernel for one number of planes and one output type

_INSTALL = "install radload[cuda13] (or radload[cuda12] for a driver older than 580)"
_DEVICE_TO_DEVICE = 3  # cudaMemcpyKind
_HOST = 'or use device="cpu"'


class Event(Protocol):
    """A place in a stream."""

    def query(self) -> bool:
        """Whether the stream has passed it."""

    def synchronize(self) -> None:
        """Wait until it has."""


class Device(Protocol):
    """One device and its two streams. `place` is where its tensors live, for torch; verdicts: what is known of its decoders."""

    place: torch.device
    verdicts: Verdicts

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory, ordered on MAIN: SIDE must wait for MAIN before it writes there."""

    def pin(self, memory: NDArray[np.uint8]) -> bool:
        """Page-lock host memory, so that copies from it are asynchronous; whether that worked."""

    def unpin(self, memory: NDArray[np.uint8]) -> None:
        """Undo `pin`."""

    def upload(self, source: NDArray[np.uint8], to: torch.Tensor) -> None:
        """Copy bytes to the device on SIDE; from pinned memory they are read later, else before this returns."""

    def copy(self, source: int, to: torch.Tensor) -> None:
        """Copy bytes from an address of the device on MAIN."""

    def mark(self, stream: Stream) -> Event:
        """An event at the end of what a stream has been given."""

    def wait(self, stream: Stream, event: Event) -> None:
        """What a stream is given from now on comes after the event."""

    def kernel(self, planes: int, output: kernel.Output) -> Render:
        """The compiled kernel, on MAIN."""

    def decoder(self, batch_size: int, name: str) -> Decoder:
        """A decoder of decoder.NAMES for at most `batch_size` streams at once. Raises UsageError where its software is missing."""


class CudaDevice:
    """A CUDA device through torch, CuPy, and DALI or nvImageCodec. It has run on no GPU yet.

    Raises:
        UsageError: what is missing, and what to install.
    """

    def __init__(self, name: str) -> None:
        number = check_available(name)
        self.place = torch.device("cuda", number)
        with torch.cuda.device(self.place):
            self._side: Any = torch.cuda.Stream(self.place)  # type: ignore[no-untyped-call]
        import cupy

        self._runtime: Any = cupy.cuda.runtime
        self.verdicts = open_verdicts()

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self.place)

    def pin(self, memory: NDArray[np.uint8]) -> bool:
        try:
            with torch.cuda.device(self.place):
                self._runtime.hostRegister(memory.ctypes.data, memory.nbytes, 0)
        except self._runtime.CUDARuntimeError:  # CuPy has cleared CUDA's error, which torch would take for its own
            return False
        return True

    def unpin(self, memory: NDArray[np.uint8]) -> None:
        self._runtime.hostUnregister(memory.ctypes.data)

    def upload(self, source: NDArray[np.uint8], to: torch.Tensor) -> None:
        with torch.cuda.stream(self._side):
            to.copy_(torch.from_numpy(source), non_blocking=True)

    def copy(self, source: int, to: torch.Tensor) -> None:
        stream = self._stream(MAIN).cuda_stream
        with torch.cuda.device(self.place):
            self._runtime.memcpyAsync(to.data_ptr(), source, to.numel(), _DEVICE_TO_DEVICE, stream)

    def mark(self, stream: Stream) -> Event:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self._stream(stream))
        found: Event = event
        return found

    def wait(self, stream: Stream, event: Event) -> None:
        self._stream(stream).wait_event(event)

    def kernel(self, planes: int, output: kernel.Output) -> Render:
        with torch.cuda.device(self.place):
            compiled = kernel.FusedKernel(planes, output)

        def render(launch: kernel.Launch) -> None:
            stream = self._stream(MAIN).cuda_stream
            with torch.cuda.device(self.place):
                compiled.launch(launch, stream)

        return render

    def decoder(self, batch_size: int, name: str) -> Decoder:
        from radload.loading.gpu.decoder import open_decoder

        with torch.cuda.device(self.place):
            return open_decoder(name, batch_size, self.place.index, self._side)

    def _stream(self, stream: Stream) -> Any:
        return torch.cuda.current_stream(self.place) if stream == MAIN else self._side


def open_device(name: str) -> Device:
    """The device that torch calls `name`. Raises UsageError."""
    return CudaDevice(name)


def check_available(name: str) -> int:
    """Index of a CUDA device that this path can use.

    Raises:
        UsageError: what is missing, and how to install it.
    """
    if torch.version.cuda is None:
        raise UsageError(
            f"device={name!r} cannot be used: this torch ({torch.__version__}) is built without CUDA; "
            f"install one from pytorch.org that matches the driver, {_HOST}"
        )
    if not torch.cuda.is_available():
        raise UsageError(
            f"device={name!r} cannot be used: torch finds no CUDA device or driver for its CUDA {torch.version.cuda}; "
            f"look at `nvidia-smi`, install a driver that is new enough, {_HOST}"
        )
    index = torch.device(name).index
    number = torch.cuda.current_device() if index is None else index
    if number >= torch.cuda.device_count():
        raise UsageError(
            f"device={name!r} does not exist: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0"
        )
    reason = kernel.unavailable()
    if reason is not None:
        raise UsageError(f"device={name!r} cannot be used: {reason}; {_INSTALL}, {_HOST}")
    return number


def choose_device() -> str:
    """What device="auto" means here: "cuda" where everything for it is there, else "cpu"."""
    try:
        check_available("cuda")
    except UsageError:
        return "cpu"
    return "cuda"
