"""Tables of the private folder: which sample is which source (crosswalk), what was not packed (rejects), who is in which split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
_ROWS: Final = 1 << 16  # read or written at a time
_SPLITS: Final = pa.schema([("patient", _TEXT), ("name", _TEXT), ("split", _TEXT), ("given", pa.bool_())])


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows of crosswalk.parquet with keys below `end`, read each time that they are asked for: ten million take 2 GB."""

    path: Path
    end: str

    def batches(self, columns: Sequence[str] = _CROSSWALK.names) -> Iterator[pa.RecordBatch]:
        """The rows in their order, some at a time. Raises UsageError."""
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(_ROWS, columns=[*dict.fromkeys(("key", *columns))], use_threads=False):
                    some = batch.filter(pc.less(batch.column("key"), self.end)).select([*columns])
                    yield some.cast(pa.schema([_CROSSWALK.field(name) for name in columns]))
        except (OSError, pa.ArrowException, KeyError):
            raise _unreadable(self.path) from None

    def names(self, *columns: str) -> Iterator[list[tuple[str | None, ...]]]:
        """The values of some columns, row by row, some rows at a time. Raises UsageError."""
        for batch in self.batches(columns):
            yield list(zip(*(batch.column(name).to_pylist() for name in columns), strict=True))


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
    path: Path, headers: Sequence[Header], patients: Sequence[Patient], before: PackedRows | None = None
) -> Iterator[CrosswalkWriter]:
    """Write `path` (mode 0600), whole or not at all. before: rows of samples that are packed already, which come first."""
    with atomic_file(path, 0o600) as file, pq.ParquetWriter(file, _CROSSWALK, compression="zstd") as writer:
        for batch in before.batches() if before is not None else ():
            writer.write_batch(batch)
        yield CrosswalkWriter(writer, headers, patients)


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Write rejects.parquet (mode 0600)."""
    with atomic_file(path, 0o600) as file, pq.ParquetWriter(file, _REJECTS, compression="zstd") as writer:
        for start in range(0, len(rejects), _ROWS):
            some = rejects[start : start + _ROWS]
            columns = {
                "source": [printable(reject.source) for reject in some],
                "frame": [reject.frame for reject in some],
                "code": [reject.code for reject in some],
                "reason": [reject.reason for reject in some],
            }
            writer.write_table(pa.Table.from_pydict(columns, schema=_REJECTS))


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
        raise _unreadable(path) from None


def _unreadable(path: Path) -> UsageError:
    return UsageError(f"{path} cannot be read, and it says which files are packed: restore it from a copy")


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
