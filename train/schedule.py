"""The learning rate as a pure function of the step: linear warm-up, then half a cosine down to zero."""

from __future__ import annotations

import math


def lr_at(step: int, total: int, peak: float, warmup: float) -> float:
    """Learning rate of step `step`, counted from 0.

    Args:
        total: steps of the whole run; peak: rate at the end of the warm-up; warmup: its share of all steps, in [0, 1).

    Returns:
        A rate in (0, peak]: the first step already moves the weights, the step after the last would have 0.
    """
    rising = min(round(warmup * total), total - 1)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (total - rising)))
