"""One new shard: the members of its samples, checked and copied, under their new keys, and what the new index needs of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.codecs import EXTENSIONS
from radload.dataset import Dataset
from radload.dataset.files import atomic_file
from radload.dataset.parts import own_luts
from radload.dataset.schema import MASK_RECORD, Codec, key_text
from radload.dataset.segment import ShardPart
from radload.errors import FormatError
from radload.export.arrange import Rename, SeriesPlace
from radload.pack.member import read_member
from radload.pack.shard import BLOCK, TarWriter

# Where slices lie in the scanner, and what follows from it. How large a pixel is stays: it says how large things are, not where.
GEOMETRY_OF_SAMPLES: Final = ("image_position", "image_orientation")
GEOMETRY_OF_SERIES: Final = ("slice_spacing", "gaps", "duplicates", "tilt", "stacks", "phases", "irregular")


def copy_shard(
    dataset: Dataset,
    to: Path,
    name: str,
    split: int,
    places: tuple[SeriesPlace, ...],
    rename: Rename,
    drop_geometry: bool,
) -> ShardPart:
    """Write shard `name` below `to`.

    Raises:
        CorruptSample: bytes that are not those of the index. FormatError: a shard that cannot be read.
    """
    index = dataset.index
    rows = np.concatenate([place.rows for place in places])
    counts = np.array([len(place.rows) for place in places])
    records, masks = index.records[rows], np.zeros(len(rows), MASK_RECORD)
    if index.masks is not None:
        masks = index.masks[rows]
    path = to / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        tar = TarWriter(file)
        number = 0
        for place in places:
            for key, row in enumerate(place.rows.tolist(), place.first_key):
                record = index.records[row]
                pixels = dataset.shards.read(record)
                said = _text(dataset, record)
                mask = None
                if index.masks is not None and int(index.masks[row]["length"]):
                    mask = dataset.shards.read_mask(index.masks[row], record)
                records[number]["key"] = key
                extension = EXTENSIONS[Codec(int(record["codec"]))]
                records[number]["offset"] = tar.add(f"{key_text(key)}.{extension}", pixels)
                changed = {"key": key_text(key), "series": key_text(place.first_key), "patient": place.patient}
                changed["study"] = place.study
                if drop_geometry:
                    changed |= dict.fromkeys(GEOMETRY_OF_SAMPLES)
                tar.add(f"{key_text(key)}.json", json.dumps(said | changed, separators=(",", ":")).encode())
                if mask is not None:
                    masks[number]["offset"] = tar.add(f"{key_text(key)}.mask.npy", mask)
                number += 1
        digest = tar.finish()
    records["shard"], records["series"] = 0, np.repeat(np.arange(len(places)), counts)
    series_rows = np.array([place.series for place in places])
    series_records = index.series[series_rows]
    series_records["count"], series_records["first_row"] = counts, np.cumsum(counts) - counts
    series_records["patient"] = [place.patient for place in places]
    series_records["study"] = [place.study for place in places]
    samples, luts = own_luts(_samples(index.table("samples"), rows, records, drop_geometry), index.table("luts"))
    series = _series(index.table("series").take(pa.array(series_rows)), rename, drop_geometry)
    modalities = [index.modalities[code] for code in series_records["modality"].tolist()]
    return ShardPart(name, split, tar.size, digest, records, samples, series_records, modalities, series, luts, masks)


def _samples(table: pa.Table, rows: NDArray[np.int64], records: NDArray[np.void], drop: bool) -> pa.Table:
    new: dict[str, pa.Array] = {"key": pa.array(records["key"].copy(), pa.uint64())}
    return _with(table.take(pa.array(rows)), new, GEOMETRY_OF_SAMPLES if drop else ())


def _series(table: pa.Table, rename: Rename, drop: bool) -> pa.Table:
    names = [None if name is None else rename("series", name) for name in table.column("pseudonym").to_pylist()]
    return _with(table, {"pseudonym": pa.array(names, pa.string())}, GEOMETRY_OF_SERIES if drop else ())


def _with(table: pa.Table, new: dict[str, pa.Array], blank: tuple[str, ...]) -> pa.Table:
    """`table` with other columns `new`, and nothing in the columns `blank`."""
    columns = {name: table.column(name) for name in table.column_names} | new
    columns |= {name: pa.nulls(table.num_rows, table.schema.field(name).type) for name in blank}
    return pa.table([columns[name] for name in table.column_names], schema=table.schema)


def _text(dataset: Dataset, record: np.void) -> dict[str, Any]:
    """KEY.json of a sample, which stands behind its pixels."""
    name = dataset.index.shard_names[int(record["shard"])]
    key = key_text(int(record["key"]))
    start = int(record["offset"]) + -(-int(record["length"]) // BLOCK) * BLOCK
    try:
        with (dataset.root / name).open("rb") as shard:
            content = json.loads(read_member(shard, start, f"{key}.json"))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"{key}.json in shard {name} cannot be read ({type(error).__name__}): restore the shard from a copy"
        ) from None
    if not isinstance(content, dict) or content.get("key") != key:
        raise FormatError(f"{key}.json in shard {name} is not where it must be: restore the shard from a copy")
    return content
