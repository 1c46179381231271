"""Bytes of one frame without compression -> stored values (PS3.5 section 8): bits, signs, planes and shared chroma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radload.sources.dicom_bits import Layout


def native_values(
    data: bytes, layout: Layout, first_bit: int = 0, big: bool = False
) -> tuple[NDArray[np.generic], str]:
    """Stored values, (rows, cols) or (rows, cols, 3), sign-extended to Bits Stored, and their photometric interpretation.

    Args:
        data: the frame's bytes, no more and no fewer.
        first_bit: where the frame begins in the first byte, for pixels of one bit.
        big: whether values of several bytes are big-endian.
    """
    if layout.allocated == 1:
        packed = np.frombuffer(data, dtype=np.uint8)
        count = layout.rows * layout.cols * layout.samples
        values: NDArray[np.generic] = np.unpackbits(packed, bitorder="little")[first_bit : first_bit + count]
    else:
        dtype = layout.dtype.newbyteorder(">" if big else "<")
        values = stored_bits(np.frombuffer(data, dtype=dtype).astype(layout.dtype), layout)
    if layout.subsampled:
        photometric = layout.photometric.removesuffix("_422")
        return _full_chroma(values).reshape(layout.rows, layout.cols, 3), photometric
    if layout.samples == 1:
        return values.reshape(layout.rows, layout.cols), layout.photometric
    if layout.planar == 1:
        planes = values.reshape(3, layout.rows, layout.cols)
        return np.ascontiguousarray(planes.transpose(1, 2, 0)), layout.photometric
    return values.reshape(layout.rows, layout.cols, 3), layout.photometric


def stored_bits(values: NDArray[np.generic], layout: Layout) -> NDArray[np.generic]:
    """Take the Bits Stored that end at High Bit, sign-extended; the other bits may hold anything (PS3.5 8.1.1)."""
    if layout.floating or layout.stored == layout.allocated:
        return values
    up, down = layout.allocated - 1 - layout.high, layout.allocated - layout.stored
    np.left_shift(values, up, out=values)
    np.right_shift(values, down, out=values)
    return values


def _full_chroma(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Y1 Y2 Cb Cr -> Y1 Cb Cr Y2 Cb Cr (PS3.3 C.7.6.3.1.2)."""
    pairs = values.reshape(-1, 4)
    out = np.empty((len(pairs), 2, 3), dtype=values.dtype)
    out[:, :, 0] = pairs[:, :2]
    out[:, :, 1:] = pairs[:, None, 2:]
    return out.reshape(-1)
