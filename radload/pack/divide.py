"""Whose the images are, what their labels are, and which split each patient goes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import SPLITS
from radload.errors import UsageError
from radload.pack import privacy, radimagenet
from radload.pack.before import Before
from radload.pack.compact import Lazy
from radload.pack.label_sets import Labels, check_classes, from_csv, from_folder, from_modality, majority
from radload.pack.options import Checked, PackOptions
from radload.pack.patients import Patient, find_patients, identities, placeholder_notes
from radload.pack.persons import person_of
from radload.pack.scan import Catalog, InputFile
from radload.pack.select import hold_out
from radload.pack.splits import assign, rule
from radload.pack.table import Identity, read_table
from radload.pack.workspace import Folders

Linker: TypeAlias = Callable[[Sequence[Patient]], Mapping[str, str]]  # patients -> identity: the group it stands in


@dataclass(frozen=True, slots=True)
class Division:
    """Patients of the catalog's files, the split of each patient, and what the manifest says about it."""

    patients: list[Patient]
    splits: dict[str, int]
    given: set[str]
    rule: dict[str, Any]
    labels: Labels | None
    notes: tuple[str, ...]


def divide(
    options: PackOptions,
    checked: Checked,
    folders: Folders,
    files: Sequence[InputFile],
    catalog: Catalog,
    holdout: NDArray[np.int64] | None = None,
    link: Linker = lambda patients: {},
    before: Before | None = None,
    patients: list[Patient] | None = None,
) -> Division:
    """Find patients, labels and splits by rules, tables and what a data set ships with.

    Args:
        holdout: catalog rows whose patients are the test split.
        link: patient identity -> identity of the group that must not be torn apart (`duplicates.link_patients`).
        before: the data set that the files are added to, whose patients keep their split; patients: of the files, where known.

    Raises:
        UsageError: a rule or a table that cannot be used, or that puts a patient into two splits.
    """
    headers = catalog.headers
    patients = patients if patients is not None else find_patients(headers, options.patients)
    names = identities(headers, patients)
    shipped = radimagenet.find_shipped(folders.source, (file.source for file in files), headers)
    labels = _labels(options, catalog, names, some=before is None or before.index is None)
    if labels is None and shipped is not None:
        labels = shipped.labels
    if labels is not None and labels.origin != "modality":
        check_classes(labels, Lazy(len(headers), lambda row: person_of(headers[row])), options.labels)
    linked = link(patients)
    unit = {patient.identity: linked.get(patient.identity, patient.identity) for patient in patients}
    given: dict[str, int] = {}
    if options.splits is not None:
        given = _given_splits(options, names, patients, some=before is None or before.index is None)
    elif shipped is not None:
        given = _one_split_each(patients, shipped.splits, "the RadiologyAI lists")
    given, groups_of = (given, unit) if before is None else before.with_splits(given, unit, linked)
    given = _given_to_groups(given, groups_of)
    listed = len(given)
    groups = [unit[patient.identity] for patient in patients]
    held = {} if holdout is None else hold_out(given, catalog, groups, holdout)
    given |= held
    weights = [1] * len(headers) if labels is None else [header.frames for header in headers]
    strata = majority(labels, groups, weights)
    rest = {identity: stratum for identity, stratum in strata.items() if identity not in given}
    added = before is not None and before.index is not None
    of_unit = given | assign(rest, checked.ratio, options.split_seed, added)
    splits = {identity: of_unit[group] for identity, group in unit.items()}
    how = {
        **rule(checked.ratio, options.split_seed, len(strata), len(given), labels is not None),
        "linked_patients": len(linked),
    }
    if held:
        how["given_patients"] = listed
        how["holdout"] = {"patients": sum(group in held for group in unit.values())}
    by_number = options.patients is None or options.patients.startswith("tag:")
    notes = placeholder_notes(headers, patients) if by_number else []
    unknown = len({patient.identity for patient in patients if not patient.known})
    if unknown:
        notes.append(
            f"{unknown:,} of {len(unit):,} patients are unknown: each study without a patient number, and each file of a format without "
            "one, counts as a patient of its own; if that is wrong, images of one person may be in two splits (--patients)"
        )
    if linked:
        notes.append(
            f"{len(linked):,} patients share images with others: they stand in {len(set(linked.values())):,} groups, each in one split"
        )
    if listed and rest:
        notes.append(f"{len(rest):,} patients are in no list of splits and were divided by --split")
    placed = {identity for identity, group in unit.items() if group in given}
    return Division(patients, splits, placed, how, labels, tuple(notes))


def _given_to_groups(given: Mapping[str, int], unit: Mapping[str, str]) -> dict[str, int]:
    """Group -> the split that was given to its patients."""
    found: dict[str, int] = {}
    torn = {unit[identity] for identity, split in given.items() if found.setdefault(unit[identity], split) != split}
    if torn:
        raise UsageError(
            f"{len(torn):,} groups of patients share images and are given two splits: give them one, or leave out --link-duplicates"
        )
    return found


def _labels(options: PackOptions, catalog: Catalog, names: Sequence[Identity], some: bool) -> Labels | None:
    """some: that no image has a label is an error; a few files that are added may have none."""
    if options.labels is not None:
        return from_csv(options.labels, names, options.uncertain, some)
    if options.labels_from == "modality":
        return from_modality([header.attributes.modality for header in catalog.headers], some)
    if options.labels_from is not None:
        level = int(options.labels_from.partition(":")[2])
        return from_folder(level, [privacy.printable(header.source) for header in catalog.headers], some)
    return None


def _given_splits(
    options: PackOptions, names: Sequence[Identity], patients: Sequence[Patient], some: bool
) -> dict[str, int]:
    """Patient identity -> split as --splits gives it. some: a table that names no image is an error."""
    path = options.splits
    if path is None:
        return {}
    table = read_table(path, "--splits", ["split"])
    codes = {name: code for code, name in enumerate(SPLITS)} | {"valid": 1, "validation": 1}
    for row, text in enumerate(table.values["split"]):
        if text.lower() not in codes:
            raise UsageError(f"--splits {path} names no split in line {table.lines[row]}: write train, val or test")
    rows = table.find_all(names)
    if some and not any(row is not None for row in rows):
        raise UsageError(
            f"--splits {path} matches none of the {len(names)} images by its column {table.key}: compare its values with the files"
        )
    found = [None if row is None else codes[table.values["split"][row].lower()] for row in rows]
    return _one_split_each(patients, found, f"--splits {path}")


def _one_split_each(patients: Sequence[Patient], splits: Sequence[int | None], what: str) -> dict[str, int]:
    given: dict[str, int] = {}
    torn: set[str] = set()
    for patient, split in zip(patients, splits, strict=True):
        if split is not None and given.setdefault(patient.identity, split) != split:
            torn.add(patient.identity)
    if torn:
        raise UsageError(
            f"{what} puts images of one patient into two splits ({len(torn)} patients): give every patient one split"
        )
    return given
