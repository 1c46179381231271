"""Manifest, index and label sets against each other: nothing here reads a shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.index import SHARD_NAME, Index
from radload.dataset.labels import label_names, read_class_rows, read_labels
from radload.dataset.manifest import Manifest
from radload.dataset.schema import LEVELS, SPLITS, STORED_DTYPES, Codec, Flag
from radload.dataset.segment import KeysDigest, Largest, file_crc, rows_by
from radload.errors import FormatError, UsageError
from radload.sources.slice import Units, VoiFunction
from radload.verify.problem import INDEX, RESTORE_INDEX, Problem

_LABEL: Final = "write it again with radload label"


def check_index(manifest: Manifest, index: Index) -> tuple[list[Problem], bool]:
    """(what is wrong with manifest, index and labels of a version, whether shards can be compared with the index)."""
    found = [Problem(INDEX, None, what, RESTORE_INDEX) for what in _files(index)]
    if found:
        return found, False  # what follows would repeat it a thousand times
    found += [Problem(INDEX, key, what, RESTORE_INDEX) for key, what in _records(index)]
    found += [Problem(INDEX, None, what, RESTORE_INDEX) for what in _series(index)]
    if found:
        return found, False
    found += [Problem(INDEX, None, what, RESTORE_INDEX) for what in _people(index)]
    found += [Problem("manifest.json", None, what, RESTORE_INDEX) for what in _manifest(manifest, index)]
    return found + _labels(index), True


def _files(index: Index) -> Iterator[str]:
    """Checksums of the large files too, which are not looked at when a data set is opened; lengths of tables; names of shards."""
    for name, (_, crc) in index.sizes.items():
        if file_crc(index.folder / name) != crc:
            yield f"{name} has a wrong checksum (CRC-32C)"
    said = json.loads((index.folder / "segment.json").read_bytes())
    rows = {"samples": len(index.records), "series": len(index.series), "shards": index.table("shards").num_rows}
    rows |= {name: index.table(name).num_rows for name in ("luts", "patients", "studies")}
    for name, count in rows.items():
        if said.get(name) != count or (name in ("samples", "series") and index.table(name).num_rows != count):
            yield f"segment.json and the tables disagree on the number of {name}"
    for name in index.table("shards").column("name").to_pylist():
        if not SHARD_NAME.fullmatch(name):
            yield "shards.arrow names a file that is no shard of the data set"
            return


def _records(index: Index) -> Iterator[tuple[int, str]]:
    """(key, what) of the first record that breaks each rule."""
    records, shards = index.records, index.table("shards")
    if not len(records):
        return
    keys, shard = records["key"], records["shard"].astype(np.int64)
    if not shards.num_rows:
        yield int(keys[0]), "shards.arrow has no shard" + _more(len(keys))
        return
    sizes, split_of = (shards.column(name).to_numpy().astype(np.int64) for name in ("bytes", "split"))
    known = np.minimum(shard, len(sizes) - 1)
    offset, length = records["offset"].astype(np.uint64), records["length"].astype(np.uint64)
    ends = np.concatenate([records["length"][:, None], records["level_end"]], axis=1).astype(np.int64)
    absent = np.arange(1, LEVELS + 1)[None, :] > records["levels"][:, None]
    tables = index.table("luts").num_rows
    luts = [index.table("samples").column(name).fill_null(0).to_numpy() for name in ("modality_lut", "voi_lut")]
    rules = {
        "its key does not follow that of the row before": (np.diff(keys.astype(np.int64), prepend=-1) <= 0)
        & (np.diff(records["split"].astype(np.int64), prepend=-1) == 0),
        "another row has its key": _twice(keys),
        "it is in a shard that shards.arrow does not have": shard >= len(sizes),
        "its shard comes before that of the row before": np.diff(shard, prepend=0) < 0,
        "its split comes before that of the row before": np.diff(records["split"].astype(np.int64), prepend=0) < 0,
        "its key is not below next_key of segment.json": keys >= np.uint64(max(index.next_key, 0)),
        "its split is not that of its shard": records["split"] != split_of[known],
        "its pixels end behind its shard": (offset > np.uint64(1 << 62)) | (offset + length > sizes[known].astype(np.uint64)),
        "it has no pixels": (records["rows"] == 0) | (records["cols"] == 0) | (records["length"] == 0),
        "its codec, data type or channels are unknown": (records["codec"] > max(Codec))
        | (records["dtype"] >= len(STORED_DTYPES))
        | ~np.isin(records["channels"], (1, 3))
        | (records["voi"] > max(VoiFunction)),
        "its levels are impossible": (records["levels"] > LEVELS)
        | (records["safe_levels"] > records["levels"])
        | ((np.diff(ends, axis=1) >= 0) & ~absent).any(axis=1)
        | ((ends[:, 1:] <= 0) & ~absent).any(axis=1),
        "it has a key of its own in samples.arrow": index.table("samples").column("key").to_numpy() != keys,
        "it names a look-up table that luts.arrow does not have": (luts[0] < 0) | (luts[1] < 0)
        | ((luts[0] >= tables) & (records["flags"] & Flag.MODALITY_LUT > 0))
        | ((luts[1] >= tables) & (records["flags"] & Flag.VOI_LUT > 0)),
    }  # fmt: skip
    for what, wrong in rules.items():
        if wrong.any():
            yield int(keys[int(np.argmax(wrong))]), what + _more(int(wrong.sum()))
    counts = np.bincount(known, minlength=len(sizes))
    if not np.array_equal(counts, shards.column("samples").to_numpy()):
        yield int(keys[0]), "shards.arrow counts other numbers of samples than the records"


def _twice(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which keys stand in an earlier row too."""
    again = np.ones(len(keys), np.bool_)
    again[np.unique(keys, return_index=True)[1]] = False
    return again


def _more(count: int) -> str:
    return f" (the first of {count:,})" if count > 1 else ""


def _series(index: Index) -> Iterator[str]:
    series, rows = index.series, len(index.records)
    first, count = series["first_row"].astype(np.int64), series["count"].astype(np.int64)
    if not np.array_equal(first, np.cumsum(count) - count) or int(count.sum()) != rows or (count <= 0).any():
        yield "the series of series.bin are not all rows, one behind the other"
    elif not np.array_equal(index.records["series"], np.repeat(np.arange(len(series)), count)):
        yield "records.bin and series.bin disagree on which sample is in which series"
    if (series["modality"] >= max(len(index.modalities), 1)).any() or (series["units"] > max(Units)).any():
        yield "series.bin has unknown modalities or units"
    start = 0
    keys = KeysDigest()
    keys.add(index.records["key"])
    if index.keys != keys.text():
        yield "segment.json has the digest of other keys"
    for name, span in index.ranges.items():
        if index.largest[name] != Largest().and_of(index.records[span.start : span.stop]):
            yield f"segment.json has other largest sizes of split {name} than the records"
        if (span.start, span.stop) != (start, start + int((index.records["split"] == SPLITS.index(name)).sum())):
            yield f"segment.json has another range of split {name} than the records"
        start = span.stop


def _people(index: Index) -> Iterator[str]:
    """Patients, studies, and the row lists of patients."""
    patients, studies = index.table("patients"), index.table("studies")
    of_series = index.series["patient"].astype(np.int64)
    if (of_series >= patients.num_rows).any() or (index.series["study"] >= studies.num_rows).any():
        yield "series.bin names a patient or a study that is in no table"
        return
    of_study = studies.column("patient").to_numpy().astype(np.int64)
    if not np.array_equal(of_study[index.series["study"]], of_series):
        yield "a series and its study are of two patients"
    of_row = np.repeat(of_series, index.series["count"].astype(np.int64))
    if (patients.column("split").to_numpy()[of_row] != index.records["split"]).any():
        yield "a patient has samples outside of his split"
    offsets, rows = rows_by(of_row, patients.num_rows)
    known = index.patient_lists()
    if not (np.array_equal(known[0], offsets) and np.array_equal(known[1], rows)):
        yield "the lists of rows by patient are not those of the records"


def _manifest(manifest: Manifest, index: Index) -> Iterator[str]:
    splits = {name: _split(index, span) for name, span in index.ranges.items()}
    totals: dict[str, Any] = {"samples": len(index.records), "series": len(index.series), "splits": splits}
    totals["patients"] = sum(split["patients"] for split in splits.values())
    totals["masks"] = 0 if index.masks is None else int(np.count_nonzero(index.masks["length"]))
    totals["fingerprint"] = fingerprint(index)
    for name, value in totals.items():
        if getattr(manifest, name) != value:
            yield f"{name} is not what the index has"


def _split(index: Index, span: range) -> dict[str, int]:
    series = np.unique(index.records["series"][span.start : span.stop])
    series = series[series < len(index.series)]
    patients = np.unique(index.series["patient"][series])
    return {"samples": len(span), "series": len(series), "patients": len(patients)}


def fingerprint(index: Index) -> str:
    """SHA-256 over all pixel hashes in order of keys, as the manifest has it."""
    digest = hashlib.sha256()
    for chunk in index.table("samples").column("pixel_hash").chunks:
        for value in chunk.to_pylist():
            digest.update(value or b"")
    return digest.hexdigest()


def _labels(index: Index) -> list[Problem]:
    found = []
    for name in label_names(index.label_root):
        what = _label_set(index.label_root, name, index)
        if what is not None:
            found.append(Problem(f"labels/{name}.arrow", None, what, _LABEL))
    return found


def _label_set(root: Path, name: str, index: Index) -> str | None:
    try:
        labels = read_labels(root, name, index.keys)
        keys = pa.ipc.open_file(root / "labels" / f"{name}.arrow").read_all().column("key").to_numpy()
        if not np.array_equal(keys, index.records["key"]):
            return "its rows are not those of the index"
        if labels.digest != labels.content_digest():
            return "the labels are not those of its digest"
        if labels.task != "single":
            return None
        if ((labels.codes < -1) | (labels.codes >= len(labels.classes))).any():
            return "it has labels of no class"
        lists = read_class_rows(root, name)
    except (FormatError, UsageError) as error:
        return str(error).partition(":")[0]
    for split, span in index.ranges.items():
        codes = labels.codes[span.start : span.stop]
        bounds, order = rows_by(np.where(codes < 0, len(labels.classes), codes), len(labels.classes) + 1)
        expected: NDArray[Any] = order + np.uint64(span.start)
        if not (
            np.array_equal(lists.rows[span.start : span.stop], expected)
            and np.array_equal(lists.offsets.get(split, ()), bounds[:-1].astype(np.int64) + span.start)
        ):
            return f"its lists of rows by class are not those of its labels (split {split})"
    return None
