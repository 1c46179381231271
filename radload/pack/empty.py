"""Whether a slice shows anything: --drop-empty."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CONTENT: Final = 1e-3  # share of a slice's pixels that must differ from the value of all others: 262 of 512 x 512


def is_empty(values: NDArray[np.generic], padding: tuple[int, int] | None) -> bool:
    """Whether, padding (an inclusive range of stored values) and what is not finite aside, the slice is (nearly) constant.

    Nearly: at most `CONTENT` of its pixels have another value than the most frequent one. For colour, (rows, cols, 3), in every channel.
    An air slice of a CT, whose noise is content, is not empty.
    """
    if values.ndim == 3:
        return all(is_empty(values[..., channel], None) for channel in range(values.shape[2]))
    flat: NDArray[Any] = values.reshape(-1)
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    if padding is not None:
        flat = flat[(flat < padding[0]) | (flat > padding[1])]
    if not flat.size:
        return True
    middle = np.partition(flat, flat.size // 2)[flat.size // 2]  # where one value has more than half, it is the median
    return int(np.count_nonzero(flat != middle)) <= CONTENT * values.size
