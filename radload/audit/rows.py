"""What each row of an index belongs to, as arrays: split, patient, study, series, pixel hash, labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.dataset.index import Index
from radload.dataset.labels import LabelSet, label_names, read_labels
from radload.dataset.schema import SPLITS, key_text


@dataclass(frozen=True)
class Rows:
    """The rows of one data set. What has one pseudonym is one patient, study or series, whatever the number of its table rows.

    Attributes:
        split: (rows,) uint8, the code of the split whose range of rows it is in: what a loader goes by.
        patient, study, series: (rows,) row of the first entry of its table that has the same pseudonym.
        hashes: (rows, 2) uint64, the 128 bits of the pixel hash; hashed: (rows,) False where the index has none.
        labels: all label sets.
    """

    dataset: Dataset
    split: NDArray[np.uint8]
    patient: NDArray[np.int64]
    study: NDArray[np.int64]
    series: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    hashed: NDArray[np.bool_]
    labels: tuple[LabelSet, ...]

    def __len__(self) -> int:
        return len(self.split)

    @property
    def index(self) -> Index:
        return self.dataset.index

    def keys(self, rows: NDArray[np.int64]) -> list[str]:
        """Keys of `rows`, as texts."""
        return [key_text(int(key)) for key in self.index.records["key"][rows]]

    def pseudonym(self, table: str, row: int) -> str:
        """Of a row of patients.arrow, studies.arrow or series.arrow."""
        return str(self.index.table(table).column("pseudonym")[row].as_py())

    def patients(self) -> NDArray[np.int64]:
        """The patients that have samples, ascending."""
        return np.unique(self.patient)

    def known(self) -> NDArray[np.bool_]:
        """(rows of patients.arrow,) whether the source said who it is."""
        return np.asarray(self.index.table("patients").column("known").to_numpy(), np.bool_)


def open_rows(root: Path) -> Rows:
    """Read the index of the data set in `root`, all label sets included; nothing of the shards. Close its `dataset` in the end.

    Raises:
        UsageError: no data set there.
        FormatError: another format version, or a damaged index or label set.
    """
    dataset = Dataset(root)
    index = dataset.index
    records, series = index.records, index.series
    split = np.zeros(len(records), np.uint8)
    for code, name in enumerate(SPLITS):
        span = index.ranges[name]
        split[span.start : span.stop] = code
    of_row = np.asarray(records["series"], np.int64)
    first = {name: _first_of_name(index.table(name)) for name in ("patients", "studies", "series")}
    hashes, hashed = _hashes(index.table("samples").column("pixel_hash"))
    return Rows(
        dataset,
        split,
        first["patients"][series["patient"]][of_row],
        first["studies"][series["study"]][of_row],
        first["series"][of_row],
        hashes,
        hashed,
        tuple(read_labels(index.label_root, name, index.keys) for name in label_names(index.label_root)),
    )


def codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(rows,) a number per different text; -1 for null."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):  # more text than one array holds
        encoded = encoded.unify_dictionaries().combine_chunks()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def _first_of_name(table: pa.Table) -> NDArray[np.int64]:
    """(rows of `table`,) the first row with the same pseudonym; a row without one stands alone."""
    number = codes(table.column("pseudonym"))
    alone = np.flatnonzero(number < 0)
    number[alone] = len(number) + np.arange(len(alone))
    _, first, of_row = np.unique(number, return_index=True, return_inverse=True)
    return np.asarray(first[of_row], np.int64)


def _hashes(column: pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Values of a 16-byte column as two numbers each, and where there is one."""
    hashes = np.zeros((len(column), 2), np.uint64)
    hashed = np.ones(len(column), np.bool_)
    start = 0
    for chunk in column.chunks:
        if not len(chunk):
            continue
        stop, data = start + len(chunk), chunk.buffers()[1]
        hashes[start:stop] = np.frombuffer(data, "<u8", 2 * len(chunk), 16 * chunk.offset).reshape(-1, 2)
        if chunk.null_count:
            hashed[start:stop] = chunk.is_valid().to_numpy(zero_copy_only=False)
        start = stop
    return hashes, hashed
