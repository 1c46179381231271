"""AUROC of several networks over several divisions by patient, with intervals; what two differ by, on the same draws of patients.

One draw takes whole patients of the data set with replacement, and holds for every network and division, so a difference has a far
narrower interval than the two figures that it is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radload.train.auroc import areas_by_class, macro, one_hot
from radload.train.bootstrap import Measure, draw_patients, measure, resamples_for
from radload.train.divide import Targets


@dataclass(frozen=True)
class Answers:
    """What a network said of the test part of one division: rows of the index (n,), ascending, and scores (n, K)."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """Of one network and method: areas (draws + 1, divisions), the first row being the data as they are; by_class (divisions, K)."""

    areas: NDArray[np.float64]
    by_class: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(draws + 1,) mean over the divisions that can be judged, which are the same for all networks; NaN where none can."""
        return _mean_of_known(self.areas, 1)

    @property
    def classes(self) -> NDArray[np.float64]:
        """(K,) mean of each class over the divisions that can judge it; NaN where none can."""
        return _mean_of_known(self.by_class, 0)

    @property
    def auroc(self) -> Measure:
        """Mean AUROC over the divisions, with its interval."""
        return measure(float(self.mean[0]), self.mean[1:])


def make_weights(patients: NDArray[np.int64], samples: int, classes: int) -> NDArray[np.uint16]:
    """(draws + 1, patients) how often each patient counts; the first row is everybody once. patients: numbers, of all rows."""
    count = int(patients.max(initial=-1)) + 1
    drawn = draw_patients(count, resamples_for(samples, classes, count))
    return np.concatenate([np.ones((1, count), np.uint16), drawn])


def judge_divisions(tested: Sequence[Answers], targets: Targets, weights: NDArray[np.uint16]) -> Judged:
    """One network's AUROC (mean over the classes that can be judged) in each division. weights: of `make_weights`."""
    areas = np.empty((len(weights), len(tested)))
    by_class = np.empty((len(tested), len(targets.classes)))
    for place, one in enumerate(tested):
        each = areas_by_class(
            one.scores, one_hot(targets.codes[one.rows], len(targets.classes)), targets.patients[one.rows], weights
        )
        areas[:, place], by_class[place] = macro(each), each[0]
    return Judged(areas, by_class)


def difference(a: Judged, b: Judged) -> Measure:
    """How much more AUROC `a` has than `b`, patient for patient."""
    gap = a.mean - b.mean
    return measure(float(gap[0]), gap[1:])


def closed(a: Judged, b: Judged) -> float | None:
    """The share of what `b` leaves to an AUROC of 1 that `a` closes; None where `b` leaves nothing, or one cannot be judged."""
    ours, theirs = float(a.mean[0]), float(b.mean[0])
    share = (ours - theirs) / (1 - theirs) if 1 - theirs > 1e-9 else float("nan")
    return share if np.isfinite(share) else None


def _mean_of_known(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=axis) / known.sum(axis=axis))
