"""The private folder's tables without the patients who withdrew: what the catalog, rejects, review, splits and crosswalk say of them."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radload.dataset.schema import key_text
from radload.errors import UsageError
from radload.pack.catalog import CATALOG, JOURNAL
from radload.pack.crosswalk import replace_rows
from radload.pack.decisions import DECISIONS
from radload.pack.table import normal_id
from radload.pack.workspace import CROSSWALK, REJECTS, REVIEW, SPLITS_FILE


def remove_names(private: Path, patients: Collection[str], keys: NDArray[np.uint64]) -> None:
    """Remove all rows about the patients (pseudonyms) and the samples `keys`. forgotten.json stays: it names nobody.

    Each table is replaced whole. Those by which the others are searched come last, so that a call that was ended can be made again.

    Raises:
        UsageError: a table cannot be read.
    """
    crosswalk, splits = (_read(private / name) for name in (CROSSWALK, SPLITS_FILE))
    texts = pa.array([key_text(key) for key in keys.tolist()], pa.string())
    gone = pc.is_in(crosswalk.column("key"), value_set=texts)
    of_split = pc.is_in(splits.column("patient"), value_set=pa.array(sorted(patients), pa.string()))
    of_gone = crosswalk.filter(gone)
    sources = {
        name for column in ("source", "mask_source") for name in of_gone.column(column).to_pylist() if name is not None
    }
    numbers = {name for name in splits.filter(of_split).column("name").to_pylist() if name is not None}
    if not sources and not numbers and not pc.any(of_split).as_py():
        return
    catalog = _read(private / CATALOG) if (private / CATALOG).is_file() else None
    if catalog is not None:
        pairs = zip(catalog.column("source").to_pylist(), catalog.column("patient").to_pylist(), strict=True)
        sources |= {source for source, number in pairs if number is not None and normal_id(number) in numbers}
    if (private / REJECTS).is_file():
        replace_rows(private / REJECTS, _without(_read(private / REJECTS), sources))
    if catalog is not None:
        left = _without(catalog, sources)
        number = left.schema.get_field_index("row")
        left = left.set_column(number, left.schema.field(number), pa.array(range(left.num_rows), pa.int64()))
        replace_rows(private / CATALOG, left)
    shutil.rmtree(private / JOURNAL, ignore_errors=True)
    for path in (private / REVIEW).glob("*"):
        if path.name != DECISIONS:  # groups of files, by device and size: no person
            path.unlink()
    replace_rows(private / SPLITS_FILE, splits.filter(pc.invert(of_split)))
    replace_rows(private / CROSSWALK, crosswalk.filter(pc.invert(gone)))


def _without(table: pa.Table, sources: Collection[str]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table.column("source"), value_set=pa.array(sorted(sources), pa.string()))))


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__}): restore it from a copy") from None
