"""One shard: read its slices, encode them, write the tar, and leave what the index needs beside it. Runs in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload.codecs import EXTENSIONS, crc32c, encode
from radload.dataset.files import atomic_file
from radload.dataset.schema import MASK_RECORD, RECORD, SERIES, SERIES_RECORD, key_text
from radload.dataset.segment import ShardPart
from radload.pack.ahead import DeviceFrames, Distrusted, LookAhead
from radload.pack.aside import Aside
from radload.pack.codes import EMPTY, INTERNAL_ERROR, OUT_OF_MEMORY
from radload.pack.colour import to_picture
from radload.pack.empty import is_empty
from radload.pack.fetch import Fetch
from radload.pack.frames import planned_frames
from radload.pack.keep import kept_of_file, samples_schema
from radload.pack.mask_planes import MaskPlanes
from radload.pack.masks import holds_labels
from radload.pack.part import Part, RejectedFrame, part_path, write_part
from radload.pack.plan import FileJob, SeriesJob, ShardJob
from radload.pack.redact import redact
from radload.pack.sample import Found, LutTable, Packed, pack_sample, pixel_hash, series_record, series_row
from radload.pack.shard import TarWriter
from radload.pack.statistics import SeriesStatistics
from radload.pack.suspect import disagreement, extremes_of, mark_constant
from radload.pack.transform import apply_transform, load_transform
from radload.pack.wide import to_sixteen_bits
from radload.pack.worker import Beat
from radload.sources import Refused, Slice


@dataclass(slots=True)
class _Shard:
    """What a shard holds so far."""

    tar: TarWriter
    aside: Aside | None  # hashes and writes go there
    records: list[NDArray[np.void]]
    samples: list[dict[str, object]]
    series_records: list[NDArray[np.void]]
    series: list[dict[str, object]]
    rejects: list[RejectedFrame]
    luts: LutTable
    masks: list[tuple[int, int, int]]  # MASK_RECORD of each sample
    mask_rows: list[int]  # catalog row of each sample's mask, -1 without
    pixels: int = 0  # bytes of stored values
    overlaps: int = 0  # pixels of masks that several segments claim
    frames: int = 0  # worked on


def pack_shard(job: ShardJob, beat: Beat, frames: DeviceFrames | None = None) -> None:
    """Write `job.out`/`job.name` and its part; a shard that ends up empty is not kept, its part is.

    Args:
        beat: told the catalog row of each file before it is read, -1 when files are done, and the frames done so far.
        frames: a device that decodes what it can; the same bytes are written.

    Raises:
        Distrusted: the device has decoded a frame wrongly, and may have before: to be packed again without it.
        OSError: the output cannot be written. What a source file does ends as a reject.
    """
    path = job.out / job.name
    with atomic_file(path, name_lasts=False) as file:  # of a shard whose name was lost the part is not believed
        content = fill_shard(job, file, beat, frames)
    if not len(content.shard.records):
        path.unlink()
    write_part(part_path(job.out, job.stem), content)


def fill_shard(
    job: ShardJob,
    file: BinaryIO,
    beat: Beat = lambda item, done: None,
    frames: DeviceFrames | None = None,
) -> Part:
    """Write the tar of `job` to `file`, and return what the index needs of it; `beat`, `frames` and errors as in `pack_shard`."""
    if not job.spare:
        return _fill(job, file, beat, frames, None)
    with Aside() as aside:
        return _fill(job, file, beat, frames, aside)


def _fill(job: ShardJob, file: BinaryIO, beat: Beat, frames: DeviceFrames | None, aside: Aside | None) -> Part:
    ahead = None if frames is None else LookAhead(job, frames)
    shard = _Shard(TarWriter(file, aside), aside, [], [], [], [], [], LutTable(), [], [])
    sources = [one.header.source for series in job.series for one in series.files if one.row not in job.skip]
    with Fetch(job.root, sources) as fetch:
        for series in job.series:
            _pack_series(job, series, shard, beat, ahead, fetch)
            if frames is not None and frames.tainted:
                raise Distrusted(
                    f"{job.name} holds frames that a GPU has decoded wrongly: pack it again without --decode-device"
                )
    digest = shard.tar.finish()
    part = ShardPart(
        job.name,
        job.split,
        shard.tar.size,
        digest,
        np.array(shard.records, RECORD),
        pa.Table.from_pylist(shard.samples, schema=samples_schema(job.kept)),
        np.array(shard.series_records, SERIES_RECORD),
        [str(row["modality"]) for row in shard.series],
        pa.Table.from_pylist(shard.series, schema=SERIES),
        shard.luts.arrow(),
        np.array(shard.masks, MASK_RECORD),
    )
    rows = np.array(shard.mask_rows, np.int64)
    return Part(part, tuple(shard.rejects), shard.pixels, job.digest, rows, shard.overlaps)


def _pack_series(
    job: ShardJob, series: SeriesJob, shard: _Shard, beat: Beat, ahead: LookAhead | None, fetch: Fetch
) -> None:
    """Slices are written in order of place; one that comes early waits, encoded."""
    first_row = len(shard.records)
    attributes = series.files[0].header.attributes
    statistics = SeriesStatistics(attributes, shard.aside)
    masks = MaskPlanes(job, series, lambda row: beat(row, shard.frames))
    early: dict[int, Packed | None] = {}
    place = 0
    for file in series.files:
        beat(file.row, shard.frames)
        if file.row not in job.skip:
            fetch.next()
        kept = kept_of_file(job.root, file.header, job.kept, read=file.row not in job.skip)
        decoded = None if ahead is None else ahead.of(file.row, lambda item: beat(item, shard.frames))
        for frame, outcome in planned_frames(job, file.row, file.header, file.chosen, decoded):
            packed: Packed | Refused | None = (
                _pack(job, series, file, outcome, statistics, shard, masks, kept[frame])
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
    shard.rejects += masks.rejects
    shard.overlaps += masks.overlaps
    count = len(shard.records) - first_row
    if count:
        found = statistics.result()
        masked = max(shard.mask_rows[first_row:]) >= 0
        shard.series_records.append(series_record(series, first_row, count, attributes.units, found))
        shard.series.append(series_row(series, attributes, found, masked))


def _pack(
    job: ShardJob,
    series: SeriesJob,
    file: FileJob,
    image: Slice,
    statistics: SeriesStatistics,
    shard: _Shard,
    masks: MaskPlanes,
    kept: dict[str, Any],
) -> Packed | Refused:
    try:
        extremes = extremes_of(image.stored)
        suspect, whole = disagreement(image, extremes), image
        image = redact(whole, job.redactions.get(file.row))
        crop = image.cropped
        if job.transform is not None:
            image = apply_transform(load_transform(job.transform), image)
        picture = to_picture(image, job.color)
        if job.drop_empty and is_empty(picture.values, picture.padding):
            return Refused(EMPTY, "nothing but one value, or padding")
        scaled = to_sixteen_bits(image, picture, job.wide)
        image, picture = scaled.image, scaled.picture
        if picture.values is not whole.stored or job.transform is not None:  # a transform may work in place
            extremes = extremes_of(picture.values)
        averaging = image.modality_lut is None and not holds_labels(file.header)
        values = picture.values
        hashed = None if shard.aside is None else shard.aside.call(lambda: pixel_hash(values))
        encoded = encode(values, job.codec, averaging=averaging, padding=picture.padding)
        place, attributes = file.places[image.frame], series.files[0].header.attributes
        digest = pixel_hash(values) if hashed is None else hashed.result()
        found = Found(scaled.max_error, suspect, extremes, digest)
        packed = pack_sample(image, picture, encoded, series, place, attributes, kept, found)
        statistics.add(image, values, picture.padding)
        packed.mask = masks.of(file, whole, crop)
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
    if packed.mask is None:
        shard.masks.append((0, 0, 0))
        shard.mask_rows.append(-1)
    else:
        offset = shard.tar.add(f"{name}.mask.npy", packed.mask.data)
        shard.masks.append((offset, len(packed.mask.data), crc32c(packed.mask.data)))
        shard.mask_rows.append(packed.mask.row)
    packed.record["series"] = len(shard.series)
    modality_lut, voi_lut = (shard.luts.row(lut) for lut in packed.luts)
    real_world = [
        {**mapping, "lut": shard.luts.row(lut)}
        for mapping, lut in zip(packed.row["real_world"], packed.real_world_luts, strict=True)
    ]
    shard.samples.append({**packed.row, "modality_lut": modality_lut, "voi_lut": voi_lut, "real_world": real_world})
    shard.records.append(packed.record)
