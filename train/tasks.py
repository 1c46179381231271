"""What the network learns: the data set's labels, or stand-in classes where it has none; and what the user should know about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import radload
from radload.dataset import Dataset
from radload.dataset.labels import label_names
from radload.errors import UsageError
from radload.train.config import NO_LABELS
from radload.train.stand_in import NAME, stand_in_classes

SHOWN = 8  # names listed in a sentence


@dataclass(frozen=True)
class Task:
    """Targets of a data set.

    Attributes:
        name: of the label set, or of the stand-in; labels: what the Loader takes as `labels`.
        multi: several labels per image, each 0, 1 or unknown.
        classes: names; counts: per split the number of samples of each class (several labels: positives);
        labelled, unlabelled: per split the samples with and without a label.
        table: (samples,) class of each row of the index, for the stand-in, on the device; None where the loader brings the labels.
    """

    name: str
    labels: str | bool
    multi: bool
    classes: tuple[str, ...]
    counts: dict[str, NDArray[np.int64]]
    labelled: dict[str, int]
    unlabelled: dict[str, int]
    table: Tensor | None = None

    def targets(self, batch: dict[str, Any], device: torch.device) -> Tensor:
        """(N,) int64 with -1 where there is none, or (N, classes) float32 with NaN; padding of a batch counts as none."""
        if self.table is not None:
            target = self.table[batch["index"].to(device, non_blocking=True)].long()
        else:
            target = batch["label"].to(device, non_blocking=True)
        if "valid" in batch:
            valid = batch["valid"].to(device, non_blocking=True)
            if self.multi:
                return target.masked_fill(~valid[:, None], float("nan"))
            return target.masked_fill(~valid, -1)
        return target

    def notes(self) -> list[str]:
        """One sentence for each thing about the labels that the user may not expect.

        Raises:
            UsageError: no sample of the training split has a label.
        """
        train, val = self.counts["train"], self.counts["val"]
        said = []
        if self.table is not None:
            said.append(f"no labels: training on {NAME} as stand-in classes (add labels with `radload label`)")
        if not self.multi and len(self.classes) == 1:
            said.append(
                f"all images are of one class ({self.classes[0]}): the run goes through, but there is nothing to learn yet"
            )
        if not self.labelled["train"]:
            raise UsageError(f"no training sample has a label in set {self.name!r}: choose another with --labels")
        if self.unlabelled["train"]:
            said.append(
                f"{self.unlabelled['train']} training samples have no label in set {self.name!r} and teach nothing"
            )
        unseen = [name for name, count in zip(self.classes, train, strict=True) if not count]
        if unseen:
            said.append(f"classes without a training sample: {_listed(unseen)}")
        if not self.labelled["val"]:
            said.append("the validation split has no labelled sample: nothing is validated")
        else:
            absent = [name for name, count in zip(self.classes, val, strict=True) if not count]
            if absent:
                said.append(f"classes without a validation sample, left out of the AUROC: {_listed(absent)}")
        return said


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def open_task(
    shards: str, labels: str | None, device: torch.device, version: int | None = None
) -> tuple[Dataset, Task]:
    """Open the data set in `shards`, and find what to learn from it.

    Args:
        labels: name of a label set; None: the set called "default", or the only one; "none": the stand-in.
        version: of the data set, None: the current one.

    Raises:
        UsageError: no data set there, no such label set, or several and none chosen.
    """
    dataset = radload.open(shards, None if labels == NO_LABELS else labels, version)
    name: str
    chosen: str | bool
    found = None if labels == NO_LABELS else dataset.labels
    if found is None:
        sets = label_names(dataset.index.label_root)
        if sets and labels != NO_LABELS:
            raise UsageError(
                f"the data set has label sets {_listed(sets)}: choose one with --labels, or --labels {NO_LABELS}"
            )
        classes, codes = stand_in_classes(dataset)
        small = np.uint8 if len(classes) <= 256 else np.int32
        task_codes: NDArray[Any] = codes
        table = torch.from_numpy(codes.astype(small)).to(device)
        name, chosen, multi = NAME, False, False
    else:
        name, chosen, multi = found.name, found.name, found.task == "multi"
        classes, task_codes, table = found.classes, found.codes, None
    counts, labelled, unlabelled = {}, {}, {}
    for split, rows in dataset.index.ranges.items():
        part = task_codes[rows.start : rows.stop]
        if multi:
            counts[split] = np.asarray((part == 1).sum(axis=0), np.int64)
            unlabelled[split] = int(np.isnan(part).all(axis=1).sum())
        else:
            counts[split] = np.bincount(part[part >= 0], minlength=len(classes))
            unlabelled[split] = int((part < 0).sum())
        labelled[split] = len(part) - unlabelled[split]
    return dataset, Task(name, chosen, multi, classes, counts, labelled, unlabelled, table)
