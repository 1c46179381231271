"""An index taken apart into what its shards contributed: how a later version of a data set takes over what it keeps of the one before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radload.dataset.index import Index
from radload.dataset.schema import MASK_RECORD, SAMPLES
from radload.dataset.segment import ShardPart

_LUT_COLUMNS = ("modality_lut", "voi_lut")


def index_parts(index: Index, keep: NDArray[np.bool_] | None = None) -> Iterator[ShardPart]:
    """The parts of all shards of which a sample is kept, in order of (split, shard); one is held at a time.

    Args:
        keep: (samples,) which rows stay, None: all.
    """
    shard = index.records["shard"].astype(np.int64)
    starts = np.flatnonzero(np.diff(shard, prepend=-1))
    shards = index.table("shards")
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(shard)], strict=True):
        rows = np.arange(start, stop)
        if keep is not None:
            rows = rows[keep[start:stop]]
        if len(rows):
            yield _part(index, rows, shards.slice(int(shard[start]), 1).to_pylist()[0])


def _part(index: Index, rows: NDArray[np.int64], shard: dict[str, object]) -> ShardPart:
    records = index.records[rows]
    of_series, place, counts = np.unique(records["series"], return_inverse=True, return_counts=True)
    records["series"], records["shard"] = place, 0
    series_records = index.series[of_series]
    series_records["count"] = counts
    series_records["first_row"] = np.cumsum(counts) - counts
    samples, luts = own_luts(index.table("samples").take(pa.array(rows)), index.table("luts"))
    return ShardPart(
        str(shard["name"]),
        int(records["split"][0]),
        int(str(shard["bytes"])),
        bytes(shard["sha256"]),  # type: ignore[call-overload]
        records,
        samples,
        series_records,
        [index.modalities[code] for code in series_records["modality"].tolist()],
        index.table("series").take(pa.array(of_series)),
        luts,
        index.masks[rows] if index.masks is not None else np.zeros(0, MASK_RECORD),
        int(str(shard["generation"])),
    )


def own_luts(samples: pa.Table, luts: pa.Table) -> tuple[pa.Table, pa.Table]:
    """`samples` with references to a table of their own, and that table: the rows of `luts` that they use."""
    mappings = samples.column("real_world")
    of_mappings = pc.drop_null(pc.struct_field(pc.list_flatten(mappings), "lut"))
    used = {row for name in _LUT_COLUMNS for row in pc.unique(pc.drop_null(samples.column(name))).to_pylist()}
    used |= set(pc.unique(of_mappings).to_pylist())
    order = sorted(used)
    place = {row: number for number, row in enumerate(order)}
    for name in _LUT_COLUMNS:
        column = samples.schema.get_field_index(name)
        values = [None if row is None else place[row] for row in samples.column(name).to_pylist()] if order else None
        if values is not None:
            samples = samples.set_column(column, SAMPLES.field(name), pa.array(values, SAMPLES.field(name).type))
    if len(of_mappings):
        rows = mappings.to_pylist()
        for mapping in (mapping for row in rows for mapping in row or () if mapping["lut"] is not None):
            mapping["lut"] = place[mapping["lut"]]
        column = samples.schema.get_field_index("real_world")
        samples = samples.set_column(
            column, SAMPLES.field("real_world"), pa.array(rows, SAMPLES.field("real_world").type)
        )
    return samples, luts.take(pa.array(order, pa.int64()))
