"""One shard: read its slices, encode them, write the tar, and leave what the index needs beside it. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.codecs import EXTENSIONS, encode
from radload.dataset.files import atomic_file
from radload.dataset.schema import RECORD, SAMPLES, SERIES, SERIES_RECORD, key_text
from radload.dataset.segment import ShardPart
from radload.pack.codes import DECODER_CRASHED, INTERNAL_ERROR, MISSING_FRAME, OUT_OF_MEMORY, TIMEOUT, UNREADABLE
from radload.pack.colour import to_picture
from radload.pack.part import Part, RejectedFrame, part_path, write_part
from radload.pack.plan import FileJob, SeriesJob, ShardJob
from radload.pack.sample import LutTable, Packed, pack_sample, series_record, series_row
from radload.pack.shard import TarWriter
from radload.pack.statistics import SeriesStatistics
from radload.pack.suspect import disagreement, mark_constant
from radload.pack.wide import to_sixteen_bits
from radload.pack.worker import Beat
from radload.sources import NotAnImage, Refused, Slice, read

_COST_A_WORKER = {
    DECODER_CRASHED: "a worker process ended while it read this file, twice",
    TIMEOUT: "no frame of this file came out within the time allowed",
}


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
    frames: int = 0  # worked on


def pack_shard(job: ShardJob, beat: Beat) -> None:
    """Write `job.out`/`job.name` and its part; a shard that ends up empty is not kept, its part is.

    Args:
        beat: told the catalog row of each file before it is read, -1 when files are done, and the frames done so far.

    Raises:
        OSError: the output cannot be written. What a source file does ends as a reject.
    """
    path = job.out / job.name
    with atomic_file(path) as file:
        shard = _Shard(TarWriter(file), [], [], [], [], [], LutTable())
        for series in job.series:
            _pack_series(job, series, shard, beat)
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
    write_part(part_path(job.out, job.stem), Part(part, tuple(shard.rejects), shard.pixels, job.digest))


def _pack_series(job: ShardJob, series: SeriesJob, shard: _Shard, beat: Beat) -> None:
    """Slices are written in order of place; one that comes early waits, encoded."""
    first_row = len(shard.records)
    attributes = series.files[0].header.attributes
    statistics = SeriesStatistics(attributes)
    early: dict[int, Packed | None] = {}
    place = 0
    for file in series.files:
        beat(file.row, shard.frames)
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
            shard.frames += 1
            beat(file.row, shard.frames)
            while place in early:
                ready = early.pop(place)
                place += 1
                if ready is not None:
                    _write(ready, shard)
    beat(-1, shard.frames)
    mark_constant(shard.samples[first_row:])
    count = len(shard.records) - first_row
    if count:
        found = statistics.result()
        shard.series_records.append(series_record(series, first_row, count, attributes.units, found))
        shard.series.append(series_row(series, attributes, found))


def _pack(
    job: ShardJob, series: SeriesJob, place: int, image: Slice, statistics: SeriesStatistics, shard: _Shard
) -> Packed | Refused:
    try:
        suspect = disagreement(image)
        scaled = to_sixteen_bits(image, to_picture(image, job.color), job.wide)
        image, picture = scaled.image, scaled.picture
        encoded = encode(picture.values, job.codec, averaging=image.modality_lut is None, padding=picture.padding)
        packed = pack_sample(
            image, picture, encoded, series, place, series.files[0].header.attributes, scaled.max_error, suspect
        )
        statistics.add(image, picture.values, picture.padding)
    except Refused as refused:
        return refused
    except MemoryError:
        return Refused(OUT_OF_MEMORY, "packing the slice takes more memory than a worker may have")
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
    shard.samples.append({**packed.row, "modality_lut": modality_lut, "voi_lut": voi_lut})
    shard.records.append(packed.record)


def _frames(job: ShardJob, file: FileJob) -> Iterator[tuple[int, Slice | Refused]]:
    """Each planned frame once: its slice, or why there is none."""
    missing = dict.fromkeys(range(file.header.frames))
    reason = Refused(MISSING_FRAME, "the header announces more frames than the file yields")
    if file.row in job.skip:
        reason = Refused(job.skip[file.row], _COST_A_WORKER[job.skip[file.row]])
    else:
        try:
            for item in read(Path(file.header.source), file.header, job.root, job.axis):
                frame, outcome = (item.frame, item) if isinstance(item, Slice) else item
                if frame in missing:  # what a header does not announce has no key
                    del missing[frame]
                    yield frame, outcome
        except Refused as refused:
            reason = refused
        except NotAnImage:
            reason = Refused("bad-header", "the file is no longer the image that it was when it was scanned")
        except MemoryError:
            reason = Refused(OUT_OF_MEMORY, "reading the file takes more memory than a worker may have")
        except OSError as error:
            reason = Refused(UNREADABLE, error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - one file never stops a run; only the type is kept, the text may hold a path
            reason = Refused(INTERNAL_ERROR, type(error).__name__)
    for frame in missing:
        yield frame, reason
