"""Label sets: labels/NAME.arrow beside the shards, one row per row of the index, so that labels can change without a new pack.

Single-label sets hold a class code per sample (-1: none); multi-label sets hold a float per class (NaN: unknown).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.files import atomic_file
from radload.dataset.mapped import OpenFiles
from radload.dataset.segment import KeysDigest, rows_by
from radload.errors import FormatError, UsageError

DEFAULT = "default"
METADATA = b"radload"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class LabelSet:
    """Labels of a data set.

    Attributes:
        name: file name without suffix; task: "single" or "multi".
        classes: names; a code is a position in it.
        codes: single: (samples,) int32, -1 where a sample has no label; multi: (samples, classes) float32, NaN where unknown.
        origin: where the labels came from ("csv", "modality", "folder:1").
        digest: of classes and codes, as written to the file; "" for a set that was never read.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    codes: NDArray[Any]
    origin: str
    digest: str = ""

    def counts(self, rows: range | slice = slice(None)) -> NDArray[np.int64]:
        """(classes,) samples per class (multi: positives) among `rows`."""
        part = self.codes[rows.start : rows.stop] if isinstance(rows, range) else self.codes[rows]
        if self.task == "multi":
            return np.asarray((part == 1).sum(axis=0), np.int64)
        return np.bincount(part[part >= 0], minlength=len(self.classes))

    def content_digest(self) -> str:
        """32 hex digits of task, classes and codes: what an order that follows the labels depends on."""
        found = hashlib.blake2b(json.dumps([self.task, self.classes]).encode(), digest_size=16)
        found.update(np.ascontiguousarray(self.codes, "<i4" if self.task == "single" else "<f4").data)
        return found.hexdigest()


@dataclass(frozen=True)
class ClassRows:
    """Rows of the index by class, of a single-label set.

    Attributes:
        rows: (samples,) uint64: split by split, in each class by class, rows without a label last.
        offsets: split -> (classes + 1,) where in `rows` each class begins, and the last one ends.
        digest: of the label set.
    """

    rows: NDArray[np.uint64]
    offsets: dict[str, NDArray[np.int64]]
    digest: str


def check_name(name: str) -> str:
    """A label set's name, or UsageError: it becomes a file name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"label set name {name!r} cannot be used: take letters, digits, - and _, at most 64, first a letter or digit"
        )
    return name


def write_labels(root: Path, labels: LabelSet, keys: NDArray[np.uint64], ranges: dict[str, range]) -> Path:
    """Write labels/NAME.arrow, atomically: the labels, and for single-label sets the rows of each class as column "by_class"."""
    folder = root / "labels"
    folder.mkdir(exist_ok=True)
    path = folder / f"{check_name(labels.name)}.arrow"
    info: dict[str, Any] = {"version": 1, "task": labels.task, "classes": list(labels.classes), "origin": labels.origin}
    info["digest"] = labels.content_digest()
    made_for = KeysDigest()
    made_for.add(keys)
    info["keys"] = made_for.text()
    columns: dict[str, pa.Array] = {"key": pa.array(keys, pa.uint64())}
    if labels.task == "single":
        columns["label"] = pa.array(labels.codes, pa.int32())
        offsets, rows = _class_lists(labels, ranges)
        columns["by_class"] = pa.array(rows, pa.uint64())
        info["class_offsets"] = offsets
    else:
        flat = pa.array(np.ascontiguousarray(labels.codes, np.float32).ravel(), pa.float32())
        columns["label"] = pa.FixedSizeListArray.from_arrays(flat, len(labels.classes))
    fields = [(name, column.type) for name, column in columns.items()]
    schema = pa.schema(fields, metadata={METADATA: json.dumps(info).encode()})
    with atomic_file(path) as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(pa.Table.from_arrays(list(columns.values()), schema=schema))
    return path


def _class_lists(labels: LabelSet, ranges: dict[str, range]) -> tuple[dict[str, list[int]], NDArray[np.uint64]]:
    """All rows, split by split in order of their class, those without a label last; and where each class begins, per split."""
    offsets: dict[str, list[int]] = {}
    rows: list[NDArray[np.uint64]] = []
    for split, span in ranges.items():
        part = np.asarray(labels.codes[span.start : span.stop])
        bounds, order = rows_by(np.where(part < 0, len(labels.classes), part), len(labels.classes) + 1)
        offsets[split] = [span.start + int(bound) for bound in bounds[:-1]]
        rows.append(order + np.uint64(span.start))
    return offsets, np.concatenate(rows)


def label_names(root: Path) -> list[str]:
    """Names of the label sets of the data set in `root`."""
    return sorted(path.stem for path in (root / "labels").glob("*.arrow"))


def read_labels(root: Path, name: str, keys: str, files: OpenFiles | None = None) -> LabelSet:
    """Open a label set, copied or mapped by size; a mapped one is watched by `files`, or by nobody.

    Args:
        keys: digest of the keys of the data set (Index.keys).

    Raises:
        UsageError: no such set.
        FormatError: damaged, or made for samples with other keys.
    """
    table, info = _open(root, name, files)
    try:
        task, classes, origin, digest = info["task"], tuple(info["classes"]), info["origin"], str(info["digest"])
        made_for = str(info["keys"])
    except (KeyError, TypeError) as error:
        raise _damaged(name, error) from None
    if made_for != keys:
        raise FormatError(
            f"label set {name!r} was made for another version of this data set: write it again with `radload label`"
        )
    column = _one_chunk(table.column("label"))
    if task == "multi":
        codes = column.values.to_numpy(zero_copy_only=False).reshape(-1, len(classes))
    else:
        codes = column.to_numpy(zero_copy_only=False)
    return LabelSet(name, task, classes, codes, origin, digest)


def read_class_rows(root: Path, name: str, files: OpenFiles | None = None) -> ClassRows:
    """Row lists of a single-label set, opened as in `read_labels`, which compares its keys with those of the index.

    Raises:
        UsageError: no such set, or one of several labels per sample. FormatError: damaged.
    """
    table, info = _open(root, name, files)
    if info.get("task") != "single":
        raise UsageError(f"label set {name!r} has several labels per sample: samples are in no class")
    try:
        rows = _one_chunk(table.column("by_class")).to_numpy()
        offsets = {split: np.array(bounds, np.int64) for split, bounds in info["class_offsets"].items()}
        digest, size = str(info["digest"]), len(info["classes"]) + 1
        wrong = [
            s for s, b in offsets.items() if b.shape != (size,) or (np.diff(b, prepend=0, append=len(rows)) < 0).any()
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(name, error) from None
    if wrong:
        raise _damaged(name, f"impossible offsets of split {wrong[0]}")
    return ClassRows(rows, offsets, digest)


def _open(root: Path, name: str, files: OpenFiles | None) -> tuple[pa.Table, dict[str, Any]]:
    """A set's table, and what its metadata says."""
    path = root / "labels" / f"{check_name(name)}.arrow"
    if not path.is_file():
        known = ", ".join(label_names(root)) or "none"
        raise UsageError(f"there is no label set {name!r} in {root} (there: {known}): add it with `radload label`")
    try:
        content = (files if files is not None else OpenFiles(scattered=True)).read(path)
        table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all()
        info: dict[str, Any] = dict(json.loads(table.schema.metadata[METADATA]))
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(name, error) from None
    return table, info


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, on the mapped file where it is one already: `combine_chunks` would copy it all."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _damaged(name: str, reason: object) -> FormatError:
    return FormatError(f"label set {name!r} is damaged ({reason}): write it again with `radload label`")
