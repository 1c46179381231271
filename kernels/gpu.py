"""The fused kernel on a CUDA device: one launch renders a ragged batch (fused.cu, compiled by CuPy at first use, for sm_80 and later).

It has compiled for sm_90 and has run on no GPU yet. What has run are fused.h and fused_effects.h, which hold all of its arithmetic, in a
host build: they agree with reference.render to 1e-5. Not run: the launch, the upload of the records, and the conversion to float16
and bfloat16. NVRTC for sm_90 reports 64 to 80 registers a thread for 1 to 4 planes and at most 48 bytes of spill.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from radload.errors import RadloadError
from radload.kernels.prepare import NO_TABLES, SAMPLE, WINDOW

# One per sample: where its coded values lie on the device; fused.h has the same as a struct.
SOURCE = np.dtype([("address", "<u8"), ("dtype", "<i4"), ("rows", "<i4"), ("cols", "<i4"), ("reserved", "<i4")])
DTYPE_CODES = {"uint8": 0, "uint16": 1, "int16": 2, "float32": 3}  # SOURCE["dtype"]

Output = Literal["float32", "float16", "bfloat16"]
OUTPUTS: tuple[Output, ...] = ("float32", "float16", "bfloat16")  # position = -DOUTPUT
TILE_ROWS, TILE_COLS, THREADS = 8, 32, 256  # as in fused.h
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


def unavailable() -> str | None:
    """Why the kernel cannot run here, or None where it can."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): install radload[cuda13] or radload[cuda12]"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CUDA reports no usable device ({error})"
    return None if count else "this machine has no CUDA device"


class FusedKernel:
    """The compiled kernel for one number of planes and one output type.

    Raises:
        RadloadError: no CuPy or no CUDA device.
    """

    def __init__(self, planes: int, output: Output = "float32") -> None:
        reason = unavailable()
        if reason is not None:
            raise RadloadError(f"the GPU kernel cannot run: {reason}; use device='cpu' instead")
        import cupy

        if planes < 1 or output not in OUTPUTS:
            raise ValueError(f"planes must be at least 1 and output one of {OUTPUTS}, not {planes} and {output!r}")
        self.planes, self.output = planes, output
        self._cupy: Any = cupy
        self._function = cupy.RawModule(code=source_text(), options=options(planes, output)).get_function(
            "radload_fused"
        )

    def launch(
        self,
        sources: NDArray[np.void],
        samples: NDArray[np.void],
        windows: NDArray[np.void],
        norm: NDArray[np.float32],
        out: int,
        size: tuple[int, int],
        *,
        tables: NDArray[np.float32] = NO_TABLES,
        stream: int = 0,
    ) -> None:
        """Puts the rendering of N samples on a stream and returns; nothing is synchronised.

        Args:
            sources: (N,) SOURCE; the coded values must stay where they are until the stream has passed.
            samples: (N,) from prepare.samples. windows: (N, C) or (1, C) from prepare.windows. norm: (C, 2) from prepare.normalisation.
            out: device address of (N, C, height, width) values of `output`, contiguous.
            size: (height, width). tables: the batch's pool of tables. stream: address of a CUDA stream (torch's `.cuda_stream`).

        Raises:
            ValueError: records that do not fit together, before anything is launched.
        """
        count, (height, width) = len(sources), size
        check(sources, samples, windows, norm, self.planes)
        if count == 0:
            return
        grid = (-(-width // TILE_COLS), -(-height // TILE_ROWS), count)
        if min(size) < 1 or grid[1] > _GRID_LIMIT or count > _GRID_LIMIT:
            raise ValueError(f"a batch of {count} with outputs of {height}x{width} is out of the kernel's range")
        with self._cupy.cuda.ExternalStream(stream):
            # From pageable memory: CUDA has read it when the call returns, so the host arrays may go. About 150 bytes a sample.
            parts = (sources, samples, windows.reshape(-1), norm.reshape(-1), tables)
            host = [np.ascontiguousarray(p).view(np.uint8).reshape(-1) for p in parts]
            offsets = np.cumsum([0, *(-(-len(h) // 16) * 16 for h in host)])
            packed = np.zeros(int(offsets[-1]), np.uint8)
            for offset, h in zip(offsets[:-1], host, strict=True):
                packed[offset : offset + len(h)] = h
            device = self._cupy.empty(len(packed), np.uint8)
            device.set(packed)
            at = [np.uint64(device.data.ptr + int(o)) for o in offsets[:-1]]
            shared = np.int32(len(windows) == 1)
            arguments = (
                at[0],
                at[1],
                at[2],
                shared,
                at[4],
                np.int32(tables.size),
                at[3],
                np.uint64(out),
                np.int32(height),
                np.int32(width),
            )
            self._function(grid, (THREADS,), arguments)


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
    step = np.left_shift(1, samples["level"])
    fits = (sources["rows"] == -(-samples["rows"] // step)) & (sources["cols"] == -(-samples["cols"] // step))
    if not np.all(fits & (sources["dtype"] >= 0) & (sources["dtype"] < len(DTYPE_CODES))):
        raise ValueError("a source's size is not that of its level, or its dtype code is unknown")
