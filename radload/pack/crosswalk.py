"""Tables of the private folder: which sample is which source (crosswalk), what was not packed (rejects), who is in which split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radload.dataset.files import atomic_file
from radload.dataset.schema import SPLITS, key_text
from radload.errors import UsageError
from radload.pack.patients import Patient
from radload.pack.persons import Person, person
from radload.pack.plan import ShardJob
from radload.pack.privacy import printable
from radload.pack.scan import Reject
from radload.pack.table import Identity
from radload.pack.thin import LEFT_OUT
from radload.sources import Header

_TEXT: Final = pa.string()
_CROSSWALK: Final = pa.schema(
    [
        ("key", _TEXT),
        ("source", _TEXT),  # relative to the source folder
        ("frame", pa.int64()),
        ("patient", _TEXT),  # as the rule for patients names him, null where unknown
        ("study", _TEXT),
        ("series", _TEXT),
        ("sop", _TEXT),
        ("accession", _TEXT),
        ("mask_source", _TEXT),  # where the sample's mask came from, null without
        ("name", _TEXT),  # Patient's Name
    ]
)
_REJECTS: Final = pa.schema([("source", _TEXT), ("frame", pa.int64()), ("code", _TEXT), ("reason", _TEXT)])
_SPLITS: Final = pa.schema([("patient", _TEXT), ("name", _TEXT), ("split", _TEXT), ("given", pa.bool_())])


class CrosswalkWriter:
    """Writes crosswalk.parquet shard by shard. `headers`: of images, then of masks, by catalog row; `patients`: of the images."""

    def __init__(self, writer: pq.ParquetWriter, headers: Sequence[Header], patients: Sequence[Patient]) -> None:
        self._writer, self._headers, self._patients = writer, headers, patients

    def add(self, job: ShardJob, keys: NDArray[np.uint64], masks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add the packed samples of a shard; returns their catalog rows. masks: catalog row of each sample's mask, -1 without."""
        frames = np.full((job.count, 2), -1, np.int64)  # catalog row, frame, by key from the shard's first key
        first = job.series[0].first_key
        for series in job.series:
            for file in series.files:
                places = np.asarray(file.places, np.int64)
                chosen = np.flatnonzero(places != LEFT_OUT)
                frames[places[chosen] + (series.first_key - first)] = np.stack(
                    (np.full(len(chosen), file.row), chosen), axis=1
                )
        chosen = frames[keys.astype(np.int64) - first]
        names = [self._names(int(row)) for row in chosen[:, 0]]
        columns = {
            "key": [key_text(int(key)) for key in keys],
            "frame": chosen[:, 1],
            **{
                name: [row[name] for row in names]
                for name in ("source", "patient", "study", "series", "sop", "accession", "name")
            },
            "mask_source": [printable(self._headers[row].source) if row >= 0 else None for row in masks.tolist()],
        }
        self._writer.write_table(pa.Table.from_pydict(columns, schema=_CROSSWALK))
        return chosen[:, 0]

    def _names(self, row: int) -> dict[str, str | None]:
        header = self._headers[row]
        return {
            "source": printable(header.source),
            "patient": self._patients[row].name,
            "study": header.study,
            "series": header.series,
            "sop": header.sop,
            "accession": header.accession,
            "name": header.name,
        }


@contextmanager
def open_crosswalk(
    path: Path, headers: Sequence[Header], patients: Sequence[Patient], before: pa.Table | None = None
) -> Iterator[CrosswalkWriter]:
    """Write `path` (mode 0600), whole or not at all. before: rows of samples that are packed already, which come first."""
    with atomic_file(path, 0o600) as file, pq.ParquetWriter(file, _CROSSWALK, compression="zstd") as writer:
        if before is not None:
            writer.write_table(before)
        yield CrosswalkWriter(writer, headers, patients)


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Write rejects.parquet (mode 0600)."""
    rows = [asdict(replace(reject, source=printable(reject.source))) for reject in rejects]
    with atomic_file(path, 0o600) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_REJECTS), file, compression="zstd")


def write_splits(path: Path, splits: dict[str, tuple[str, str | None, int, bool]], add: bool = False) -> None:
    """Write splits.parquet (mode 0600): identity -> (pseudonym, name, split, given by a file). add: rows that are there stay."""
    rows: list[dict[str, object]] = pq.read_table(path).to_pylist() if add else []
    known = {row["patient"] for row in rows}
    rows += [
        {"patient": pseudonym, "name": name, "split": SPLITS[split], "given": given}
        for pseudonym, name, split, given in splits.values()
        if pseudonym not in known
    ]
    with atomic_file(path, 0o600) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SPLITS), file, compression="zstd")


def read_rows(path: Path) -> pa.Table:
    """All rows of crosswalk.parquet. Raises UsageError."""
    try:
        return pq.read_table(path, schema=_CROSSWALK)
    except (OSError, pa.ArrowInvalid):
        raise UsageError(f"{path} cannot be read, and it says which files are packed: restore it from a copy") from None


def replace_rows(path: Path, table: pa.Table) -> None:
    """Write a table of the private folder again (mode 0600), whole or not at all."""
    with atomic_file(path, 0o600) as file:
        pq.write_table(table, file, compression="zstd")


def read_crosswalk(path: Path, keys: NDArray[np.uint64]) -> tuple[list[Identity], list[Person]]:
    """What tables may call the samples `keys`, in their order, and whom they show.

    Raises:
        UsageError: no such file, or it is of other shards.
    """
    if not path.is_file():
        raise UsageError(f"there is no {path}: give the private folder of these shards by --private")
    try:
        columns = pq.read_table(path).to_pydict()
        rows = {int(key): row for row, key in enumerate(columns["key"])}
        order = [rows[int(key)] for key in keys]
        names = [
            Identity(
                columns["source"][row],
                columns["patient"][row],
                columns["study"][row],
                columns["accession"][row],
                columns["series"][row],
                columns["sop"][row],
                columns["key"][row],
            )
            for row in order
        ]
        people = [person(columns["patient"][row], columns["accession"][row], columns["name"][row]) for row in order]
        return names, people
    except (pa.ArrowInvalid, KeyError, ValueError):
        raise UsageError(f"{path} does not belong to these shards: give their private folder by --private") from None
