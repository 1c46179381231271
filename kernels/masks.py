"""Label masks on the CPU (Numba, GIL released): each output is the label of the pixel that contains its centre; reference.render_mask.

Equal to the reference in every pixel, so nothing here may round otherwise than NumPy: compiled without fast arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from radload.kernels.grid import centre, in_outputs, offset, pivot
from radload.kernels.jit import Array, Record, checksum, exact_entry
from radload.kernels.prepare import FLIP_HORIZONTAL, FLIP_VERTICAL, SAMPLE, TURNED

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


def _compile(version: int) -> Callable[..., None]:
    """The entry for turned masks; see jit.entry for `version`."""

    @exact_entry
    def pick_turned(mask: Array, sample: Record, out: Array) -> None:
        """mask (h, w); sample: one SAMPLE that is TURNED; out (height, width) int32, written whole."""
        if version < 0:  # never: it makes `version` part of the cache's key
            return
        height, width = out.shape
        mid_y, mid_x = pivot(sample.rows, sample.top, sample.height), pivot(sample.cols, sample.left, sample.width)
        q_y = in_outputs(mid_y, sample.top, sample.height, height)
        q_x = in_outputs(mid_x, sample.left, sample.width, width)
        only = min(max(np.int64(np.floor(q_y)), 0), height - 1), min(max(np.int64(np.floor(q_x)), 0), width - 1)
        for o in range(height):
            a = offset(o, q_y)
            row = out[height - 1 - o if sample.flip & FLIP_VERTICAL != 0 else o]
            for p in range(width):
                b = offset(p, q_x)
                y = centre(mid_y, sample.cosine * a, sample.sine * b, sample.height, height)
                x = centre(mid_x, sample.cosine * b, -(sample.sine * a), sample.width, width)
                label = np.int32(OUTSIDE)
                inside = y >= 0 and y < sample.rows and x >= 0 and x < sample.cols
                if inside or (o == only[0] and p == only[1]):
                    r = min(max(np.int64(np.floor(y)), 0), mask.shape[0] - 1)
                    c = min(max(np.int64(np.floor(x)), 0), mask.shape[1] - 1)
                    label = np.int32(mask[r, c])
                row[width - 1 - p if sample.flip & FLIP_HORIZONTAL != 0 else p] = label

    return pick_turned


_pick_turned = _compile(checksum("grid", "masks"))


def render_mask_into(mask: NDArray[np.integer], sample: NDArray[np.void], out: NDArray[np.int32]) -> None:
    """One mask under the crop, rotation, flip and placing of its image.

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
    if s["effects"] & TURNED:
        _pick_turned(mask, s, out)
        return
    box = np.array([s["top"], s["left"], s["height"], s["width"]], np.float64)
    rows, cols = (int(s["row_first"]), int(s["row_end"])), (int(s["col_first"]), int(s["col_end"]))
    _pick(mask, box, rows[0], rows[1], cols[0], cols[1], int(s["flip"]), out)
