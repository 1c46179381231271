"""How well an order mixes: how often two samples of one batch, or of batches near each other, are of the same patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def perfect_rate(groups: NDArray[np.integer]) -> float:
    """Share of all pairs of samples that are of one group: what a perfect shuffle has in every batch.

    Args:
        groups: (samples,) patient (or series, or class) of each sample, counted from 0.
    """
    sizes = np.bincount(groups).astype(np.float64)
    return float((sizes * (sizes - 1)).sum() / max(sizes.sum() * (sizes.sum() - 1), 1.0))


def pair_rate(groups: NDArray[np.integer], batch: int, apart: int = 0) -> float:
    """Share of pairs that are of one group, over all full batches of draws in their order.

    Args:
        groups: (draws,) patient of each draw, counted from 0; batch: draws of a global batch, 2 or more.
        apart: 0: both samples of one batch; k: one of a batch, the other of the batch k steps later.

    Raises:
        ValueError: fewer than apart + 1 full batches.
    """
    steps = len(groups) // batch
    if batch < 2 or steps <= apart:
        raise ValueError(
            f"{len(groups)} draws have {steps} batches of {batch}; at least {apart + 1} of 2 or more are needed"
        )
    table = np.sort(np.asarray(groups[: steps * batch]).reshape(steps, batch), axis=1)
    same = 0
    for step in range(steps - apart):
        found, counts = np.unique(table[step], return_counts=True)
        if apart:
            later = table[step + apart]
            ends = np.searchsorted(later, found, "right") - np.searchsorted(later, found, "left")
            same += int((counts * ends).sum())
        else:
            same += int((counts * (counts - 1)).sum())
    pairs = batch * batch if apart else batch * (batch - 1)
    return same / (pairs * (steps - apart))
