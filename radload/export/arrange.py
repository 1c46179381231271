"""Where the exported samples go: series in a new order into new shards, with new keys, patients and studies."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.schema import PATIENTS, SPLITS, STORED_DTYPES, STUDIES
from radload.pack.plan import shard_target

Rename = Callable[[str, str], str]  # (domain, pseudonym) -> the pseudonym that leaves


@dataclass(frozen=True, slots=True)
class SeriesPlace:
    """A series of a new shard: its row in the old index, the rows of its samples, its first key, new rows of patient and study."""

    series: int
    rows: NDArray[np.int64]
    first_key: int
    patient: int
    study: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """New shards, (name, split, series) in order, and the tables that they refer to."""

    shards: tuple[tuple[str, int, tuple[SeriesPlace, ...]], ...]
    patients: pa.Table
    studies: pa.Table


def arrange(index: Index, keep: NDArray[np.bool_], order_key: bytes, rename: Rename) -> Arrangement:
    """Arrange the rows `keep`. order_key: secret that decides the order, so that new keys tell nothing about the old ones."""
    rows = np.flatnonzero(keep)
    of_series = np.asarray(index.records["series"][rows], np.int64)
    numbers, starts = np.unique(of_series, return_index=True)  # rows of a series are consecutive
    groups = dict(zip(numbers.tolist(), np.split(rows, starts[1:]), strict=True))
    sizes = _stored_bytes(index, rows)
    target = shard_target(int(sizes.sum()))
    size_of = dict(zip(numbers.tolist(), np.add.reduceat(sizes, starts).tolist(), strict=True))
    tables = _Tables(index, rename)
    shards: list[tuple[str, int, tuple[SeriesPlace, ...]]] = []
    key = 0
    for split, name in enumerate(SPLITS):
        span = index.ranges[name]
        chosen = [one for one in groups if span.start <= groups[one][0] < span.stop]
        chosen.sort(key=lambda one: hmac.new(order_key, str(one).encode(), hashlib.sha256).digest())
        batch: list[SeriesPlace] = []
        filled = number = 0
        for one in chosen:
            if batch and filled + size_of[one] > target:
                shards.append((f"{name}/{number:06d}.tar", split, tuple(batch)))
                batch, filled, number = [], 0, number + 1
            patient, study = tables.rows(one)
            batch.append(SeriesPlace(one, groups[one], key, patient, study))
            key += len(groups[one])
            filled += size_of[one]
        if batch:
            shards.append((f"{name}/{number:06d}.tar", split, tuple(batch)))
    return Arrangement(tuple(shards), *tables.arrow())


def _stored_bytes(index: Index, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    records = index.records[rows]
    widths = np.array([np.dtype(name).itemsize for name in STORED_DTYPES])[records["dtype"]]
    values = records["rows"].astype(np.int64) * records["cols"] * records["channels"] * widths
    return np.asarray(values, np.int64)


class _Tables:
    """patients.arrow and studies.arrow of the export, in order of first use."""

    def __init__(self, index: Index, rename: Rename) -> None:
        self._index, self._rename = index, rename
        self._old_patients = index.table("patients").to_pylist()
        self._old_studies = index.table("studies").to_pylist()
        self._patients: dict[int, int] = {}
        self._studies: dict[int, int] = {}

    def rows(self, series: int) -> tuple[int, int]:
        """New rows of a series' patient and study."""
        record = self._index.series[series]
        patient = self._patients.setdefault(int(record["patient"]), len(self._patients))
        return patient, self._studies.setdefault(int(record["study"]), len(self._studies))

    def arrow(self) -> tuple[pa.Table, pa.Table]:
        """(patients, studies)."""
        patients = [
            {**row, "pseudonym": self._rename("patient", row["pseudonym"])}
            for row in (self._old_patients[old] for old in self._patients)
        ]
        studies = [
            {"pseudonym": self._rename("study", row["pseudonym"]), "patient": self._patients[row["patient"]]}
            for row in (self._old_studies[old] for old in self._studies)
        ]
        return pa.Table.from_pylist(patients, schema=PATIENTS), pa.Table.from_pylist(studies, schema=STUDIES)
