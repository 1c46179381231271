"""Who a file is of: the unit that must never be in two splits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from radload.errors import UsageError
from radload.pack.compact import Lazy
from radload.pack.persons import name_parts, names_nobody
from radload.pack.privacy import printable
from radload.pack.table import Identity, identity_of, normal_id, read_table
from radload.sources.slice import Header

# A number that stands over more studies than a person has, or over more names than marriages and typing errors explain, is a constant
# that somebody filled in: one "patient" of strangers would be one sample for every statistic, and would pull them all into one split.
MOST_STUDIES = 500
MOST_NAMES = 10
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
            None: PatientID for DICOM, unless it looks like a constant (`shared_numbers`), the BIDS subject in the path for other formats.

    Raises:
        UsageError: a rule that cannot be understood, or that matches no file.
    """
    if rule is None:
        shared = shared_numbers(headers)
        return _each_once(
            _by_tag(header, shared) if header.format == "dicom" else _by_path(header, _BIDS) for header in headers
        )
    kind, _, argument = rule.partition(":")
    if kind == "tag" and argument == "PatientID":
        return _each_once(_by_tag(header, frozenset()) for header in headers)
    if kind == "tag":
        raise UsageError(
            f"--patients {rule} is unknown: PatientID is the one tag that is read; give tag:PatientID, path:REGEX or csv:FILE"
        )
    if kind == "path" and argument:
        patients = _each_once(_by_path(header, _compile(argument)) for header in headers)
    elif kind == "csv" and argument:
        patients = _each_once(_by_csv(headers, Path(argument)))
    else:
        raise UsageError(f"--patients {rule} is unknown: give tag:PatientID, path:REGEX or csv:FILE")
    if not any(patient.known for patient in patients):
        raise UsageError(
            f"--patients {kind}: matches none of the {len(headers)} image files: paths are relative to --src, check them"
        )
    return patients


def _each_once(patients: Iterable[Patient]) -> list[Patient]:
    """The patients, equal ones as one object: a patient has thousands of slices."""
    seen: dict[Patient, Patient] = {}
    return [seen.setdefault(patient, patient) for patient in patients]


def known_patient(name: str, issuer: str | None = None) -> Patient:
    """A patient by number; the issuer (0010,0021) keeps equal numbers of two hospitals apart."""
    return Patient(f"{normal_id(issuer or '')}\0{normal_id(name)}", normal_id(name))


def shared_numbers(headers: Sequence[Header]) -> frozenset[tuple[str, str]]:
    """(issuer, number) of patient numbers that cannot be one person's: over MOST_STUDIES studies, or over MOST_NAMES names."""
    studies: dict[tuple[str, str], set[str]] = defaultdict(set)
    names: dict[tuple[str, str], set[frozenset[str]]] = defaultdict(set)
    for header in headers:
        number = _number(header)
        if names_nobody(number[1]):
            continue
        if header.study:
            studies[number].add(header.study)
        if parts := name_parts(header.name):
            names[number].add(parts)
    return frozenset(
        number
        for number in studies.keys() | names.keys()
        if len(studies[number]) > MOST_STUDIES or len(names[number]) > MOST_NAMES
    )


def _number(header: Header) -> tuple[str, str]:
    return normal_id(header.issuer or ""), normal_id(header.patient or "")


def _by_tag(header: Header, shared: frozenset[tuple[str, str]]) -> Patient:
    number = _number(header)
    if names_nobody(number[1]) or number in shared:
        return _unknown(header)
    return known_patient(number[1], number[0])


def _by_path(header: Header, pattern: re.Pattern[str]) -> Patient:
    match = pattern.search(header.source)
    name = normal_id(printable(next((group for group in match.groups() if group), match.group()))) if match else ""
    return known_patient(name) if name else _unknown(header)


def _by_csv(headers: Sequence[Header], path: Path) -> Iterator[Patient]:
    table = read_table(path, "--patients csv:", ["patient"])
    for header in headers:
        row = table.find(identity_of(header, None))
        name = normal_id(table.values["patient"][row]) if row is not None else ""
        yield known_patient(name) if name else _unknown(header)


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


def placeholder_notes(headers: Sequence[Header], patients: Sequence[Patient]) -> list[str]:
    """Sentences about patient numbers that are there and were not believed, where patients come from numbers."""
    unknown = (headers[row] for row, patient in enumerate(patients) if not patient.known)
    doubted = [header.patient for header in unknown if header.patient]
    placeholders = sum(names_nobody(number) for number in doubted)
    constant = len(doubted) - placeholders
    notes = []
    if placeholders:
        notes.append(
            f"{placeholders:,} files have a patient number that names nobody (such as ANON or 0): each of their studies counts as an "
            "unknown patient of its own"
        )
    if constant:
        notes.append(
            f"{constant:,} files have a patient number that stands over more than {MOST_STUDIES} studies or {MOST_NAMES} names: it is "
            "taken for a constant, and each study counts as an unknown patient of its own (--patients tag:PatientID believes it, csv: says "
            "who is who)"
        )
    return notes


def identities(headers: Sequence[Header], patients: Sequence[Patient]) -> Sequence[Identity]:
    """All names of every file, for tables."""
    return Lazy(len(headers), lambda row: identity_of(headers[row], patients[row].name))
