"""Nearly empty images: equal ones prove nothing, because a scan's first slices of air are alike in any patient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.errors import CorruptSample, FormatError
from radload.pack.duplicates import NEARLY_EMPTY, commonest_share


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
            empty[place] = commonest_share(dataset[int(rows[place])].stored) >= NEARLY_EMPTY
        except (CorruptSample, FormatError):
            unreadable += 1
    return empty, unreadable


def _numbers(column: Any) -> NDArray[np.float64]:
    """NaN for null."""
    return np.asarray(column.cast("float64").to_numpy(), np.float64)
