"""Labelled rows of a data set divided by patient: what a probe is fitted on, chosen by and tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.dataset.index import Index
from radload.dataset.labels import label_names
from radload.errors import UsageError

PATIENTS, PACKED = "patients", "packed"
SHARES = (0.75, 0.10, 0.15)  # of the patients
FIT, CHOOSE, TEST, OUT = 0, 1, 2, 3


@dataclass(frozen=True)
class Targets:
    """What the rows of an index show.

    Attributes:
        classes: names; codes: (rows,) int64, -1 for none, or (rows, K) float32, NaN for unknown.
        patients: (rows,) int64, number of the patient of each row, from 0; -1 where there is no label.
    """

    classes: tuple[str, ...]
    codes: NDArray[Any]
    patients: NDArray[np.int64]

    @property
    def multi(self) -> bool:
        """Whether a row may have several labels."""
        return self.codes.ndim == 2

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(rows,) whether a row has a label."""
        return np.asarray(~np.isnan(self.codes).all(axis=1) if self.multi else self.codes >= 0)


def read_targets(dataset: Dataset) -> Targets:
    """What the label set in use says of the data set.

    Raises:
        UsageError: there is none, or one of fewer than two classes.
    """
    found = dataset.labels
    if found is None:
        names = label_names(dataset.root)
        choice = f"choose one of {', '.join(names)} with --labels" if names else "add labels with `radload label`"
        raise UsageError(f"there is nothing to test a network by in {dataset.root}: {choice}")
    multi = found.task == "multi"
    if len(found.classes) < 2 - multi:
        raise UsageError(f"label set {found.name!r} has one class only: a probe needs something to tell apart")
    codes: NDArray[Any] = np.array(found.codes, np.float32 if multi else np.int64)
    patients = dataset.index.series["patient"][dataset.index.records["series"]].astype(np.int64)
    targets = Targets(found.classes, codes, patients)
    numbered = np.full(len(patients), -1, np.int64)  # those without labels are nobody
    numbered[targets.labelled] = np.unique(patients[targets.labelled], return_inverse=True)[1].reshape(-1)
    return replace(targets, patients=numbered)


def divide(targets: Targets, index: Index, how: str, seed: int) -> NDArray[np.int8]:
    """(rows,) FIT, CHOOSE, TEST or OUT (no label) for each row; a patient has one part only.

    Args:
        how: "patients": anew for each seed, 75, 10 and 15 % of the patients of each class; "packed": the packed splits. There TEST is
            the test split, or the validation split where that has no labels, and CHOOSE, where it is not the validation split, 15 % of
            the training split's patients.

    Raises:
        UsageError: a part would be without labels.
    """
    labelled, stratum = targets.labelled, _strata(targets)
    part = np.full(len(labelled), OUT, np.int8)
    if how == PATIENTS:
        part[labelled] = _cut(targets.patients[labelled], stratum, SHARES, seed)
    else:
        split = np.full(len(labelled), "", "U5")
        for name, rows in index.ranges.items():
            split[rows.start : rows.stop] = name
        split[~labelled] = ""
        test = "test" if (split == "test").any() else "val"
        part[split == test] = TEST
        train = split == "train"
        if test == "test" and (split == "val").any():
            part[train], part[split == "val"] = FIT, CHOOSE
        else:
            part[train] = _cut(targets.patients[train], stratum, (0.85, 0.15), seed)
    for code, name in ((FIT, "to fit on"), (CHOOSE, "to choose by"), (TEST, "to test on")):
        if not (part == code).any():
            raise UsageError(
                f"the labelled samples are of too few patients: none is left {name} (divided by {how!r}, seed {seed})"
            )
    return part


def _strata(targets: Targets) -> NDArray[np.int64]:
    """(patients,) the rarest class of each patient, so that every part gets some of each; K where he has none."""
    labelled, count = targets.labelled, int(targets.patients.max(initial=-1)) + 1
    has = np.zeros((count, len(targets.classes)), bool)
    if targets.multi:
        rows, classes = np.nonzero(np.asarray(targets.codes) > 0.5)  # NaN is not
        has[targets.patients[rows], classes] = True
    else:
        has[targets.patients[labelled], targets.codes[labelled].astype(np.int64)] = True
    frequency = has.sum(axis=0)
    rarest = np.where(has, frequency, count + 1).argmin(axis=1)
    return np.where(has.any(axis=1), rarest, has.shape[1]).astype(np.int64)


def _cut(
    patients: NDArray[np.int64], strata: NDArray[np.int64], shares: tuple[float, ...], seed: int
) -> NDArray[np.int8]:
    """Part of each row: in every stratum the patients in random order, cut at the shares; what rounding leaves is spread over strata."""
    chosen = np.unique(patients)
    random = np.random.default_rng([seed, 0x9120B])
    order = chosen[np.lexsort((random.random(len(chosen)), strata[chosen]))]
    turn = (np.arange(len(order)) * _GOLDEN + random.random()) % 1.0
    code = np.searchsorted(np.cumsum(shares)[:-1], turn, side="right").astype(np.int8)
    of = np.zeros(int(chosen.max()) + 1, np.int8)
    of[order] = code
    return np.asarray(of[patients])


_GOLDEN = 0.6180339887498949  # multiples of it modulo 1 are spread evenly over any run of them
