"""One shard: read its slices, encode them, write the tar, and leave what the index needs beside it. Runs in a worker process."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.codecs import EXTENSIONS, encode
from radload.dataset.files import atomic_file
from radload.dataset.schema import RECORD, SAMPLES, SERIES, SERIES_RECORD, key_text
from radload.dataset.segment import ShardPart
from radload.pack.codes import INTERNAL_ERROR, MISSING_FRAME, UNREADABLE, WORKER_DIED
from radload.pack.colour import to_picture
from radload.pack.part import Part, RejectedFrame, part_path, progress_path, write_part
from radload.pack.plan import FileJob, SeriesJob, ShardJob
from radload.pack.redact import redact
from radload.pack.sample import LutTable, Packed, pack_sample, series_record, series_row
from radload.pack.shard import TarWriter
from radload.pack.statistics import SeriesStatistics
from radload.sources import NotAnImage, Refused, Slice, read

_PROGRESS: Final = struct.Struct("<qq")  # catalog row being read, frames done


@dataclass(slots=True)
class _Shard:
    """What a shard holds so far."""

    tar: TarWriter
    records: list[NDArray[np.void]]
    samples: list[dict[str, object]]
    series_records: list[NDArray[np.void]]
    series: list[dict[str, object]]
    rejects: list[RejectedFrame]
    luts: LutTable
    pixels: int = 0  # bytes of stored values


def pack_shard(job: ShardJob) -> None:
    """Write `job.out`/`job.name` and its part; a shard that ends up empty is not kept, its part is.

    Raises:
        OSError: the output cannot be written. What a source file does ends as a reject.
    """
    path = job.out / job.name
    with _progress(job) as progress, atomic_file(path) as file:
        shard = _Shard(TarWriter(file), [], [], [], [], [], LutTable())
        for series in job.series:
            _pack_series(job, series, shard, progress)
        digest = shard.tar.finish()
    if not shard.records:
        path.unlink()
    part = ShardPart(
        job.name,
        job.split,
        shard.tar.size,
        digest,
        np.array(shard.records, RECORD),
        pa.Table.from_pylist(shard.samples, schema=SAMPLES),
        np.array(shard.series_records, SERIES_RECORD),
        [str(row["modality"]) for row in shard.series],
        pa.Table.from_pylist(shard.series, schema=SERIES),
        shard.luts.arrow(),
    )
    write_part(part_path(job.out, job.stem), Part(part, tuple(shard.rejects), shard.pixels))


def _pack_series(job: ShardJob, series: SeriesJob, shard: _Shard, progress: Progress) -> None:
    """Slices are written in order of place; one that comes early waits, encoded."""
    first_row = len(shard.records)
    attributes = series.files[0].header.attributes
    statistics = SeriesStatistics()
    early: dict[int, Packed | None] = {}
    place = 0
    for file in series.files:
        progress.reading(file.row)
        for frame, outcome in _frames(job, file):
            packed: Packed | Refused | None = (
                _pack(job, series, file.places[frame], outcome, statistics, shard)
                if isinstance(outcome, Slice)
                else outcome
            )
            if isinstance(packed, Refused):
                shard.rejects.append(RejectedFrame(file.row, frame, packed.code, packed.reason))
                packed = None
            early[file.places[frame]] = packed
            progress.done()
            while place in early:
                ready = early.pop(place)
                place += 1
                if ready is not None:
                    _write(ready, shard)
    count = len(shard.records) - first_row
    if count:
        shard.series_records.append(series_record(series, first_row, count, attributes.units, statistics.result()))
        shard.series.append(series_row(series, attributes))


def _pack(
    job: ShardJob, series: SeriesJob, place: int, image: Slice, statistics: SeriesStatistics, shard: _Shard
) -> Packed | Refused:
    try:
        picture = to_picture(image, job.color)
        encoded = encode(picture.values, job.codec, averaging=image.modality_lut is None, padding=picture.padding)
        packed = pack_sample(image, picture, encoded, series, place, series.files[0].header.attributes)
        statistics.add(image, picture.values, picture.padding)
    except Refused as refused:
        return refused
    except Exception as error:  # noqa: BLE001 - one slice never stops a run; only the type is kept, the text may quote values
        return Refused(INTERNAL_ERROR, type(error).__name__)
    shard.pixels += picture.values.nbytes
    return packed


def _write(packed: Packed, shard: _Shard) -> None:
    name = key_text(int(packed.record["key"]))
    packed.record["offset"] = shard.tar.add(f"{name}.{EXTENSIONS[packed.encoded.codec]}", packed.encoded.data)
    shard.tar.add(f"{name}.json", packed.text)
    packed.record["series"] = len(shard.series)
    modality_lut, voi_lut = (shard.luts.row(lut) for lut in packed.luts)
    real_world = [
        {**mapping, "lut": shard.luts.row(lut)}
        for mapping, lut in zip(packed.row["real_world"], packed.real_world_luts, strict=True)
    ]
    shard.samples.append({**packed.row, "modality_lut": modality_lut, "voi_lut": voi_lut, "real_world": real_world})
    shard.records.append(packed.record)


def _frames(job: ShardJob, file: FileJob) -> Iterator[tuple[int, Slice | Refused]]:
    """Each planned frame once: its slice, or why there is none."""
    missing = dict.fromkeys(range(file.header.frames))
    reason = Refused(MISSING_FRAME, "the header announces more frames than the file yields")
    if file.row in job.skip:
        reason = Refused(WORKER_DIED, "a worker process ended while it read this file, twice")
    else:
        try:
            for item in read(Path(file.header.source), file.header, job.root, job.axis):
                frame, outcome = (item.frame, item) if isinstance(item, Slice) else item
                if frame in missing:  # what a header does not announce has no key
                    redacted = redact(outcome, job.redactions.get(file.row))
                    del missing[frame]
                    yield frame, redacted
        except Refused as refused:
            reason = refused
        except NotAnImage:
            reason = Refused("bad-header", "the file is no longer the image that it was when it was scanned")
        except OSError as error:
            reason = Refused(UNREADABLE, error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - one file never stops a run; only the type is kept, the text may hold a path
            reason = Refused(INTERNAL_ERROR, type(error).__name__)
    for frame in missing:
        yield frame, reason


class Progress:
    """Tells the main process, through a small file, which catalog row is being read and how many frames are done."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._row, self._frames = descriptor, -1, 0

    def reading(self, row: int) -> None:
        """A file is about to be read: if the process ends now, this row did it."""
        self._row = row
        self._tell()

    def done(self) -> None:
        """One more frame is done."""
        self._frames += 1
        self._tell()

    def _tell(self) -> None:
        os.pwrite(self._descriptor, _PROGRESS.pack(self._row, self._frames), 0)


def read_progress(out: Path, stem: str) -> tuple[int, int]:
    """(catalog row being read or -1, frames done) of the job `stem`; (-1, 0) where it is not under way."""
    try:
        data = progress_path(out, stem).read_bytes()
    except FileNotFoundError:
        return -1, 0
    return _PROGRESS.unpack(data) if len(data) == _PROGRESS.size else (-1, 0)


@contextmanager
def _progress(job: ShardJob) -> Iterator[Progress]:
    path = progress_path(job.out, job.stem)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        yield Progress(descriptor)
        path.unlink()
    finally:
        os.close(descriptor)
