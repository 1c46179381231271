"""No image in two splits, under two patients or with two labels: groups of equal pixel hashes, nearly empty images aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.audit.empty import nearly_empty
from radload.audit.groups import Groups, equal_rows
from radload.audit.report import MAX_KEYS, Check, Status, many
from radload.audit.rows import Rows
from radload.dataset.labels import LabelSet
from radload.dataset.schema import SPLITS


@dataclass(frozen=True, slots=True)
class PixelChecks:
    """The checks, and figures: groups of identical images in all, and the groups set aside because their image is nearly empty."""

    checks: list[Check]
    groups: int
    samples: int
    set_aside: int
    unreadable: int
    unhashed: int


@dataclass(frozen=True)
class _Same:
    """Groups of identical images as findings."""

    rows: Rows
    groups: Groups

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        known = self.rows.known()
        for members in self.groups:
            patients = np.unique(self.rows.patient[members])
            splits = np.bincount(self.rows.split[members], minlength=len(SPLITS))
            finding: dict[str, Any] = {
                "samples": len(members),
                "keys": self.rows.keys(members[:MAX_KEYS]),
                "splits": {SPLITS[code]: int(count) for code, count in enumerate(splits) if count},
                "patients": [self.rows.pseudonym("patients", int(patient)) for patient in patients[:MAX_KEYS]],
                "unknown_patients": int((~known[patients]).sum()),
            }
            labels = {one.name: found for one in self.rows.labels if (found := _labels(one, members))}
            yield finding | ({"labels": labels} if labels else {})


def pixel_checks(rows: Rows) -> PixelChecks:
    """Sort by hash, then look at the groups; one image of each group that something is wrong with is decoded, to tell empty ones."""
    hashed = np.flatnonzero(rows.hashed)
    everything = equal_rows(rows.hashes if len(hashed) == len(rows) else rows.hashes[hashed])
    groups = Groups(hashed[everything.members], everything.starts)
    marks = {
        "pixels-splits": groups.differ(rows.split),
        "pixels-patients": groups.differ(rows.patient),
        **{f"pixels-labels:{one.name}": groups.differ_where_known(one.codes, one.task) for one in rows.labels},
    }
    marked = np.logical_or.reduce(list(marks.values()))
    suspects = groups.take(marked)
    empty, unreadable = nearly_empty(rows.dataset, suspects.firsts())
    checks = []
    for name, mark in marks.items():
        found = suspects.take(mark[marked] & ~empty)
        checks.append(_check(rows, name, found))
    unhashed = len(rows) - len(hashed)
    return PixelChecks(checks, len(groups), len(groups.members), int(empty.sum()), unreadable, unhashed)


def _check(rows: Rows, name: str, groups: Groups) -> Check:
    kind, _, labels = name.partition(":")
    claim, where = {
        "pixels-splits": ("image is in two splits", "in two splits"),
        "pixels-patients": ("image is under two patients", "under two patients"),
        "pixels-labels": (f"image has two labels in set {labels}", f"with two labels in set {labels}"),
    }[kind]
    count, samples = len(groups), len(groups.members)
    status, found = Status.HOLDS, ""
    if count:
        status, found = Status.FAILS, f"{many(count, 'image')} ({samples:,} samples) {where}"
    return Check(name, status, claim, found, _Same(rows, groups))


def _labels(labels: LabelSet, members: NDArray[np.int64]) -> list[str]:
    """What a label set says of identical images: classes, or for multi-label sets the classes that are 1 here and 0 there."""
    mine = labels.codes[members]
    if labels.task == "multi":
        torn = np.flatnonzero(np.fmin.reduce(mine, axis=0) < np.fmax.reduce(mine, axis=0))
        return [labels.classes[code] for code in torn]
    return [labels.classes[code] for code in np.unique(mine[mine >= 0])]
