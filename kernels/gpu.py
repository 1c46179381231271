"""The fused kernel on a CUDA device: one launch renders a ragged batch (fused.cu, compiled by CuPy at first use, for sm_80 and later).

It has run on no GPU yet. It compiles for sm_80, sm_90 and sm_100 (see nvrtc.py for the bounds on registers and spills), and fused.h and
fused_effects.h, which hold all of its arithmetic, agree with reference.render to 1e-5 in a host build. Not run: the launch, and the
conversion to float16 and bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from radload.errors import RadloadError
from radload.kernels.prepare import SAMPLE, WINDOW

# One per sample: where its coded values lie on the device; fused.h has the same as a struct. Address 0: none, its output is 0.
SOURCE = np.dtype([("address", "<u8"), ("dtype", "<i4"), ("rows", "<i4"), ("cols", "<i4"), ("reserved", "<i4")])
DTYPE_CODES = {"uint8": 0, "uint16": 1, "int16": 2, "float32": 3}  # SOURCE["dtype"]

# Where outputs go, as strides in values: plane c of sample n has its output (y, x) at
# n // slices * image + n % slices * slice + c * plane + (y * width + x) * pixel.
TARGET = np.dtype(
    [
        ("image", "<i8"),
        ("slice", "<i8"),
        ("plane", "<i8"),
        ("pixel", "<i8"),
        ("slices", "<i4"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("reserved", "<i4"),
    ]
)

Output = Literal["float32", "float16", "bfloat16"]
OUTPUTS: tuple[Output, ...] = ("float32", "float16", "bfloat16")  # position = -DOUTPUT
TILE_ROWS, TILE_COLS, THREADS = 8, 32, 256  # as in fused.h
MOST_PLANES = 11  # 4 KiB of shared memory each, of the 48 KiB that every device has
_GRID_LIMIT = 65535  # of a grid's y and z


def source_text() -> str:
    """fused.cu with its headers in the place of their includes: one text, so that a compiler's cache sees every change."""
    here = Path(__file__).parent
    text = (here / "fused.cu").read_text()
    for name in ("fused_effects.h", "fused.h"):  # the first includes the second
        text = text.replace(f'#include "{name}"', (here / name).read_text())
    return text


def options(planes: int, output: Output) -> tuple[str, ...]:
    """Options for NVRTC or nvcc beside the architecture."""
    return ("-std=c++17", f"-DPLANES={planes}", f"-DOUTPUT={OUTPUTS.index(output)}")


def target(planes: int, size: tuple[int, int], slices: int = 1, channels_last: bool = False) -> NDArray[np.void]:
    """(1,) TARGET for contiguous images (N, slices * planes, height, width), or (N, height, width, slices * planes) with channels last."""
    height, width = size
    area, channels = height * width, slices * planes
    found = np.zeros(1, TARGET)
    strides = (area * channels, planes, 1, channels) if channels_last else (area * channels, area * planes, area, 1)
    found[0] = (*strides, slices, height, width, 0)
    return found


@dataclass(frozen=True, slots=True)
class Launch:
    """What one launch renders, and where to; addresses are of the device.

    Attributes:
        count: of samples.
        sources, samples: addresses of (count,) SOURCE and (count,) SAMPLE; `check` says what they must hold.
        windows: address of (count, planes) WINDOW; of (1, planes), which hold for all samples, where `shared_windows`.
        tables, entries: address and number of the batch's pool of float32 entries.
        norm: address of (planes, 2) float32, scale and shift.
        out: address of the outputs; to: (1,) TARGET, how they lie.
    """

    count: int
    sources: int
    samples: int
    windows: int
    tables: int
    entries: int
    norm: int
    out: int
    to: NDArray[np.void]
    shared_windows: bool = False

    def grid(self) -> tuple[int, int, int]:
        """Blocks of THREADS threads along columns, rows and samples.

        Raises:
            ValueError: more samples or rows than a grid has.
        """
        found = (-(-int(self.to["width"][0]) // TILE_COLS), -(-int(self.to["height"][0]) // TILE_ROWS), self.count)
        if max(found[1:]) > _GRID_LIMIT:
            raise ValueError(
                f"a batch of {self.count} with outputs of {self.to['height'][0]} rows is out of the kernel's range"
            )
        return found

    def arguments(self) -> dict[str, np.integer[Any]]:
        """The kernel's parameters by their names in fused.cu and in their order, as wide as it takes them."""
        return {
            "sources": np.uint64(self.sources),
            "samples": np.uint64(self.samples),
            "windows": np.uint64(self.windows),
            "shared_windows": np.int32(self.shared_windows),
            "pool": np.uint64(self.tables),
            "pool_size": np.int32(self.entries),
            "norm": np.uint64(self.norm),
            "out": np.uint64(self.out),
            **{name: self.to[name][0] for name in TARGET.names or () if name != "reserved"},
        }


def unavailable() -> str | None:
    """Why the kernel cannot run here, or None where it can."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error})"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CuPy finds no usable CUDA device ({error})"
    return None if count else "CuPy finds no CUDA device"


class FusedKernel:
    """The compiled kernel for one number of planes and one output type, on the current device.

    Raises:
        RadloadError: no CuPy or no CUDA device. ValueError: more planes than fit.
    """

    def __init__(self, planes: int, output: Output = "float32") -> None:
        reason = unavailable()
        if reason is not None:
            raise RadloadError(f"the GPU kernel cannot run: {reason}; use device='cpu' instead")
        import cupy

        if not 1 <= planes <= MOST_PLANES or output not in OUTPUTS:
            raise ValueError(f"planes must be 1 to {MOST_PLANES} and output one of {OUTPUTS}, not {planes}, {output!r}")
        self.planes, self.output = planes, output
        self._cupy: Any = cupy
        self._function = cupy.RawModule(code=source_text(), options=options(planes, output)).get_function(
            "radload_fused"
        )

    def launch(self, launch: Launch, stream: int = 0) -> None:
        """Puts the rendering on a stream and returns; nothing is copied or synchronised.

        Args:
            launch: its arrays, and what they point to, stay until the stream has passed.
            stream: address of a CUDA stream (torch's `.cuda_stream`).

        Raises:
            ValueError: more samples or rows than a grid has, before anything is launched.
        """
        if launch.count == 0:
            return
        grid = launch.grid()
        with self._cupy.cuda.ExternalStream(stream):
            self._function(grid, (THREADS,), tuple(launch.arguments().values()))


def check(
    sources: NDArray[np.void],
    samples: NDArray[np.void],
    windows: NDArray[np.void],
    norm: NDArray[np.float32],
    planes: int,
) -> None:
    """Makes sure that the kernel will not leave its arrays.

    Raises:
        ValueError: records of other types or lengths, or a source whose size is not its level's.
    """
    count = len(sources)
    if sources.dtype != SOURCE or samples.dtype != SAMPLE or windows.dtype != WINDOW or samples.shape != (count,):
        raise ValueError("sources, samples and windows must be SOURCE, SAMPLE and WINDOW records of one batch")
    if windows.shape not in ((count, planes), (1, planes)) or norm.shape != (planes, 2) or norm.dtype != np.float32:
        raise ValueError(f"windows {windows.shape} or norm {norm.shape} do not fit {count} samples of {planes} planes")
    there = sources["address"] != 0
    step = np.left_shift(1, np.where(there, samples["level"], 0))
    fits = (sources["rows"] == -(-samples["rows"] // step)) & (sources["cols"] == -(-samples["cols"] // step))
    if not np.all(~there | (fits & (sources["dtype"] >= 0) & (sources["dtype"] < len(DTYPE_CODES)))):
        raise ValueError("a source's size is not that of its level, or its dtype code is unknown")
