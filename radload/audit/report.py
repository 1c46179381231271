"""What an audit found: checks with their findings, and one sentence that claims no more than they show."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from radload.dataset.files import atomic_file

MAX_KEYS = 1000  # of one finding that are written down; its `samples` counts all


class Status(StrEnum):
    """Of a check."""

    HOLDS = "holds"
    FAILS = "fails"
    OPEN = "not checked"  # what it needs is not there


class Findings(Protocol):
    """Findings, made one by one when asked for: there may be millions. A `Sequence` is one."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """One claim.

    Attributes:
        name: stable, for machines ("patient-splits", "pixels-labels:default", …).
        claim: what holds where the status is HOLDS, after "no" ("patient is in two splits").
        found: what contradicts it, for people ("2 patients in two splits", "" where nothing does).
        findings: what contradicts it, for machines; samples are named by key.
        note: what else has to be said, "" for nothing.
    """

    name: str
    status: Status
    claim: str
    found: str
    findings: Findings = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """A class of a label set: samples per split and patients that have any (multi-label: positives)."""

    labels: str
    name: str
    samples: tuple[int, ...]
    patients: int


@dataclass(frozen=True, slots=True)
class Faces:
    """Thin series from which a face may be rebuilt.

    Attributes:
        series: of the head, CT or MR, thin and long enough: {"series", "key", "modality", "body_part", "slices", "slice_spacing"}.
        unknown_part: such series whose body part (or modality) is not known; unknown_spacing: of the head, slice spacing not known.
    """

    series: Sequence[dict[str, Any]] = ()
    unknown_part: int = 0
    unknown_spacing: int = 0


@dataclass(frozen=True, slots=True)
class Audit:
    """The result. `identities` says what of the data the claims about patients rest on; `details` are figures for the JSON file."""

    checks: Sequence[Check]
    identities: str
    balance: Sequence[Balance] = ()
    faces: Faces | None = None
    notes: Sequence[str] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def proven(self) -> bool:
        """True where nothing contradicts a claim that could be checked."""
        return all(check.status is not Status.FAILS for check in self.checks)

    @property
    def verdict(self) -> str:
        """One sentence."""
        failed = [check.found for check in self.checks if check.status is Status.FAILS]
        left = dict.fromkeys(check.note for check in self.checks if check.status is Status.OPEN)
        text = "not proven: " + "; ".join(failed)
        if not failed:
            claims = [check.claim for check in self.checks if check.status is Status.HOLDS]
            text = "proven: no " + ", no ".join(claims) if claims else "nothing could be checked"
        return "; ".join([text, *left, self.identities])


def many(count: int, word: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{count:,} {word}{'s' * (count != 1)}"


def write_report(path: Path, audit: Audit) -> None:
    """Write everything as JSON, atomically; findings go through one by one."""
    head: dict[str, Any] = {
        "proven": audit.proven,
        "verdict": audit.verdict,
        "identities": audit.identities,
        "notes": list(audit.notes),
        **audit.details,
        "balance": [
            {"labels": row.labels, "class": row.name, "samples": list(row.samples), "patients": row.patients}
            for row in audit.balance
        ],
    }
    if audit.faces is not None:
        faces = audit.faces
        head["faces"] = {
            "series": list(faces.series),
            "unknown_part": faces.unknown_part,
            "unknown_spacing": faces.unknown_spacing,
        }
    with atomic_file(path) as file:
        for piece in _pieces(head, audit.checks):
            file.write(piece.encode())


def _pieces(head: dict[str, Any], checks: Iterable[Check]) -> Iterator[str]:
    yield json.dumps(head, indent=2, ensure_ascii=False).removesuffix("\n}")
    yield ',\n  "checks": ['
    for number, check in enumerate(checks):
        entry = {"name": check.name, "status": str(check.status), "claim": f"no {check.claim}", "found": check.found}
        entry["note"] = check.note
        yield (",\n    " if number else "\n    ") + json.dumps(entry, ensure_ascii=False).removesuffix("}")
        yield f', "count": {len(check.findings)}, "findings": ['
        for place, finding in enumerate(check.findings):
            yield (",\n      " if place else "\n      ") + json.dumps(finding, ensure_ascii=False)
        yield "]}"
    yield "\n  ]\n}\n"
