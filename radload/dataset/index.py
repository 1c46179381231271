"""Reading an index segment: records and Arrow tables, copied or memory-mapped by size (see mapped.py), checked at open."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.dataset.manifest import Manifest, generation_folder
from radload.dataset.mapped import COPIED, OpenFiles
from radload.dataset.schema import FORMAT_VERSION, MASK_RECORD, RECORD, SERIES_RECORD, SPLITS, key_text
from radload.dataset.segment import ARROW_FILES, MASKS_FILE, Largest, file_crc
from radload.errors import FormatError, UsageError

SHARD_NAME: Final = re.compile(rf"({'|'.join(SPLITS)})/[0-9A-Za-z_-]+\.tar")


def segment_folder(generation: int) -> str:
    """Folder of a generation's index segment, relative to the data set."""
    return generation_folder(Path(), generation).as_posix()


@dataclass(frozen=True)
class Index:
    """The rows of a data set.

    Attributes:
        records: (samples,) RECORD, in order of keys, splits one after the other.
        series: (series,) SERIES_RECORD.
        modalities: names for the codes in series["modality"].
        ranges: per split its first row and the row after its last.
        masks: (samples,) MASK_RECORD; None where no sample has a mask.
        files: what of them, and of the labels, is mapped; `files.check()` before and after values are used.
        sizes: name of a file -> its bytes and CRC-32C.
        keys: digest of all keys in order (segment.KeysDigest): what a label set must have been made for.
        largest: per split, what no sample of it exceeds.
        next_key, next_shard: the first key, and number of a shard, that no version up to this one has used.
    """

    folder: Path
    records: NDArray[np.void]
    series: NDArray[np.void]
    modalities: tuple[str, ...]
    ranges: dict[str, range]
    masks: NDArray[np.void] | None = None
    files: OpenFiles = field(default_factory=OpenFiles)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    keys: str = ""
    largest: Mapping[str, Largest] = field(default_factory=dict)
    _tables: dict[str, pa.Table] = field(default_factory=dict, repr=False, compare=False)
    next_key: int = 0
    next_shard: int = 0

    @property
    def generation(self) -> int:
        """The version of the data set that this is the index of."""
        return int(self.folder.name)

    @property
    def label_root(self) -> Path:
        """Folder whose `labels` are those of this version: the data set's own for generation 0, the segment's for others."""
        return self.folder if self.generation else self.folder.parents[1]

    def table(self, name: str) -> pa.Table:
        """One of the Arrow tables (samples, series, shards, patients, studies, luts), opened when it is first asked for."""
        if name not in self._tables:  # each alone: samples.arrow has a piece per shard, and a loader does not need it
            file = f"{name}.arrow"
            content = self.files.read(self.folder / file, *self.sizes[file])
            try:
                self._tables[name] = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all()
            except (OSError, pa.ArrowInvalid) as error:
                raise FormatError(
                    f"{self.folder.name}/{name}.arrow of the index is damaged ({error}): restore it from a copy"
                ) from None
        return self._tables[name]

    @cached_property
    def shard_names(self) -> list[str]:
        """Names of the shards, relative to the data set's folder; RECORD["shard"] is the position."""
        names: list[str] = self.table("shards").column("name").to_pylist()
        for name in names:
            if not SHARD_NAME.fullmatch(name):  # "../", "/etc/": whoever wrote the index must not choose what is opened
                raise FormatError(
                    f"shards.arrow in {self.folder} names a file that is no shard of the data set: restore the index from a copy, "
                    "or pack again"
                )
        return names

    def row_of(self, key: int) -> int:
        """Row of a key (binary search in each split, within which keys ascend). Raises KeyError."""
        for span in self.ranges.values():
            keys = self.records["key"][span.start : span.stop]
            place = bisect_left(keys, key)  # numpy.searchsorted would copy the column
            if place < len(keys) and int(keys[place]) == key:
                return span.start + place
        raise KeyError(key_text(key))

    def series_in_order(self) -> NDArray[np.void]:
        """`series`, opened for reading all of it."""
        name = "series.bin"
        return self.files.array(self.folder / name, SERIES_RECORD, *self.sizes[name], in_order=True)

    def patient_lists(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(offsets, rows): the rows of patient p are rows[offsets[p] : offsets[p + 1]]."""
        return self._patient_lists

    @cached_property
    def _patient_lists(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        number, offsets, rows = np.dtype("<u8"), "patient_offsets.bin", "patient_rows.bin"
        return (
            self.files.array(self.folder / offsets, number, *self.sizes[offsets], in_order=True),
            self.files.array(self.folder / rows, number, *self.sizes[rows]),
        )

    def rows_of_patient(self, patient: int) -> NDArray[np.uint64]:
        """Rows of one patient (row of patients.arrow), ascending."""
        offsets, rows = self.patient_lists()
        return np.asarray(rows[int(offsets[patient]) : int(offsets[patient + 1])])


def open_index(root: Path, manifest: Manifest, scattered: bool = False) -> Index:
    """Open the index of the data set in `root`; `scattered`: records and series will be read here and there, see mapped.OpenFiles.

    Raises:
        FormatError: a file is absent, has another length than segment.json says, or (up to mapped.COPIED bytes) another checksum;
            or there is more than one segment.
    """
    if len(manifest.generations) != 1:
        raise FormatError(
            f"the data set in {root} has {len(manifest.generations)} index segments; this radload reads one "
            f"(format version {FORMAT_VERSION}): install a newer radload"
        )
    folder = root / segment_folder(manifest.generations[0])
    try:
        summary: dict[str, Any] = json.loads((folder / "segment.json").read_bytes())
        files = {name: (int(entry["bytes"]), int(entry["crc32c"])) for name, entry in dict(summary["files"]).items()}
        modalities = tuple(summary["modalities"])
        ranges = {name: range(*summary["ranges"][name]) for name in SPLITS}
        following = int(summary["next_key"]), int(summary["next_shard"])
        keys, largest = str(summary["keys"]), {name: Largest(*summary["largest"][name]) for name in SPLITS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, KeyError):  # a name that a later radload added
            raise FormatError(
                f"the index in {folder} was made by an older radload, or is damaged (segment.json has no {error}): pack again"
            ) from None
        reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise FormatError(
            f"the index in {folder} cannot be read (segment.json, {reason}): restore it from a copy, or pack again"
        ) from None
    missing = {"records.bin", "series.bin", "patient_offsets.bin", "patient_rows.bin"} - files.keys()
    missing |= {f"{name}.arrow" for name in ARROW_FILES} - files.keys()
    if missing:
        raise FormatError(f"the index in {folder} lists no {min(missing)}: restore it from a copy, or pack again")
    for name, (size, crc) in files.items():
        _check_file(folder / name, size, crc)
    opened = OpenFiles(scattered)

    def array(name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        return opened.array(folder / name, dtype, *files[name])

    records = array("records.bin", RECORD)
    masks = array(MASKS_FILE, MASK_RECORD) if MASKS_FILE in files else None
    if masks is not None and len(masks) != len(records):
        raise FormatError(
            f"{folder / MASKS_FILE} has {len(masks)} records for {len(records)} samples: the index is damaged; "
            "restore it from a copy, or pack again"
        )
    series = array("series.bin", SERIES_RECORD)
    return Index(folder, records, series, modalities, ranges, masks, opened, files, keys, largest, {}, *following)


def _check_file(path: Path, size: int, crc: int) -> None:
    """Length always; content too where reading it costs milliseconds. Raises FormatError."""
    actual = path.stat().st_size if path.is_file() else -1
    if actual < 0:
        state = "is missing"
    elif actual != size:
        state = f"has {actual} bytes instead of {size}"
    elif size <= COPIED and file_crc(path) != crc:
        state = "has a wrong checksum (CRC-32C)"
    else:
        return
    raise FormatError(f"{path} {state}: the index is damaged; restore it from a copy, or pack again")


def split_range(index: Index, split: str | None) -> range:
    """Rows of `split`, or all rows for None. Raises UsageError for an unknown name."""
    if split is None:
        return range(len(index.records))
    if split not in index.ranges:
        raise UsageError(f"there is no split {split!r}: choose one of {', '.join(SPLITS)}")
    return index.ranges[split]
