"""Which samples stand for a class: from as many patients as possible, and always the same ones for the same data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.inspect.summary import rows_of_class

# Where in a patient's samples the first, second, … pick lies: the middle shows most, then what is farthest from it.
PLACES = (0.5, 0.25, 0.75, 0.125, 0.875, 0.375, 0.625)


@dataclass(frozen=True, slots=True)
class Group:
    """A row of the contact sheet: its name, and the rows of the index to pick from."""

    name: str
    rows: NDArray[np.int64]


def groups(dataset: Dataset) -> list[Group]:
    """The classes of the label set in use that have samples; the modalities where there are no labels."""
    if dataset.labels is not None:
        found = [Group(name, rows_of_class(dataset, code)) for code, name in enumerate(dataset.labels.classes)]
    else:
        index = dataset.index
        modality = index.series["modality"][index.records["series"]]
        found = [
            Group(name or "unknown modality", np.flatnonzero(modality == code))
            for code, name in enumerate(index.modalities)
        ]
    return [group for group in found if len(group.rows)]


def picks(dataset: Dataset, rows: NDArray[np.int64], seed: int = 0) -> Iterator[int]:
    """All of `rows` that stand for their patients: each patient once, in shuffled order, then each a second time, and so on."""
    patient = dataset.index.series["patient"][dataset.index.records["series"][rows]]
    order = np.argsort(patient, kind="stable")
    names, starts = np.unique(patient[order], return_index=True)
    chunks = np.split(rows[order], starts[1:])
    turn = np.random.default_rng(seed).permutation(len(names))
    seen: set[int] = set()
    for place in PLACES:
        for who in turn:
            row = int(chunks[who][int(place * len(chunks[who]))])
            if row not in seen:
                seen.add(row)
                yield row
