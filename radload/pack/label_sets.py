"""Labels of input files, or of packed samples, from a CSV file, the modality or a folder's name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radload.dataset.labels import LabelSet
from radload.errors import UsageError
from radload.pack.persons import Person, telling_classes
from radload.pack.table import Identity, KeyedTable, read_table

_UNCERTAIN: Final = {"ignore": np.nan, "zero": 0.0, "one": 1.0}  # what -1 of a multi-label table becomes


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a list of things (files, samples): `LabelSet` without a name.

    codes: single: (n,) int32, -1 where there is none; multi: (n, classes) float32, NaN where unknown.
    """

    task: str
    classes: tuple[str, ...]
    codes: NDArray[Any]
    origin: str

    def take(self, rows: NDArray[np.int64], name: str) -> LabelSet:
        """The label set of samples, the i-th of which is of thing `rows[i]`."""
        return LabelSet(name, self.task, self.classes, self.codes[rows], self.origin)

    def labelled(self) -> int:
        """How many things have a label."""
        known = self.codes >= 0 if self.task == "single" else ~np.isnan(self.codes).all(axis=1)
        return int(known.sum())


def from_texts(texts: Sequence[str | None], origin: str) -> Labels:
    """One label each; None and "" mean none. Classes are sorted by name."""
    classes = tuple(sorted({text for text in texts if text}))
    code = {name: i for i, name in enumerate(classes)}
    codes = np.fromiter((code[text] if text else -1 for text in texts), np.int32, len(texts))
    return Labels("single", classes, codes, origin)


def from_csv(path: Path, identities: Sequence[Identity], uncertain: str, some: bool = True) -> Labels:
    """One label column: single-label, any text. Several: multi-label, each 1, 0, -1 (uncertain) or empty (unknown).

    Args:
        uncertain: "ignore", "zero" or "one": what -1 becomes. some: one of these images must have a label.

    Raises:
        UsageError: a table that cannot be used, or that matches nothing.
    """
    table = read_table(path, "--labels")
    rows = table.find_all(identities)
    if some and not any(row is not None for row in rows):
        raise UsageError(
            f"--labels {path} matches none of the {len(identities)} images by its column {table.key}: {_hint(table.key)}"
        )
    if len(table.values) == 1:
        (column,) = table.values.values()
        labels = from_texts([column[row] if row is not None else None for row in rows], "csv")
    else:
        values = _numbers(table, uncertain)
        codes = np.full((len(rows), values.shape[1]), np.nan, np.float32)
        matched = np.array([row is not None for row in rows])
        codes[matched] = values[[row for row in rows if row is not None]]
        labels = Labels("multi", tuple(table.values), codes, "csv")
    if some and not labels.labelled():
        raise UsageError(f"--labels {path} gives every image that it names an empty label: fill in the label column")
    return labels


def from_folder(level: int, sources: Sequence[str], some: bool = True) -> Labels:
    """The name of the folder at `level` (1: directly below the source folder). Raises UsageError where no file lies that deep."""
    parts = [source.split("/") for source in sources]
    labels = from_texts([part[level - 1] if len(part) > level else None for part in parts], f"folder:{level}")
    if some and not labels.classes:
        raise UsageError(
            f"--labels-from folder:{level} finds no folder {level} levels below --src above an image: give a smaller level"
        )
    return labels


def from_modality(modalities: Sequence[str], some: bool = True) -> Labels:
    """Modality (0008,0060) as class. Raises UsageError where no image has one."""
    labels = from_texts(modalities, "modality")
    if some and not labels.classes:
        raise UsageError(
            "--labels-from modality finds no image with a modality: NIfTI and PNG files have none; use --labels FILE.csv"
        )
    return labels


def majority(labels: Labels | None, patients: Sequence[str], weights: Sequence[int]) -> dict[str, str]:
    """Each patient's most frequent class ("" without labels): the stratum in which he is divided.

    Args:
        patients: whose each labelled file is; weights: how many slices it has. Multi-label: the most frequent positive.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row, (patient, weight) in enumerate(zip(patients, weights, strict=True)):
        counter = counts[patient]
        if labels is None:
            continue
        if labels.task == "single":
            code = int(labels.codes[row])
            if code >= 0:
                counter[labels.classes[code]] += weight
        else:
            for code in np.flatnonzero(labels.codes[row] == 1).tolist():
                counter[labels.classes[code]] += weight
    return {
        patient: min(counter, key=lambda name: (-counter[name], name), default="")
        for patient, counter in counts.items()
    }


def check_classes(labels: Labels, persons: Sequence[Person], table: Path | None) -> None:
    """Refuse class names that tell a person: they would leave with the shards. The message gives a place, never the name.

    Args:
        persons: of each labelled thing; table: the CSV file that the labels come from.

    Raises:
        UsageError: see `persons.telling_classes`.
    """
    codes = labels.codes
    if labels.task == "single":
        carriers = ((int(code), row) for row, code in enumerate(codes) if code >= 0)
    else:
        carriers = ((int(code), int(row)) for row, code in np.argwhere(codes == 1))
    telling = telling_classes(labels.classes, persons, carriers)
    if not telling:
        return
    count = f"{len(telling)} of {len(labels.classes)} class names tell a patient (number, name or accession number)"
    if table is None:
        folder = labels.origin.rpartition(":")[2]
        raise UsageError(
            f"--labels-from {labels.origin}: {count}, the first is class {telling[0] + 1} in alphabetical order: those are folders of "
            f"patients, and class names leave with the shards; give another level than {folder}, or a table by --labels"
        )
    raise UsageError(
        f"--labels {table}: {count}, the first stands in {_place(labels, telling[0], table)}: class names leave with the shards, "
        "so write another name"
    )


def _place(labels: Labels, position: int, table: Path) -> str:
    rows = read_table(table, "--labels")
    if labels.task == "multi":
        return f"the header, label column {position + 1}"
    (column,) = rows.values.values()
    return f"line {rows.lines[column.index(labels.classes[position])]}"


def _numbers(table: KeyedTable, uncertain: str) -> NDArray[np.float32]:
    """(rows, label columns) float32."""
    meaning = {"": np.nan, "nan": np.nan, "1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0}
    meaning |= {"-1": _UNCERTAIN[uncertain], "-1.0": _UNCERTAIN[uncertain]}
    numbers = np.empty((len(table.lines), len(table.values)), np.float32)
    for i, (name, column) in enumerate(table.values.items()):
        for row, text in enumerate(column):
            if text.lower() not in meaning:
                raise UsageError(
                    f"--labels {table.path} has something else than 1, 0, -1 or nothing in column {name}, line {table.lines[row]}: "
                    "leave only label columns beside the key column (several label columns mean multi-label)"
                )
            numbers[row, i] = meaning[text.lower()]
    return numbers


def _hint(key: str) -> str:
    if key == "path":
        return "paths are relative to the folder given by --src, with / between folders"
    if key == "key":
        return "keys are known after a pack; add the labels by `radload label`"
    return f"compare its values with the {key} of the files"
