"""What a data set holds, counted from the index alone: no shard is opened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radload.dataset import Dataset
from radload.dataset.schema import SPLITS, STORED_DTYPES, Codec, Flag


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One split: counts, and its shards with their bytes (tar headers and JSON included)."""

    name: str
    patients: int
    series: int
    samples: int
    shards: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class of a label set: samples per split (multi-label: positives), and patients that have any."""

    name: str
    samples: tuple[int, ...]
    patients: int


@dataclass(frozen=True, slots=True)
class ModalityRow:
    """One modality: counts, the most frequent sizes (rows, cols, samples), stored types, and samples that carry each flag."""

    name: str
    patients: int
    series: int
    samples: int
    sizes: tuple[tuple[int, int, int], ...]
    other_sizes: int
    dtypes: tuple[tuple[str, int], ...]
    inexact: int
    lossy: int
    inverted: int
    padded: int
    reducible: int
    suspect: int


@dataclass(frozen=True, slots=True)
class CodecRow:
    """One codec: samples, bytes of stored pixels before, and bytes of members after."""

    name: str
    samples: int
    raw: int
    coded: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that the tables and the demo's page show. `unlabelled` counts samples without any label."""

    splits: tuple[SplitRow, ...]
    modalities: tuple[ModalityRow, ...]
    codecs: tuple[CodecRow, ...]
    exact: int
    lossy: int
    labels: str | None
    task: str | None
    origin: str | None
    classes: tuple[ClassRow, ...]
    unlabelled: int

    @property
    def samples(self) -> int:
        return sum(row.samples for row in self.splits)

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.splits)


def summarise(dataset: Dataset) -> Summary:
    """Count. Memory: a few numbers per sample; time: a second per ten million samples."""
    index = dataset.index
    records, series = index.records, index.series
    patient = series["patient"][records["series"]] if len(records) else np.zeros(0, np.uint32)
    flags = np.asarray(records["flags"])
    labels = dataset.labels
    classes: tuple[ClassRow, ...] = ()
    unlabelled = 0
    if labels is not None:
        classes = tuple(_class_row(dataset, code, patient) for code in range(len(labels.classes)))
        known = ~np.isnan(labels.codes).all(axis=1) if labels.task == "multi" else labels.codes >= 0
        unlabelled = int((~known).sum())
    return Summary(
        splits=tuple(_split_row(dataset, code) for code in range(len(SPLITS))),
        modalities=tuple(_modality_rows(dataset, patient, flags)),
        codecs=tuple(_codec_rows(records)),
        exact=_with(flags, Flag.EXACT),
        lossy=_with(flags, Flag.LOSSY),
        labels=labels.name if labels is not None else None,
        task=labels.task if labels is not None else None,
        origin=labels.origin if labels is not None else None,
        classes=classes,
        unlabelled=unlabelled,
    )


def rows_of_class(dataset: Dataset, code: int) -> NDArray[np.int64]:
    """Rows of the index that carry class `code` of the label set in use (multi-label: value 1), ascending."""
    if dataset.labels is None:
        return np.zeros(0, np.int64)
    codes = dataset.labels.codes
    return np.flatnonzero(codes[:, code] == 1 if dataset.labels.task == "multi" else codes == code)


def _class_row(dataset: Dataset, code: int, patient: NDArray[np.uint32]) -> ClassRow:
    rows = rows_of_class(dataset, code)
    bounds = [dataset.index.ranges[name] for name in SPLITS]
    counts = tuple(int(np.searchsorted(rows, span.stop) - np.searchsorted(rows, span.start)) for span in bounds)
    name = dataset.labels.classes[code] if dataset.labels is not None else ""
    return ClassRow(name, counts, len(np.unique(patient[rows])))


def _split_row(dataset: Dataset, code: int) -> SplitRow:
    shards = dataset.index.table("shards").to_pydict()
    size = [bytes_ for bytes_, split in zip(shards["bytes"], shards["split"], strict=True) if split == code]
    counts = dataset.manifest.splits[SPLITS[code]]
    return SplitRow(SPLITS[code], counts["patients"], counts["series"], counts["samples"], len(size), sum(size))


def _modality_rows(dataset: Dataset, patient: NDArray[np.uint32], flags: NDArray[np.uint8]) -> list[ModalityRow]:
    index = dataset.index
    records, series = index.records, index.series
    modality = series["modality"][records["series"]] if len(records) else np.zeros(0, np.uint8)
    suspect = index.table("samples").column("suspect").to_numpy()
    rows = []
    for code, name in enumerate(index.modalities):
        mine = np.flatnonzero(modality == code)
        part = records[mine]
        shape = part["rows"].astype(np.int64) << 16 | part["cols"]
        sizes, counts = np.unique(shape, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        top = tuple((int(sizes[k] >> 16), int(sizes[k] & 0xFFFF), int(counts[k])) for k in order[:4])
        types = Counter(part["dtype"].tolist()).most_common()
        rows.append(
            ModalityRow(
                name=name or "unknown",
                patients=len(np.unique(patient[mine])),
                series=int((series["modality"] == code).sum()),
                samples=len(mine),
                sizes=top,
                other_sizes=max(len(sizes) - len(top), 0),
                dtypes=tuple((np.dtype(STORED_DTYPES[kind]).name, count) for kind, count in types),
                inexact=len(mine) - _with(flags[mine], Flag.EXACT),
                lossy=_with(flags[mine], Flag.LOSSY),
                inverted=_with(flags[mine], Flag.INVERT),
                padded=_with(flags[mine], Flag.PADDING),
                reducible=int((part["safe_levels"] > 0).sum()),
                suspect=int(np.count_nonzero(suspect[mine])),
            )
        )
    return sorted(rows, key=lambda row: (-row.samples, row.name))


def _codec_rows(records: NDArray[np.void]) -> list[CodecRow]:
    width = np.array([np.dtype(kind).itemsize for kind in STORED_DTYPES], np.int64)
    rows = []
    for code in np.unique(records["codec"]):
        part = records[records["codec"] == code]
        raw = part["rows"].astype(np.int64) * part["cols"] * part["channels"] * width[part["dtype"]]
        rows.append(
            CodecRow(Codec(int(code)).name.lower(), len(part), int(raw.sum()), int(part["length"].sum(dtype=np.int64)))
        )
    return rows


def _with(flags: NDArray[np.uint8], flag: Flag) -> int:
    return int(np.count_nonzero(flags & int(flag)))
