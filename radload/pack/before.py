"""What a private folder says before a pack begins: whose images must stay out, which files are packed, and who is in which split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from radload.dataset.index import Index
from radload.dataset.manifest import Manifest
from radload.dataset.schema import SPLITS
from radload.errors import UsageError
from radload.pack.codes import MASK_WITHOUT_IMAGE, NOT_SELECTED, WITHDRAWN
from radload.pack.compact import chosen
from radload.pack.crosswalk import PackedRows
from radload.pack.known import KnownNames
from radload.pack.masks import Masks, of_images
from radload.pack.patients import Patient, find_patients
from radload.pack.privacy import printable
from radload.pack.scan import Catalog, Reject
from radload.sources import Header

Hasher: TypeAlias = Callable[[Sequence[Header]], Sequence[Sequence[bytes]]]  # pixel hashes of the images of each file

_AT_ONCE: Final = 1 << 16  # headers
_PACKED: Final = "\0packed\0"  # + pseudonym: stands for a patient of whom only that is known


class NothingNew(Exception):
    """No file is left to pack; `catalog` has the rejects."""

    def __init__(self, catalog: Catalog, skipped: frozenset[str]) -> None:
        super().__init__("nothing to pack")
        self.catalog, self.skipped = catalog, skipped


@dataclass(frozen=True)
class Before:
    """The data set that files are added to, and the patients that no pack may take.

    Attributes:
        forgotten: pseudonyms; pseudonym: patient identity -> pseudonym.
        manifest, index, crosswalk: of the data set, None where there is none yet; of the crosswalk only samples of finished packs.
        splits: pseudonym -> split.
        passed: files that the selection of an earlier pack left out, and that stay out.
    """

    forgotten: frozenset[str]
    pseudonym: Callable[[str], str]
    manifest: Manifest | None = None
    index: Index | None = None
    crosswalk: PackedRows | None = None
    splits: Mapping[str, int] | None = None
    passed: frozenset[str] = frozenset()

    def with_splits(
        self, given: Mapping[str, int], unit: Mapping[str, str], linked: Mapping[str, str]
    ) -> tuple[dict[str, int], dict[str, str]]:
        """(given, unit) with the splits that patients have already, and with the groups that packed patients stand in.

        Args:
            given: patient identity -> split that a table gives; unit: patient identity -> group; linked: see `duplicates.link_patients`.

        Raises:
            UsageError: a table gives a patient another split than he has.
        """
        known = self.splits or {}
        found, groups = dict(given), dict(unit)
        torn = 0
        for identity in unit:
            split = known.get(self.pseudonym(identity))
            if split is not None:
                torn += found.setdefault(identity, split) != split
        if torn:
            raise UsageError(
                f"{torn:,} patients of the data set are given another split than they have: a patient keeps his split, correct the table "
                "or pack to a new --out"
            )
        for name, group in linked.items():
            split = known.get(name.removeprefix(_PACKED)) if name.startswith(_PACKED) else None
            if split is not None:
                found[name], groups[name] = split, group
        return found, groups

    def owners(self, hashes: Collection[bytes]) -> dict[bytes, set[str]]:
        """Which of these pixel hashes the data set has, and the pseudonyms of the patients who have them."""
        index = self.index
        if index is None or not hashes:
            return {}
        column = index.table("samples").column("pixel_hash")
        wanted = pa.array(sorted(hashes), column.type)
        rows = np.flatnonzero(pc.is_in(column, value_set=wanted).to_numpy(zero_copy_only=False))
        patients = index.series["patient"][index.records["series"][rows]]
        names = index.table("patients").column("pseudonym").take(pa.array(patients)).to_pylist()
        found: dict[bytes, set[str]] = {}
        for digest, name in zip(column.take(pa.array(rows)).to_pylist(), names, strict=True):
            found.setdefault(digest, set()).add(name)
        return found

    def stand_ins(self, hashes: Sequence[Sequence[bytes]], patients: Sequence[Patient]) -> list[tuple[Patient, bytes]]:
        """Packed patients who have some of these images, each with such an image, for `duplicates.link_patients`."""
        real = {self.pseudonym(patient.identity): patient for patient in patients}
        found = self.owners({digest for of_file in hashes for digest in of_file})
        return [
            (real.get(name, Patient(_PACKED + name, None)), digest)
            for digest, names in found.items()
            for name in sorted(names)
        ]


@dataclass(frozen=True, slots=True)
class New:
    """The files that are left to pack, the patient of each, and the sources that the data set has already."""

    catalog: Catalog
    masks: Masks
    patients: list[Patient]
    skipped: frozenset[str]


def only_new(catalog: Catalog, masks: Masks, rule: str | None, before: Before, hasher: Hasher | None) -> New:
    """Leave out the patients who withdrew, and what is packed.

    A DICOM instance is packed where the crosswalk has it (patient, series and SOP instance UID). Another file is where all of its
    images are among the packed ones (of that patient, where he is known); where they cannot be compared, its path decides.

    Args:
        rule: for patients, as in the first pack. hasher: None where pixel hashes of files and of samples differ (--transform).

    Raises:
        NothingNew: no image is left.
    """
    headers = catalog.headers
    patients = find_patients(headers, rule)  # of all files: what is a constant is seen in many
    gone = [before.pseudonym(patient.identity) in before.forgotten for patient in patients]
    packed = _packed(headers, patients, before, hasher) if before.index is not None else [False] * len(headers)
    passed = [printable(header.source) in before.passed for header in headers]
    kept = [row for row in range(len(headers)) if not (gone[row] or packed[row] or passed[row])]
    left, unused = of_images(masks, kept)
    rejects = [
        Reject(source, None, *said)
        for row, header in enumerate(headers)
        if (said := _reason(gone[row], passed[row] and not packed[row])) is not None
        for source in (header.source, *header.parts)
    ]
    of_packed = _masks_of(before)
    seen = [header for header in unused if printable(header.source) in of_packed]
    rejects += [
        Reject(
            source,
            None,
            MASK_WITHOUT_IMAGE,
            "its images were packed before, or withdrawn: packed samples are never changed",
        )
        for header in unused
        if printable(header.source) not in of_packed
        for source in (header.source, *header.parts)
    ]
    there = [header for row, header in enumerate(headers) if packed[row] and not gone[row]]
    skipped = frozenset(name for header in (*there, *seen) for name in (header.source, *header.parts))
    new = replace(
        catalog,
        headers=chosen(headers, kept),
        rejects=(*catalog.rejects, *rejects),
        rows=catalog.rows[kept],
    )
    if not kept:
        raise NothingNew(new, skipped)
    return New(new, left, [patients[row] for row in kept], skipped)


def _reason(gone: bool, passed: bool) -> tuple[str, str] | None:
    if gone:
        return WITHDRAWN, "its patient withdrew (radload forget)"
    return (NOT_SELECTED, "--slices or --frames left it out before") if passed else None


def _packed(
    headers: Sequence[Header], patients: Sequence[Patient], before: Before, hasher: Hasher | None
) -> list[bool]:
    rows = before.crosswalk
    if rows is None:
        return [False] * len(headers)
    instances = KnownNames(rows.names("patient", "series", "sop"))
    found: list[bool] = []
    for start in range(0, len(headers), _AT_ONCE):
        some = headers[start : start + _AT_ONCE]
        names = [(patients[row].name, header.series, header.sop) for row, header in enumerate(some, start)]
        found += (instances.has(names) & [bool(header.sop) for header in some]).tolist()
    others = [row for row, header in enumerate(headers) if not header.sop]
    hashes = hasher([headers[row] for row in others]) if hasher is not None and others else [()] * len(others)
    owners = before.owners({digest for of_file in hashes for digest in of_file})
    by_path = KnownNames(rows.names("source") if others else ()).has(
        [(printable(headers[row].source),) for row in others]
    )
    for row, of_file, path_known in zip(others, hashes, by_path.tolist(), strict=True):
        patient = patients[row]
        name = before.pseudonym(patient.identity) if patient.known else None
        if of_file:
            found[row] = all(digest in owners and (name is None or name in owners[digest]) for digest in of_file)
        else:
            found[row] = path_known
    return found


def _masks_of(before: Before) -> set[str]:
    if before.crosswalk is None:
        return set()
    return {name for names in before.crosswalk.names("mask_source") for (name,) in names if name is not None}


def read_splits(path: Path) -> dict[str, int]:
    """Pseudonym -> split, of splits.parquet. Raises UsageError."""
    try:
        table = pq.read_table(path, columns=["patient", "split"])
        pairs = zip(table.column("patient").to_pylist(), table.column("split").to_pylist(), strict=True)
        return {name: SPLITS.index(split) for name, split in pairs}
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        raise UsageError(f"{path} cannot be read, and it says who is in which split: restore it from a copy") from None
