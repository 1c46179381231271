"""Which samples are exported: a condition on the columns of the index."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.dataset.schema import SPLITS
from radload.errors import UsageError
from radload.pack.select import true_rows

_NOT_ASKED = frozenset(("pixel_hash", "modality_lut", "voi_lut", "real_world", "mask_labels"))
_OF_RECORDS = ("rows", "cols", "channels")


def chosen_rows(dataset: Dataset, where: str | None) -> NDArray[np.bool_]:
    """(samples,) for which the condition is true; all for None.

    Raises:
        UsageError: no condition on the columns of `_table`, or one that is true for no sample.
    """
    keep = np.ones(len(dataset), np.bool_)
    if where is not None:
        table = _table(dataset)
        columns = [name for name in table.column_names if name != "row"]
        keep[:] = False
        keep[true_rows(table, "true", columns, where, "--where")] = True
    if not keep.any():
        raise UsageError(
            f"--where is true for none of the {len(dataset):,} samples: correct the expression, or leave it out"
        )
    return keep


def _table(dataset: Dataset) -> pa.Table:
    """One row per sample: columns of samples.arrow and series.arrow (as `series_units` where both have the name), size, split, label."""
    index = dataset.index
    series = np.asarray(index.records["series"], np.int64)
    columns = {"row": pa.array(np.arange(len(dataset)))}
    columns |= {name: pa.array(np.ascontiguousarray(index.records[name])) for name in _OF_RECORDS}
    columns["split"] = pa.DictionaryArray.from_arrays(pa.array(index.records["split"].astype(np.int8)), list(SPLITS))
    samples, of_series = index.table("samples"), index.table("series")
    columns |= {name: samples.column(name) for name in samples.column_names if name not in _NOT_ASKED}
    for name in of_series.column_names:
        if name not in _NOT_ASKED and name != "pseudonym":
            columns[name if name not in columns else f"series_{name}"] = of_series.column(name).take(pa.array(series))
    labels = dataset.labels
    if labels is not None and labels.task == "single":
        codes = pa.array(labels.codes, pa.int32(), mask=labels.codes < 0)
        columns["label"] = pa.DictionaryArray.from_arrays(codes, list(labels.classes))
    return pa.table(columns)
