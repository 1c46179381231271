"""No patient, study or series in two splits: by pseudonym, and by UID where the private folder can be read.

Pseudonyms of studies and series stand below their patient (one UID under two patients gives two), so a UID that a wrong rule for
patients tore apart is seen in the private folder only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.audit.private import uid_codes
from radload.audit.report import Check, Status, many
from radload.audit.rows import Rows
from radload.dataset.schema import SPLITS

_PLURAL = {"patient": "patients", "study": "studies", "series": "series"}


@dataclass(frozen=True)
class _Torn:
    """Patients, studies or series that have samples in two splits, as findings.

    Attributes:
        level: which; entities: their codes; counts: (entities, splits) samples; first: (entities, splits) row of the first, -1.
        table: Arrow table whose rows the codes are, None where they are numbers of UIDs, which stay private.
    """

    rows: Rows
    level: str
    entities: NDArray[np.int64]
    counts: NDArray[np.int64]
    first: NDArray[np.int64]
    table: str | None

    def __len__(self) -> int:
        return len(self.entities)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for entity, counts, first in zip(self.entities, self.counts, self.first, strict=True):
            there = first[first >= 0]
            finding: dict[str, Any] = {}
            if self.table is not None:
                finding[self.level] = self.rows.pseudonym(self.table, int(entity))
            finding["splits"] = {SPLITS[code]: int(count) for code, count in enumerate(counts) if count}
            finding["keys"] = self.rows.keys(there)
            finding["patients"] = sorted({self.rows.pseudonym("patients", int(p)) for p in self.rows.patient[there]})
            yield finding


def identity_checks(rows: Rows, private: Path | None) -> list[Check]:
    """The checks; those of UIDs are OPEN without a private folder."""
    by_pseudonym = [("patient", rows.patient), ("study", rows.study), ("series", rows.series)]
    checks = [_by_pseudonym(rows, level, codes) for level, codes in by_pseudonym]
    for level in ("study", "series"):
        if private is None:
            note = "study and series UIDs were not compared (no private folder)"
            checks.append(Check(f"{level}-uid-splits", Status.OPEN, f"{level} UID is in two splits", "", note=note))
        else:
            checks.append(_by_uid(rows, level, uid_codes(private, rows, level)))
    return checks


def index_check(rows: Rows) -> Check:
    """The index says the same in every place: splits of rows, records, shards and patients; patients of studies and series."""
    index = rows.index
    records, series = index.records, index.series
    shards, patients, studies = (index.table(name) for name in ("shards", "patients", "studies"))
    wrong = {
        "samples whose record names another split than their place in the index": records["split"] != rows.split,
        "samples in a shard of another split": shards.column("split").to_numpy()[records["shard"]] != rows.split,
        "samples of a patient whom patients.arrow puts into another split": (
            patients.column("split").to_numpy()[series["patient"]][records["series"]] != rows.split
        ),
        "series whose study belongs to another patient": (
            studies.column("patient").to_numpy()[series["study"]] != series["patient"]
        ),
    }
    counts = {words: int(np.count_nonzero(where)) for words, where in wrong.items()}
    found = "; ".join(f"{count:,} {words}" for words, count in counts.items() if count)
    findings = [{"what": words, "count": count} for words, count in counts.items() if count]
    status = Status.FAILS if findings else Status.HOLDS
    return Check("index", status, "contradiction is in the index", found, findings)


def _by_pseudonym(rows: Rows, level: str, codes: NDArray[np.int64]) -> Check:
    torn = _torn(rows, level, codes, _PLURAL[level])
    name, claim = f"{level}-splits", f"{level} is in two splits"
    if level == "patient" and not len(torn) and len(rows) and not rows.known()[rows.patients()].any():
        return Check(name, Status.OPEN, claim, "", note="nothing is proven about patients: not one is known")
    found = f"{len(torn):,} {_name(level, len(torn))} in two splits" if len(torn) else ""
    return Check(name, _status(torn), claim, found, torn)


def _by_uid(rows: Rows, level: str, codes: NDArray[np.int64]) -> Check:
    torn = _torn(rows, level, codes, None)
    found = f"{many(len(torn), f'{level} UID')} in two splits" if len(torn) else ""
    return Check(f"{level}-uid-splits", _status(torn), f"{level} UID is in two splits", found, torn)


def _status(torn: _Torn) -> Status:
    return Status.FAILS if len(torn) else Status.HOLDS


def _name(level: str, count: int) -> str:
    return level if count == 1 else _PLURAL[level]


def _torn(rows: Rows, level: str, codes: NDArray[np.int64], table: str | None) -> _Torn:
    """Codes (-1: none) that have rows in more than one split."""
    size = int(codes.max(initial=-1)) + 1
    counts = np.zeros((size, len(SPLITS)), np.int64)
    first = np.full((size, len(SPLITS)), -1, np.int64)
    for code, name in enumerate(SPLITS):
        span = rows.index.ranges[name]
        mine = np.arange(span.start, span.stop)
        mine = mine[codes[span.start : span.stop] >= 0]
        counts[:, code] = np.bincount(codes[mine], minlength=size)
        first[codes[mine[::-1]], code] = mine[::-1]  # of equal codes the last assignment stays: the first row
    entities = np.flatnonzero((counts > 0).sum(axis=1) > 1)
    return _Torn(rows, level, entities, counts[entities], first[entities], table)
