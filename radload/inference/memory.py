"""A data set in memory: the pack's own shard writer and the loader's own index, without a file on a disk."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.codecs import CodecName
from radload.dataset.index import Index
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.inference.files import Images
from radload.loading.preparation import Preparation
from radload.pack.colour import ColourMode
from radload.pack.job import fill_shard
from radload.pack.options import MEBIBYTE
from radload.pack.patients import find_patients
from radload.pack.plan import SeriesJob, ShardJob, ShardOptions, make_plan
from radload.pack.transform import load_transform
from radload.pack.watched import Reading, unwatched
from radload.pack.wide import WideMode

T = TypeVar("T")

_SHARD: Final = (1 << 20) * MEBIBYTE  # one shard, whatever the size
_DESCRIPTORS: Final = Path("/proc/self/fd")


@dataclass(frozen=True)
class MemoryIndex(Index):
    """An index whose tables lie in memory."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)

    def table(self, name: str) -> pa.Table:
        return self.tables[name]


@dataclass(frozen=True, slots=True)
class Packed:
    """The images as a data set.

    Attributes:
        index: its rows; files: its only shard.
        rows: (frames,) rows of the index in the order asked for.
        jobs: what the pack planned; the rows of series.
    """

    index: MemoryIndex
    files: ShardFiles
    rows: NDArray[np.int64]
    jobs: tuple[SeriesJob, ...]


@contextmanager
def packed(images: Images, preparation: Preparation, reading: Reading = unwatched) -> Iterator[Packed]:
    """Pack `images` into memory, as `radload pack` with the preparation's options does; the memory is given back at the end.

    Args:
        reading: told of each file, and of each of its frames.

    Raises:
        UsageError: a frame that cannot be packed.
    """
    job = _plan(images, preparation)

    def beat(row: int, _: int) -> None:
        reading(str(images.root / images.headers[row].source) if row >= 0 else "")

    with os.fdopen(os.memfd_create("radload"), "w+b") as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parsers and codecs: they quote values of the file
            part = fill_shard(job, file, beat)
            reading("")
        file.flush()
        for reject in part.rejects:
            header = images.headers[reject.row]
            frame = f", frame {reject.frame}," if header.frames > 1 else ""
            raise UsageError(
                f"{images.root / header.source}{frame} cannot be prepared: {reject.reason} ({reject.code})"
            )
        shard = part.shard
        modalities = tuple(dict.fromkeys(shard.modalities))
        series = shard.series_records.copy()
        series["modality"] = [modalities.index(modality) for modality in shard.modalities]
        tables = {"samples": shard.samples, "series": shard.series, "luts": shard.luts}
        ranges = {"train": range(len(shard.records))}
        index = MemoryIndex(Path(), shard.records, series, modalities, ranges, tables=tables)
        with ShardFiles(_DESCRIPTORS, [str(file.fileno())]) as files:
            yield Packed(index, files, _rows(images, job, shard.records["key"]), job.series)


def _plan(images: Images, preparation: Preparation) -> ShardJob:
    codec: CodecName = _one_of(preparation.codec, get_args(CodecName), "codec")
    color: ColourMode = _one_of(preparation.color, get_args(ColourMode), "color")
    wide: WideMode = _one_of(preparation.wide, get_args(WideMode), "wide")
    if preparation.transform is not None:
        load_transform(preparation.transform)
    options = ShardOptions(
        images.root,
        Path(),
        codec,
        color,
        preparation.axis,
        _SHARD,
        wide,
        transform=preparation.transform,
    )
    headers = images.headers
    patients = find_patients(headers, None)  # tools that de-identify give one series UID to many
    splits = dict.fromkeys((patient.identity for patient in patients), 0)
    plan = make_plan(headers, patients, splits, 0, options, lambda domain, identity: "")
    job = plan.jobs[0]
    return replace(job, redactions=images.redactions)


def _one_of(value: str, allowed: tuple[T, ...], name: str) -> T:
    for one in allowed:
        if one == value:
            return one
    raise UsageError(f"{name} {value!r} of the preparation is unknown: choose one of {', '.join(map(str, allowed))}")


def _rows(images: Images, job: ShardJob, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Files in the order given, their frames in the order of the file; of a folder series by series, each in its own order."""
    order: list[tuple[tuple[int, ...], int]] = []
    first = {series.first_key: min(file.row for file in series.files) for series in job.series}
    for series in job.series:
        for file in series.files:
            argument = images.argument[file.row]
            for frame, place in enumerate(file.places):
                in_folder = (first[series.first_key], series.first_key, place)
                rank = in_folder if images.folder[argument] else (file.row, frame)
                order.append(((argument, *rank), series.first_key + place))
    wanted = np.array([key for _, key in sorted(order)], np.uint64)
    return np.searchsorted(keys, wanted).astype(np.int64)
