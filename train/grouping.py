"""From slices to studies and patients: one answer per group, by the mean, the maximum, or the mean of the highest few of its slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MIXED: Final = -2  # target of a group whose slices have several classes
TOP: Final = 3  # slices of "top3"

Scores = NDArray[np.float64]


def _mean(scores: Scores, starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Scores:
    return np.asarray(np.add.reduceat(scores, starts, axis=0) / counts[:, None])


def _max(scores: Scores, starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Scores:
    return np.asarray(np.maximum.reduceat(scores, starts, axis=0))


def _top(scores: Scores, starts: NDArray[np.int64], counts: NDArray[np.int64]) -> Scores:
    """Mean of the `TOP` highest of each class, of all where a group has fewer."""
    group = np.repeat(np.arange(len(counts)), counts)
    result = np.empty((len(counts), scores.shape[1]))
    taken = np.minimum(counts, TOP)
    for k in range(scores.shape[1]):
        ordered = scores[np.lexsort((-scores[:, k], group)), k]  # each group's highest first
        place = np.arange(len(group)) - np.repeat(starts, counts)
        result[:, k] = np.add.reduceat(np.where(place < TOP, ordered, 0.0), starts) / taken
    return result


RULES: Final[dict[str, Callable[..., Scores]]] = {"mean": _mean, "max": _max, f"top{TOP}": _top}


def group_scores(scores: Scores, groups: NDArray[np.int64], rule: str) -> Scores:
    """(g, K) scores of groups in ascending order of their number, by a rule of RULES. scores: (n, K); groups: (n,)."""
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    return RULES[rule](scores[order], starts, counts)


def group_targets(targets: NDArray[Any], groups: NDArray[np.int64], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets of groups, in the order of `group_scores`.

    Returns:
        single: (g,) int64, the class of all labelled slices, -1 where none is labelled, MIXED where they have several.
        present: (g, K) float32, 1 where a slice is of the class, 0 where slices say that none is, NaN where no slice says.
        For several labels per slice the first is `present` too.
    """
    order = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[order], return_index=True)
    if targets.ndim == 2:
        known = ~np.isnan(targets[order])
        positive = np.where(known, targets[order], 0.0) > 0.5
        some = np.logical_or.reduceat(known, starts, axis=0)
        present = np.where(some, np.logical_or.reduceat(positive, starts, axis=0), np.nan).astype(np.float32)
        return present, present
    count = np.zeros((len(names), classes), np.int64)
    known = targets >= 0
    np.add.at(count, (np.searchsorted(names, groups[known]), targets[known]), 1)
    kinds = (count > 0).sum(axis=1)
    single = np.where(kinds == 1, count.argmax(axis=1), np.where(kinds == 0, -1, MIXED)).astype(np.int64)
    present = np.where(kinds[:, None] > 0, count > 0, np.nan).astype(np.float32)
    return single, present
