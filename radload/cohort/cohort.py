"""`describe(dataset)`: all that the cohort page shows, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radload.cohort.counts import members
from radload.cohort.flow import Flow, make_flow
from radload.cohort.scanners import Scanners, class_by_scanner
from radload.cohort.table_one import TableOne, table_one
from radload.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Cohort:
    """Attributes:
    fingerprint: of the data set, which is named by nothing else; patient_rule, split_rule: from the manifest.
    labels: name of the label set in use, or None; exact: small counts are shown.
    """

    fingerprint: str
    patient_rule: str
    labels: str | None
    exact: bool
    flow: Flow
    table: TableOne
    scanners: Scanners
    notes: Sequence[str]


def describe(dataset: Dataset, private: Path | None = None, exact: bool = False) -> Cohort:
    """Count everything; no shard is opened.

    Args:
        private: private folder, read for the reasons of exclusion; None: `<root>.private` where it is there.
        exact: show counts of fewer than 5 patients.

    Raises:
        UsageError: the private folder given is not there, or of other shards.
    """
    people = members(dataset)
    table = table_one(dataset, people, exact)
    flow, notes = make_flow(dataset, private, table.rows[0].counts, exact)
    return Cohort(
        dataset.manifest.fingerprint,
        dataset.manifest.patient_rule,
        dataset.labels.name if dataset.labels is not None else None,
        exact,
        flow,
        table,
        class_by_scanner(dataset, people, exact),
        notes,
    )
