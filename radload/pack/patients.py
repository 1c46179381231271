"""Who a file is of: the unit that must never be in two splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from radload.errors import UsageError
from radload.pack.table import Identity, identity_of, normal_id, read_table
from radload.sources.slice import Header

# What de-identification tools leave where the patient's number was: the same for everybody, so no identity.
NO_IDENTITY = frozenset(("", "0", "ANON", "ANONYMOUS", "ANONYMIZED", "NONE", "UNKNOWN", "TEST"))
_BIDS = re.compile(r"(?:^|/)sub-([0-9A-Za-z]+)(?=[/_.]|$)")  # BIDS: the entity sub-<label>


@dataclass(frozen=True, slots=True)
class Patient:
    """Attributes:
    identity: what is hashed for split and pseudonym; equal for the same patient in every pack.
    name: as the user's tables call the patient, None where unknown.
    """

    identity: str
    name: str | None

    @property
    def known(self) -> bool:
        """False where the input does not say whose image it is: the identity then stands for a study or a file."""
        return self.name is not None


Rule: TypeAlias = Callable[[Header], Patient]


def find_patients(headers: Sequence[Header], rule: str | None) -> list[Patient]:
    """The patient of every file.

    Args:
        rule: "tag:PatientID", "path:REGEX" (its first group, or the whole match), "csv:FILE" (a key column and `patient`);
            None: PatientID for DICOM, the BIDS subject in the path for other formats.

    Raises:
        UsageError: a rule that cannot be understood, or that matches no file.
    """
    if rule is None:
        return [_by_tag(header) if header.format == "dicom" else _by_path(header, _BIDS) for header in headers]
    kind, _, argument = rule.partition(":")
    if kind == "tag" and argument == "PatientID":
        return [_by_tag(header) for header in headers]
    if kind == "tag":
        raise UsageError(
            f"--patients {rule} is unknown: PatientID is the one tag that is read; give tag:PatientID, path:REGEX or csv:FILE"
        )
    if kind == "path" and argument:
        patients = [_by_path(header, _compile(argument)) for header in headers]
    elif kind == "csv" and argument:
        patients = _by_csv(headers, Path(argument))
    else:
        raise UsageError(f"--patients {rule} is unknown: give tag:PatientID, path:REGEX or csv:FILE")
    if not any(patient.known for patient in patients):
        raise UsageError(
            f"--patients {kind}: matches none of the {len(headers)} image files: paths are relative to --src, check them"
        )
    return patients


def known_patient(name: str, issuer: str | None = None) -> Patient:
    """A patient by number; the issuer (0010,0021) keeps equal numbers of two hospitals apart."""
    return Patient(f"{normal_id(issuer or '')}\0{normal_id(name)}", normal_id(name))


def _by_tag(header: Header) -> Patient:
    name = normal_id(header.patient or "")
    if name.upper() in NO_IDENTITY:
        return _unknown(header)
    return known_patient(name, header.issuer)


def _by_path(header: Header, pattern: re.Pattern[str]) -> Patient:
    match = pattern.search(header.source)
    name = normal_id(next((group for group in match.groups() if group), match.group())) if match else ""
    return known_patient(name) if name else _unknown(header)


def _by_csv(headers: Sequence[Header], path: Path) -> list[Patient]:
    table = read_table(path, "--patients csv:", ["patient"])
    found = []
    for header in headers:
        row = table.find(identity_of(header, None))
        name = normal_id(table.values["patient"][row]) if row is not None else ""
        found.append(known_patient(name) if name else _unknown(header))
    return found


def _unknown(header: Header) -> Patient:
    """One study of a DICOM file, or else the file alone: never everybody without a number as one patient."""
    if header.format == "dicom" and header.study:
        return Patient(f"\0\0study\0{header.study}", None)
    if header.format == "dicom" and header.series:
        return Patient(f"\0\0series\0{header.series}", None)
    return Patient(f"\0\0file\0{header.source}", None)


def _compile(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"--patients path:{text} is no regular expression ({error}): correct it") from None


def identities(headers: Sequence[Header], patients: Sequence[Patient]) -> list[Identity]:
    """All names of every file, for tables."""
    return [identity_of(header, patient.name) for header, patient in zip(headers, patients, strict=True)]
