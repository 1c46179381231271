"""What a proof needs of the private folder, read only: UIDs as numbers and patients' names. None of them leaves this module's callers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radload.audit.rows import Rows, codes
from radload.errors import UsageError
from radload.pack.workspace import CROSSWALK, SPLITS_FILE


def uid_codes(private: Path, rows: Rows, level: str) -> NDArray[np.int64]:
    """(rows,) a number per different UID of `level` ("study", "series"); -1 where the source has none.

    Raises:
        UsageError: the private folder is of other shards.
    """
    path = private / CROSSWALK
    try:
        table = pq.read_table(path, columns=["key", level])
        keys = table.column("key").cast(pa.uint64()).to_numpy()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__}): restore it from a copy") from None
    wanted, order = rows.index.records["key"], np.argsort(keys)  # it holds the samples of all versions
    place = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)] if len(keys) else order
    if len(place) != len(wanted) or not np.array_equal(keys[place], wanted):
        raise UsageError(f"{path} does not belong to these shards: give their private folder by --private")
    return codes(table.column(level).take(pa.array(place)))


def patient_names(private: Path) -> dict[str, str]:
    """Pseudonym -> name of the patients that are known."""
    path = private / SPLITS_FILE
    try:
        columns = pq.read_table(path, columns=["patient", "name"]).to_pydict()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise UsageError(f"{path} cannot be read ({type(error).__name__}): restore it from a copy") from None
    pairs = zip(columns["patient"], columns["name"], strict=True)
    return {pseudonym: name for pseudonym, name in pairs if name is not None}
