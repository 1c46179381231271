"""Columns of a batch that are no pixels: labels, and the attributes that the user asked for, by row of the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.labels import LabelSet
from radload.dataset.schema import RECORD, SAMPLES, SERIES
from radload.errors import UsageError

# Where an attribute stands. Sample columns go before series columns, and both before the fixed-width records.
_RECORD = tuple(
    n for n in (RECORD.names or ()) if not n.startswith("level_") and n not in ("offset", "length", "shard")
)
_SERIES_RECORD = ("patient", "study", "mean", "std", "p005", "p01", "p50", "p99", "p995")


def _known() -> dict[str, str]:
    """Attribute -> "record", "series_record", "samples" or "series"."""
    places = dict.fromkeys(_SERIES_RECORD, "series_record") | dict.fromkeys(_RECORD, "record")
    for place, schema in (("series", SERIES), ("samples", SAMPLES)):
        for field in schema:
            if not pa.types.is_list(field.type) and not pa.types.is_fixed_size_binary(field.type):
                places[field.name] = place
    return places | {"key": "record"}


ATTRIBUTES = _known()


def _kept(index: Index, names: Sequence[str]) -> dict[str, str]:
    """Columns that `pack --keep` and `--retain` added to this data set; those with one value per sample."""
    if all(name in ATTRIBUTES for name in names):
        return {}  # the table need not be opened
    schema = index.table("samples").schema
    return {
        field.name: "samples" for field in schema if field.name.startswith("kept_") and not pa.types.is_list(field.type)
    }


class Columns:
    """Attribute columns of a data set.

    Args:
        names: attributes; numbers become tensors (int64, or float64 with NaN where unknown), text becomes lists of str
            ("" where unknown), vectors become (N, n) float64.

    Raises:
        UsageError: an attribute that does not exist.
    """

    def __init__(self, index: Index, names: Sequence[str]) -> None:
        if isinstance(names, str):
            raise UsageError(f"meta={names!r} cannot be used: give a list of names, meta=[{names!r}]")
        self._places = ATTRIBUTES | _kept(index, names)
        unknown = [name for name in names if name not in self._places]
        if unknown:
            raise UsageError(f"there is no attribute {unknown[0]!r}: choose from {', '.join(sorted(self._places))}")
        self._index, self._names = index, tuple(names)
        self._columns = {
            name: index.table(self._places[name]).column(name)
            for name in names
            if self._places[name] in ("samples", "series")
        }

    def take(self, rows: NDArray[np.int64]) -> dict[str, torch.Tensor | list[str]]:
        """The columns of rows (N,) of the index; -1 for a row that does not exist gives -1, NaN or ""."""
        if not self._names:
            return {}
        absent = rows < 0
        safe = np.where(absent, 0, rows)
        records = self._index.records[safe]
        return {name: self._column(name, safe, records, absent) for name in self._names}

    def _column(
        self, name: str, rows: NDArray[np.int64], records: NDArray[np.void], absent: NDArray[np.bool_]
    ) -> torch.Tensor | list[str]:
        place = self._places[name]
        if place in ("record", "series_record"):
            values = records[name] if place == "record" else self._index.series[records["series"]][name]
            return _numbers(np.ascontiguousarray(values), absent)
        at = rows if place == "samples" else records["series"].astype(np.int64)
        column = self._columns[name]
        taken = column.take(pa.array(at)).combine_chunks()
        if pa.types.is_string(column.type):
            text = taken.to_pylist()
            return ["" if gone or value is None else value for gone, value in zip(absent, text, strict=True)]
        if pa.types.is_fixed_size_list(column.type):
            size = column.type.list_size
            lists = [[np.nan] * size if v is None else v for v in taken.to_pylist()]
            vectors = np.array(lists, np.float64).reshape(len(rows), size)
            vectors[absent] = np.nan
            return torch.from_numpy(vectors)
        if column.null_count or pa.types.is_floating(
            column.type
        ):  # of the whole column: the type is the same in every batch
            return _numbers(np.array(taken.cast(pa.float64()).to_numpy(zero_copy_only=False)), absent)
        return _numbers(taken.to_numpy(zero_copy_only=False), absent)


def _numbers(values: NDArray[Any], absent: NDArray[np.bool_]) -> torch.Tensor:
    floating = values.dtype.kind == "f"
    numbers = np.array(values, np.float64 if floating else np.int64)
    numbers[absent] = np.nan if floating else -1
    return torch.from_numpy(numbers)


def label_column(labels: LabelSet | None, rows: NDArray[np.int64]) -> torch.Tensor:
    """Labels of rows (N,): (N,) int64 with -1 for none, or (N, classes) float32 with NaN for unknown."""
    if labels is None:
        return torch.from_numpy(np.full(len(rows), -1, np.int64))
    absent = rows < 0
    codes = labels.codes[np.where(absent, 0, rows)]
    if labels.task == "multi":
        codes = np.array(codes, np.float32)
        codes[absent] = np.nan
    else:
        codes = np.array(codes, np.int64)
        codes[absent] = -1
    return torch.from_numpy(codes)
