"""Intervals by resampling patients: slices of one patient are no independent witnesses, so whole patients are drawn, with replacement.

Efron's percentile interval of 95 %. A draw without positives or negatives of a class says nothing about it and does not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000
# Fewer where 1,000 would take minutes or GB: samples * classes and patients, times resamples.
_LEAST, _WORK, _DRAWN = 200, 2e10, 2e8
_FEW = 100  # resamples below which no interval is given


@dataclass(frozen=True)
class Measure:
    """A figure with its interval; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


def resamples_for(samples: int, classes: int, patients: int) -> int:
    """RESAMPLES, fewer for very many samples, classes or patients, at least 200."""
    affordable = min(_WORK / max(1, samples * classes), _DRAWN / max(1, patients))
    return int(min(RESAMPLES, max(_LEAST, affordable)))


def draw_patients(patients: int, resamples: int, seed: int = 0) -> NDArray[np.uint16]:
    """(resamples, patients) how often each patient is drawn; a function of its arguments."""
    random = np.random.default_rng([seed, patients])
    drawn = np.empty((resamples, patients), np.uint16)
    for row in drawn:
        row[:] = np.bincount(random.integers(0, patients, patients), minlength=patients)
    return drawn


def measure(value: float, resampled: NDArray[np.float64]) -> Measure:
    """The figure `value` with the interval that its resampled values (B,) give; NaN is none."""
    if not np.isfinite(value):
        return Measure(None)
    known = resampled[np.isfinite(resampled)]
    if len(known) < _FEW:
        return Measure(float(value))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Measure(float(value), float(low), float(high))


def as_text(measured: Mapping[str, float | None] | None, form: str = ".3f") -> str:
    """ "0.912 (0.873 to 0.941)" of `Measure.as_dict`; "" where there is none."""
    if measured is None or measured["value"] is None:
        return ""
    low, high = measured["low"], measured["high"]
    interval = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return f"{measured['value']:{form}}{interval}"
