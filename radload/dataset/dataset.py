"""Random access to a packed data set: `radload.open(path)`.

For looking at samples one by one; training reads through `radload.Loader`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload import codecs
from radload.dataset.index import Index, open_index
from radload.dataset.labels import DEFAULT, LabelSet, label_names, read_labels
from radload.dataset.manifest import Manifest, read_manifest
from radload.dataset.schema import SPLITS, STORED_DTYPES, Codec, Flag, key_text
from radload.dataset.shards import ShardFiles
from radload.dataset.volume import Volume, read_volume
from radload.errors import UsageError
from radload.sources.slice import Units, VoiFunction, WindowExplanation


class Sample:
    """One sample; its bytes are read and decoded when asked for.

    Attributes:
        row: in the index; key: name of its members; split: "train", "val" or "test".
        label: class name, or None where there is none; {class: value} of the known classes for a multi-label set.
        meta: attributes of the sample and of its series, by the column names of docs/format.md.
    """

    def __init__(self, dataset: Dataset, row: int) -> None:
        self._dataset, self.row = dataset, row
        self._record = dataset.index.records[row]
        self.key = key_text(int(self._record["key"]))
        self.split = SPLITS[int(self._record["split"])]

    def __repr__(self) -> str:
        return f"Sample({self.key}, {self.split}, {self.meta['modality']}, {self.shape}, label={self.label!r})"

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, cols), or (rows, cols, 3) for colour."""
        record = self._record
        size = (int(record["rows"]), int(record["cols"]))
        return size if record["channels"] == 1 else (*size, int(record["channels"]))

    @cached_property
    def stored(self) -> NDArray[Any]:
        """The stored values, in the source's data type. Raises CorruptSample."""
        record = self._record
        data = self._dataset.shards.read(record)
        dtype = np.dtype("<" + STORED_DTYPES[int(record["dtype"])])
        return codecs.decode_stored(
            data, Codec(int(record["codec"])), bias=int(record["bias"]), dtype=dtype, shape=self.shape
        )

    @cached_property
    def mask(self) -> NDArray[Any] | None:
        """The sample's labels, (rows, cols), uint8 or uint16, 0 is background; None where it has no mask. Raises CorruptSample."""
        masks = self._dataset.index.masks
        if masks is None or not int(masks[self.row]["length"]):
            return None
        return codecs.decode_mask(self._dataset.shards.read_mask(masks[self.row], self._record), self.shape[:2])

    def modality(self) -> NDArray[np.float32]:
        """Values after the modality step (HU for CT), float32, same shape as `stored` (PS3.3 C.11.1)."""
        if Flag.MODALITY_LUT in Flag(int(self._record["flags"])):
            lut = self._dataset.index.table("luts").slice(self.meta["modality_lut"], 1).to_pylist()[0]
            values = np.asarray(lut["values"], np.float32)
            mapped: NDArray[np.float32] = values[
                np.clip(self.stored.astype(np.int64) - lut["first"], 0, len(values) - 1)
            ]
            return mapped
        value = self.stored.astype(np.float64) * float(self._record["slope"]) + float(self._record["intercept"])
        return value.astype(np.float32)

    @property
    def label(self) -> str | dict[str, float] | None:
        """The sample's label in the data set's label set."""
        labels = self._dataset.labels
        if labels is None:
            return None
        if labels.task == "multi":
            values = zip(labels.classes, labels.codes[self.row].tolist(), strict=True)
            return {name: value for name, value in values if not np.isnan(value)}
        code = int(labels.codes[self.row])
        return labels.classes[code] if code >= 0 else None

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Attributes of sample and series; None where unknown."""
        index, record = self._dataset.index, self._record
        series = index.series[int(record["series"])]
        flags = Flag(int(record["flags"]))
        spacing = (float(record["spacing_row"]), float(record["spacing_col"]))
        meta: dict[str, Any] = index.table("series").slice(int(record["series"]), 1).to_pylist()[0]
        meta["series_pseudonym"] = meta.pop("pseudonym")
        meta |= index.table("samples").slice(self.row, 1).to_pylist()[0]
        meta |= {
            "key": self.key,
            "shard": index.shard_names[int(record["shard"])],
            "series": int(record["series"]),
            "patient": int(series["patient"]),
            "study": int(series["study"]),
            "rows": int(record["rows"]),
            "cols": int(record["cols"]),
            "channels": int(record["channels"]),
            "dtype": np.dtype(STORED_DTYPES[int(record["dtype"])]).name,
            "codec": Codec(int(record["codec"])).name.lower(),
            "slope": float(record["slope"]),
            "intercept": float(record["intercept"]),
            "units": Units(int(series["units"])).name,
            "voi": VoiFunction(int(record["voi"])).name,
            "window_explanations": [WindowExplanation(code).name for code in meta["window_explanations"] or ()],
            "invert": Flag.INVERT in flags,
            "exact": Flag.EXACT in flags,
            "lossy": Flag.LOSSY in flags,
            "safe_levels": int(record["safe_levels"]),
            "spacing": None if np.isnan(spacing).any() else spacing,
            "padding": (int(record["padding_first"]), int(record["padding_last"])) if Flag.PADDING in flags else None,
            "statistics": {
                name: float(series[name])
                for name in ("minimum", "p005", "p01", "p50", "p99", "p995", "maximum", "mean", "std")
            },
        }
        return meta


class Dataset:
    """A packed data set: `len`, iteration, `ds[42]` (row) and `ds["000000000042"]` (key).

    Attributes:
        root: folder of the data set; manifest, index: see their modules.
        labels: the label set in use, or None.
    """

    def __init__(self, path: str | PathLike[str], labels: str | None = None, version: int | str | None = None) -> None:
        """Open the data set in `path`, a folder or an address (s3://, gs://: samples are then read as ranges).

        `labels` names a label set; by default "default", or the only one there is.

        Args:
            version: number of a generation, None: the current one (docs/versions.md).

        Raises:
            UsageError: no data set there, no such version, or no such label set.
            FormatError: another format version, or a damaged index.
        """
        self.root, url = Path(path), None
        if ":/" in str(path):  # an address: what reads it is not imported for a folder
            from radload.remote.source import find_source

            self.root, remote = find_source(path)
            url = remote and remote["url"]
        self.manifest: Manifest = read_manifest(self.root, version)
        self.index: Index = open_index(self.root, self.manifest)
        self.shards = self._open_shards(url)
        self.labels: LabelSet | None = None
        if labels is None:
            known = label_names(self.index.label_root)
            labels = DEFAULT if DEFAULT in known else known[0] if len(known) == 1 else None
        if labels is not None:
            self.labels = read_labels(self.index.label_root, labels, self.index.keys, self.index.files)

    def _open_shards(self, url: str | None) -> ShardFiles:
        if url is None:
            return ShardFiles(self.root, self.index.shard_names)
        from radload.remote.shards import RemoteShards
        from radload.remote.store import Store

        return RemoteShards(self.root, self.index.shard_names, Store(url))

    def __len__(self) -> int:
        return len(self.index.records)

    def __repr__(self) -> str:
        return f"Dataset({str(self.root)!r}, {len(self)} samples, {self.splits})"

    @property
    def splits(self) -> dict[str, int]:
        """Samples per split."""
        return {name: len(rows) for name, rows in self.index.ranges.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the label set in use; empty where there is none."""
        return self.labels.classes if self.labels is not None else ()

    def __getitem__(self, which: int | str) -> Sample:
        """Sample by row of the index (negative from the end) or by key (digits).

        Raises:
            IndexError, KeyError: no such row or key.
            TypeError: neither a whole number nor a text.
            FormatError: a file of the index was changed since it was opened.
        """
        self.index.files.check()
        if isinstance(which, str):
            if not which.isdecimal():
                raise KeyError(which)
            return Sample(self, self.index.row_of(int(which)))
        row = operator.index(which)
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return Sample(self, row % len(self))

    def __iter__(self) -> Iterator[Sample]:
        for row in range(len(self)):
            yield Sample(self, row)

    def series(self, series: int) -> list[Sample]:
        """The samples of one series (row of series.arrow), in order of position."""
        if not 0 <= series < len(self.index.series):
            raise UsageError(f"there is no series {series}: the data set has {len(self.index.series)}")
        first, count = (int(self.index.series[series][name]) for name in ("first_row", "count"))
        return [Sample(self, row) for row in range(first, first + count)]

    def volume(self, series: int, *, modality: bool = True, stack: int | None = None) -> Volume:
        """One series as an array (slices, rows, cols), with its spacing and affine (LPS).

        Args:
            series: row of series.arrow. modality: values after the modality step (HU for CT), float32; otherwise stored values.
            stack: which of several stacks (orientations, phases; docs/geometry.md), from 0 in order of the index.

        Raises:
            UsageError: no such series or stack, or several stacks and none chosen. CorruptSample: a slice is damaged.
        """
        return read_volume(self.index, series, self.series(series), modality=modality, stack=stack)

    def close(self) -> None:
        """Close the shards' descriptors."""
        self.shards.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
