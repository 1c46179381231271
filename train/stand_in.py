"""Classes for data without labels: modality and body part of the series, which every packed data set knows.

They are learnt in minutes and teach a network what the images look like; they are no substitute for labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset

NAME = "modality and body part"
UNKNOWN = "unknown"


def stand_in_classes(dataset: Dataset) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Class names ("CT CHEST", "MR" where the body part is unknown), sorted, and the class of each sample: (samples,)."""
    series = dataset.index.table("series")
    pairs = zip(series.column("modality").to_pylist(), series.column("body_part").to_pylist(), strict=True)
    names = [" ".join(" ".join(part or "" for part in pair).upper().split()) or UNKNOWN for pair in pairs]
    classes, code_of_series = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
    codes = code_of_series.astype(np.int32)[dataset.index.records["series"]]
    return tuple(str(name) for name in classes), codes
