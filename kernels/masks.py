"""Label masks on the CPU (Numba, GIL released): each output is the label of the pixel that contains its centre; reference.render_mask.

Equal to the reference in every pixel, so nothing here may round otherwise than NumPy: compiled without fast arithmetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radload.kernels.jit import Array, exact_entry
from radload.kernels.prepare import FLIP_HORIZONTAL, FLIP_VERTICAL, SAMPLE

DTYPES = tuple(np.dtype(t) for t in ("u1", "<u2"))  # what a mask may be
OUTSIDE = 0  # the label where the output lies outside the image


@exact_entry
def _pick(
    mask: Array, box: Array, row_first: int, row_end: int, col_first: int, col_end: int, flip: int, out: Array
) -> None:
    """mask (h, w); box (4,) float64: top, left, height, width of the crop; out (height, width) int32, written whole."""
    height, width = out.shape
    row_end, col_end = min(row_end, height), min(col_end, width)
    column = np.empty(width, np.int64)
    for o in range(col_first, col_end):
        at = np.int64(np.floor(box[1] + (o + 0.5) * (box[3] / width)))
        column[o] = min(max(at, 0), mask.shape[1] - 1)
    for o in range(height):
        row = out[height - 1 - o if flip & FLIP_VERTICAL != 0 else o]
        row[:] = OUTSIDE
        if row_first <= o < row_end:
            at = np.int64(np.floor(box[0] + (o + 0.5) * (box[2] / height)))
            source = mask[min(max(at, 0), mask.shape[0] - 1)]
            if flip & FLIP_HORIZONTAL != 0:
                for p in range(col_first, col_end):
                    row[width - 1 - p] = source[column[p]]
            else:
                for p in range(col_first, col_end):
                    row[p] = source[column[p]]


def render_mask_into(mask: NDArray[np.integer], sample: NDArray[np.void], out: NDArray[np.int32]) -> None:
    """One mask under the crop, flip and placing of its image.

    Args:
        mask: (rows, cols) of one of DTYPES, C-contiguous, at full resolution, whatever level of the image is decoded.
        sample: (1,) from prepare.samples, for an output of out's size. out: (height, width) int32, C-contiguous, written whole.

    Raises:
        ValueError: arrays of other types or shapes than these.
    """
    if sample.dtype != SAMPLE or sample.shape != (1,):
        raise ValueError(f"sample is {sample.dtype} {sample.shape}; one record of prepare.SAMPLE is needed")
    if mask.dtype not in DTYPES or not mask.flags.c_contiguous or mask.shape != (sample["rows"][0], sample["cols"][0]):
        raise ValueError(
            f"the mask is {mask.dtype} {mask.shape}; contiguous uint8 or uint16 of "
            f"{sample['rows'][0]}x{sample['cols'][0]} is needed"
        )
    if out.dtype != np.int32 or out.ndim != 2 or 0 in out.shape or not (out.flags.c_contiguous and out.flags.writeable):
        raise ValueError("out must be writeable, contiguous int32 of (height, width)")
    s = sample[0]
    box = np.array([s["top"], s["left"], s["height"], s["width"]], np.float64)
    rows, cols = (int(s["row_first"]), int(s["row_end"])), (int(s["col_first"]), int(s["col_end"]))
    _pick(mask, box, rows[0], rows[1], cols[0], cols[1], int(s["flip"]), out)
