"""Small packed data sets, written straight through codecs and segment writer: the fastest way to odd ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radload import codecs
from radload.codecs.checksum import prefix_crcs
from radload.dataset.index import open_index, segment_folder
from radload.dataset.labels import LabelSet, write_labels
from radload.dataset.manifest import Manifest, read_manifest, write_manifest
from radload.dataset.schema import (
    LUTS,
    MASK_RECORD,
    PATIENTS,
    RECORD,
    SAMPLES,
    SERIES,
    SERIES_RECORD,
    SPLITS,
    STORED_DTYPES,
    STUDIES,
    Codec,
    Flag,
)
from radload.dataset.segment import ShardPart, file_crc, write_segment
from radload.sources.slice import Units, VoiFunction


@dataclass
class Image:
    """One sample to be: stored values and what the record says about them."""

    stored: NDArray[Any]
    slope: float = 1.0
    intercept: float = 0.0
    voi: VoiFunction = VoiFunction.NONE
    centre: float = np.nan
    width: float = np.nan
    invert: bool = False
    padding: tuple[int, int] | None = None
    modality_lut: tuple[int, list[float]] | None = None
    voi_lut: tuple[int, list[float]] | None = None
    averaging: bool = True
    codec: str = "htj2k"
    view: str | None = None
    spacing: tuple[float, float] = (0.5, 0.5)
    ratio: bool = False  # the spacing is only a ratio
    mask: NDArray[Any] | None = None
    position: tuple[float, float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    laterality: str | None = None


@dataclass
class Series:
    """Images of one series; percentiles are of its modality values."""

    images: list[Image]
    modality: str = "CT"
    units: Units = Units.HU
    split: str = "train"
    body_part: str | None = None
    echo_time: float | None = None
    statistics: dict[str, float] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)  # of series.arrow


def write_dataset(root: Path, series: list[Series], labels: LabelSet | None = None) -> Path:
    """Write a data set of one shard per split; patient i is series i."""
    parts, key = [], 0
    for split in SPLITS:
        chosen = [(i, s) for i, s in enumerate(series) if s.split == split]
        if chosen:
            part, masks, key = _part(root, split, chosen, key)
            parts.append((part, masks))
    count = len(series)
    patients = pa.Table.from_pylist(
        [{"pseudonym": f"p{i}", "split": SPLITS.index(s.split), "known": True} for i, s in enumerate(series)], PATIENTS
    )
    studies = pa.Table.from_pylist([{"pseudonym": f"s{i}", "patient": i} for i in range(count)], STUDIES)
    summary = write_segment(root / segment_folder(0), 0, [part for part, _ in parts], patients, studies)
    masks = np.concatenate([m for _, m in parts])
    if masks["length"].any():
        rewrite(root, "masks.bin", masks.tobytes())
    manifest = Manifest(
        generation=0, generations=[0], fingerprint=summary.fingerprint, samples=summary.samples, series=summary.series,
        patients=count, unknown_patients=0, splits=summary.splits, split_rule={}, patient_rule="", codec="htj2k",
        key_id="", tools={}, source={},
    )  # fmt: skip
    write_manifest(root, manifest)
    if labels is not None:
        keys = np.arange(summary.samples, dtype=np.uint64)
        ranges, first = {}, 0
        for split in SPLITS:
            ranges[split] = range(first, first := first + summary.splits[split]["samples"])
        write_labels(root, labels, keys, ranges)
    return root


def _part(
    root: Path, split: str, series: list[tuple[int, Series]], key: int
) -> tuple[ShardPart, NDArray[np.void], int]:
    name = f"{split}/000000.tar"
    (root / split).mkdir(parents=True)
    records, samples, luts, series_records, series_rows = [], [], [], [], []
    masks: list[NDArray[np.void]] = []
    with (root / name).open("wb") as shard:
        for local, (number, one) in enumerate(series):
            series_records.append(_series_record(one, number, len(records)))
            row = {f.name: None for f in SERIES} | {"pseudonym": f"e{number}", "modality": one.modality}
            row |= {"body_part": one.body_part, "echo_time": one.echo_time, "units": int(one.units), "format": "dicom"}
            series_rows.append(row | one.columns)
            for position, image in enumerate(one.images):
                shard.write(bytes(512))  # where a tar header would stand
                encoded = codecs.encode(image.stored, image.codec, averaging=image.averaging, padding=image.padding)
                record = _record(image, encoded, key, shard.tell(), local)
                shard.write(encoded.data + bytes(-len(encoded.data) % 512))
                masks.append(np.zeros(1, MASK_RECORD))
                if image.mask is not None:
                    shard.write(bytes(512))
                    labels = codecs.encode(image.mask, "raw")
                    masks[-1][0] = (shard.tell(), len(labels.data), labels.level_crc[0])
                    shard.write(labels.data + bytes(-len(labels.data) % 512))
                references = {}
                for column, lut in (("modality_lut", image.modality_lut), ("voi_lut", image.voi_lut)):
                    references[column] = None if lut is None else len(luts)
                    if lut is not None:
                        luts.append({"first": lut[0], "values": lut[1]})
                digest = hashlib.blake2b(image.stored.tobytes() + bytes([key % 256]), digest_size=16).digest()
                sample = {f.name: None for f in SAMPLES} | references
                sample |= {"image_position": image.position, "image_orientation": image.orientation}
                samples.append(sample | {"key": key, "position": position, "view": image.view, "pixel_hash": digest})
                samples[-1]["laterality"] = image.laterality
                records.append(record)
                key += 1
    part = ShardPart(
        name=name,
        split=SPLITS.index(split),
        size=(root / name).stat().st_size,
        sha256=hashlib.sha256((root / name).read_bytes()).digest(),
        records=np.concatenate(records),
        samples=pa.Table.from_pylist(samples, SAMPLES),
        series_records=np.concatenate(series_records),
        modalities=[s.modality for _, s in series],
        series=pa.Table.from_pylist(series_rows, SERIES),
        luts=pa.Table.from_pylist(luts, LUTS) if luts else LUTS.empty_table(),
    )
    return part, np.concatenate(masks), key


def _record(image: Image, encoded: codecs.Encoded, key: int, offset: int, series: int) -> NDArray[np.void]:
    record = np.zeros(1, RECORD)
    stored = image.stored
    flags = Flag.EXACT | (Flag.INVERT * image.invert) | (Flag.PADDING * (image.padding is not None))
    flags |= Flag.RATIO * image.ratio
    flags |= (Flag.MODALITY_LUT * (image.modality_lut is not None)) | (Flag.VOI_LUT * (image.voi_lut is not None))
    values = {
        "key": key, "offset": offset, "slope": image.slope, "intercept": image.intercept, "length": len(encoded.data),
        "series": series, "bias": encoded.bias, "rows": stored.shape[0], "cols": stored.shape[1], "spacing_row": image.spacing[0],
        "spacing_col": image.spacing[1], "window_centre": image.centre, "window_width": image.width,
        "padding_first": image.padding[0] if image.padding else 0, "padding_last": image.padding[1] if image.padding else 0,
        "codec": int(Codec(encoded.codec)), "dtype": STORED_DTYPES.index(f"{stored.dtype.kind}{stored.dtype.itemsize}"),
        "channels": 3 if stored.ndim == 3 else 1, "flags": int(flags), "voi": int(image.voi),
        "safe_levels": encoded.safe_levels, "levels": encoded.levels,
    }  # fmt: skip
    for name, value in values.items():
        record[name] = value
    record["level_end"][0, : len(encoded.level_end)] = encoded.level_end
    record["level_crc"][0, : len(encoded.level_crc)] = encoded.level_crc
    return record


def modality_values(image: Image) -> NDArray[np.float64]:
    """Values after the modality step."""
    if image.modality_lut is not None:
        first, values = image.modality_lut
        return np.asarray(values)[np.clip(image.stored.astype(np.int64) - first, 0, len(values) - 1)]
    return image.stored.astype(np.float64) * image.slope + image.intercept


def _series_record(series: Series, number: int, first: int) -> NDArray[np.void]:
    values = np.concatenate([modality_values(image).ravel() for image in series.images])
    values = values[np.isfinite(values)]
    record = np.zeros(1, SERIES_RECORD)
    record["first_row"], record["count"] = first, len(series.images)
    record["patient"] = record["study"] = number
    record["units"] = int(series.units)
    names = {"minimum": 0, "p005": 0.5, "p01": 1, "p50": 50, "p99": 99, "p995": 99.5, "maximum": 100}
    for name, percent in names.items():
        record[name] = np.percentile(values, percent)
    record["mean"], record["std"] = values.mean(), values.std()
    for name, value in series.statistics.items():
        record[name] = value
    return record


def rewrite(root: Path, name: str, content: bytes) -> None:
    """Replace an index file and its checksum in segment.json: what a defect of a writer would leave, not damage."""
    folder = root / segment_folder(0)
    (folder / name).write_bytes(content)
    summary = json.loads((folder / "segment.json").read_text())
    summary["files"][name] = {"bytes": len(content), "crc32c": file_crc(folder / name)}
    (folder / "segment.json").write_text(json.dumps(summary))


def break_streams(root: Path, rows: set[int]) -> None:
    """Spoil streams of an HTJ2K data set so that decoders refuse them, under checksums that are right: a defect of a writer."""
    manifest = read_manifest(root)
    index = open_index(root, manifest)
    records = index.records.copy()
    for row in rows:
        record = records[row]
        path, offset, length = root / index.shard_names[record["shard"]], int(record["offset"]), int(record["length"])
        content = bytearray(path.read_bytes())
        stream = content[offset : offset + length]
        at = stream.index(b"\xff\x5c") + 5  # the first exponent of QCD: more bit planes than there are
        stream[at] ^= 0xFF
        content[offset : offset + length] = stream
        path.write_bytes(content)
        ends = [length, *(int(end) for end in record["level_end"])]
        crcs = prefix_crcs(bytes(stream), ends)
        record["level_crc"] = np.where(record["level_crc"] == 0, 0, crcs)
    rewrite(root, "records.bin", records.tobytes())


def ct_slice(seed: int, rows: int = 64, cols: int = 64, noise: float = 35.0) -> NDArray[np.int16]:
    """A body of soft tissue with lungs and a spine in air, HU + 1024, with noise: int16."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :cols].astype(np.float64)
    y, x = y / rows - 0.5, x / cols - 0.5
    hu = np.full((rows, cols), -1000.0)
    hu[(x / 0.45) ** 2 + (y / 0.35) ** 2 < 1] = rng.uniform(20, 60)
    for side in (-1, 1):
        hu[((x - side * 0.2) / 0.14) ** 2 + ((y + 0.02) / 0.22) ** 2 < 1] = rng.uniform(-880, -800)
    hu[(x / 0.05) ** 2 + ((y - 0.24) / 0.06) ** 2 < 1] = rng.uniform(300, 900)
    return (hu + rng.normal(0, noise, hu.shape) + 1024).clip(0, 4095).astype(np.int16)


def ct_series(seed: int, count: int, rows: int = 64, cols: int = 64, split: str = "train", **image: Any) -> Series:
    """A series of `count` CT slices in HU."""
    images = [Image(ct_slice(seed * 1000 + i, rows, cols), intercept=-1024.0, **image) for i in range(count)]
    return Series(images, split=split, body_part="CHEST")
