"""Nearly empty images: equal ones prove nothing, because a scan's first slices of air are alike in any patient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.errors import CorruptSample, FormatError

NEARLY = 0.99  # share of an image's pixels that hold one value, from which on it is nearly empty


def commonest_share(stored: NDArray[Any]) -> float:
    """Share of the pixels, (rows, cols) or (rows, cols, channels), that have the most frequent value (of each channel) at once."""
    pixels = stored.reshape(stored.shape[0] * stored.shape[1], -1)
    common = np.ones(len(pixels), np.bool_)
    for channel in pixels.T:
        bits = np.ascontiguousarray(channel).view(f"u{channel.dtype.itemsize}")  # NaN equals NaN
        values, counts = np.unique(bits, return_counts=True)
        common &= bits == values[np.argmax(counts)]
    return float(common.mean())


def nearly_empty(dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], int]:
    """(rows,) whether an image is constant or nearly empty, and the number of images that could not be read: those count as full.

    Constant ones are told by the index; others are decoded, one at a time.
    """
    samples = dataset.index.table("samples")
    low, high = (_numbers(samples.column(name).take(rows)) for name in ("minimum", "maximum"))
    empty = low == high
    unreadable = 0
    for place in np.flatnonzero(~empty).tolist():
        try:
            empty[place] = commonest_share(dataset[int(rows[place])].stored) >= NEARLY
        except (CorruptSample, FormatError):
            unreadable += 1
    return empty, unreadable


def _numbers(column: Any) -> NDArray[np.float64]:
    """NaN for null."""
    return np.asarray(column.cast("float64").to_numpy(), np.float64)
