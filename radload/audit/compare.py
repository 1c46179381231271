"""`compare(a, b)`: whether two data sets, such as one for pretraining and a test set, share images or patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.audit.empty import nearly_empty
from radload.audit.groups import Groups, equal_rows
from radload.audit.private import patient_names
from radload.audit.proof import identities
from radload.audit.report import MAX_KEYS, Audit, Check, Status, many
from radload.audit.rows import Rows, open_rows
from radload.dataset.schema import SPLITS
from radload.pack.private import find_private

_SIDES = ("a", "b")


@dataclass(frozen=True)
class _Shared:
    """Images that both data sets hold, as findings; members count on from a's rows to b's."""

    sides: tuple[Rows, Rows]
    groups: Groups

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        first = len(self.sides[0])
        for members in self.groups:
            parts = (members[members < first], members[members >= first] - first)
            finding: dict[str, Any] = {"samples": len(members)}
            for name, rows, mine in zip(_SIDES, self.sides, parts, strict=True):
                counts = np.bincount(rows.split[mine], minlength=len(SPLITS))
                splits = {SPLITS[code]: int(count) for code, count in enumerate(counts) if count}
                finding[name] = {"keys": rows.keys(mine[:MAX_KEYS]), "splits": splits}
            yield finding


def compare(roots: tuple[Path, Path], privates: Sequence[Path] = ()) -> Audit:
    """Prove that two data sets share no image and no patient, or list what they share. Leaks inside one are `audit`'s.

    Patients are compared by pseudonym where both were packed with one key, else by name where both private folders can be read.

    Args:
        privates: private folders of both, in their order; none: `<root>.private` where they are there.

    Raises:
        UsageError: no data set, or a private folder that is not its own.
        FormatError: another format version, or a damaged index.
    """
    given = [*privates, None, None][:2]
    folders = [find_private(root, private) for root, private in zip(roots, given, strict=True)]
    sides = open_rows(roots[0]), open_rows(roots[1])
    with sides[0].dataset, sides[1].dataset:
        pixels, notes = _pixels(sides)
        checks = [pixels, _patients(sides, folders)]
        names = [f"data set {name.upper()}: {identities(rows)}" for name, rows in zip(_SIDES, sides, strict=True)]
        details = {
            name: {"fingerprint": rows.dataset.manifest.fingerprint, "samples": len(rows)}
            for name, rows in zip(_SIDES, sides, strict=True)
        }
        return Audit(checks, "; ".join(names), notes=notes, details=details)


def _pixels(sides: tuple[Rows, Rows]) -> tuple[Check, list[str]]:
    hashed = np.concatenate([rows.hashed for rows in sides])
    chosen = np.flatnonzero(hashed)
    everything = equal_rows(np.concatenate([rows.hashes for rows in sides])[chosen])
    groups = Groups(chosen[everything.members], everything.starts)
    shared = groups.take(groups.differ(np.arange(len(hashed)) >= len(sides[0])))
    empty, unreadable = nearly_empty(sides[0].dataset, shared.firsts())  # the first of a shared group is a's
    found = shared.take(~empty)
    notes = []
    if empty.any():
        notes.append(f"set aside: {many(int(empty.sum()), 'shared image')}, constant or nearly empty")
    if unreadable:
        notes.append(f"not readable in the first data set: {many(unreadable, 'shared image')}, taken as not empty")
    if unhashed := int((~hashed).sum()):
        notes.append(f"without a pixel hash: {many(unhashed, 'sample')}; nothing is proven about their images")
    status, words = Status.HOLDS, ""
    if len(found):
        status, words = Status.FAILS, f"{many(len(found), 'image')} ({len(found.members):,} samples) in both data sets"
    return Check("shared-pixels", status, "image is in both data sets", words, _Shared(sides, found)), notes


def _patients(sides: tuple[Rows, Rows], folders: Sequence[Path | None]) -> Check:
    claim = "patient is in both data sets"
    keys = [rows.dataset.manifest.key_id for rows in sides]
    mine = [_pseudonyms(rows) for rows in sides]
    if keys[0] and keys[0] == keys[1]:
        known = [dict.fromkeys(names) for names in mine]
        pairs = [(name, name) for name in known[0] if name in known[1]]
        how = "by pseudonym"
    elif folders[0] is not None and folders[1] is not None:
        pairs = _same_names(mine, [patient_names(folder) for folder in folders if folder is not None])
        how = "by name in the private folders"
    else:
        note = "patients cannot be compared: the data sets have different pseudonym keys, and a private folder is not there"
        return Check("shared-patients", Status.OPEN, claim, "", note=note)
    findings = [dict(zip(_SIDES, pair, strict=True)) for pair in pairs]
    if not findings:
        return Check("shared-patients", Status.HOLDS, f"{claim} ({how})", "")
    found = f"{many(len(findings), 'patient')} in both data sets ({how})"
    return Check("shared-patients", Status.FAILS, claim, found, findings)


def _pseudonyms(rows: Rows) -> list[str]:
    """Of the patients that have samples. An unknown one stands for a study or a file: the same one is a leak too."""
    chosen: NDArray[np.int64] = rows.patients()
    names: list[str] = rows.index.table("patients").column("pseudonym").take(chosen).to_pylist()
    return names


def _same_names(mine: list[list[str]], names: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Pairs of pseudonyms that have one name; patients without a name are not compared."""
    of_name = {names[1][pseudonym]: pseudonym for pseudonym in mine[1] if pseudonym in names[1]}
    return [
        (pseudonym, of_name[name])
        for pseudonym in mine[0]
        if (name := names[0].get(pseudonym)) is not None and name in of_name
    ]
