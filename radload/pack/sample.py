"""A packed slice as rows of the index and as KEY.json. Both are allow-lists: what is not named here never leaves the source.

What may be named is decided in `attributes`; a row that a change here adds and that does not stand there is dropped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from radload.codecs import Encoded
from radload.dataset.files import finite
from radload.dataset.schema import LEVELS, LUTS, RECORD, SERIES_RECORD, STORED_DTYPES, Codec, Flag, key_text
from radload.pack.attributes import permitted
from radload.pack.colour import Picture
from radload.pack.mask_planes import Mask
from radload.pack.plan import SeriesJob
from radload.pack.statistics import Statistics
from radload.pack.suspect import Extremes
from radload.pack.terms import LATERALITIES, VIEWS, term
from radload.sources import Lut, RealWorld, SeriesAttributes, Slice, Units, VoiFunction, WindowExplanation

_INT32: Final = np.iinfo(np.int32)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_EXACT, _LOSSY, _INVERT, _PADDING, _MODALITY_LUT, _VOI_LUT, _RATIO = map(
    int, (Flag.EXACT, Flag.LOSSY, Flag.INVERT, Flag.PADDING, Flag.MODALITY_LUT, Flag.VOI_LUT, Flag.RATIO)
)  # arithmetic with members of an IntFlag takes microseconds


@dataclass(slots=True)
class Packed:
    """One slice, ready to be written: its member, its row of RECORD (offset, shard and split come later) and of SAMPLES, its JSON."""

    encoded: Encoded
    record: NDArray[np.void]  # shape ()
    row: dict[str, Any]
    text: bytes
    luts: tuple[Lut | None, Lut | None]  # modality, VOI
    real_world_luts: tuple[Lut | None, ...]  # of row["real_world"], entry by entry
    mask: Mask | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found out about a picture. max_error: as in `to_sixteen_bits`; suspect: bits of Suspect."""

    max_error: float | None
    suspect: int
    extremes: Extremes | None  # of its values
    pixel_hash: bytes


@dataclass(slots=True)
class LutTable:
    """The look-up tables of a shard, each once."""

    _rows: dict[tuple[int, int | None, bytes], int] = field(default_factory=dict)
    _values: list[dict[str, Any]] = field(default_factory=list)

    def row(self, lut: Lut | None) -> int | None:
        """Row of a table, None for none."""
        if lut is None:
            return None
        values = np.asarray(lut.values, np.float64)
        row = self._rows.setdefault((lut.first, lut.bits, values.tobytes()), len(self._values))
        if row == len(self._values):
            self._values.append({"first": lut.first, "values": values.tolist(), "bits": lut.bits})
        return row

    def arrow(self) -> pa.Table:
        """LUTS table."""
        return pa.Table.from_pylist(self._values, schema=LUTS)


def pack_sample(
    image: Slice,
    picture: Picture,
    encoded: Encoded,
    series: SeriesJob,
    place: int,
    attributes: SeriesAttributes,
    kept: Mapping[str, Any],
    found: Found,
) -> Packed:
    """Rows and JSON of the slice that stands at `place` of `series`.

    Args:
        kept: keyword -> value of what --keep and --retain add.
    """
    values, key = picture.values, series.first_key + place
    flags = _flags(image, picture)
    record = np.zeros((), RECORD)
    record["key"] = key
    record["slope"], record["intercept"] = image.slope, image.intercept
    record["length"] = len(encoded.data)
    record["bias"] = encoded.bias
    record["rows"], record["cols"] = values.shape[:2]
    record["channels"] = 1 if values.ndim == 2 else values.shape[2]
    record["spacing_row"], record["spacing_col"] = image.spacing or (np.nan, np.nan)
    record["window_centre"] = _float32(image.centres[0]) if image.centres else np.nan
    record["window_width"] = _float32(image.widths[0]) if image.widths else np.nan
    if flags & _PADDING and picture.padding is not None:
        record["padding_first"], record["padding_last"] = picture.padding
    record["codec"], record["dtype"] = encoded.codec, STORED_DTYPES.index(f"{values.dtype.kind}{values.dtype.itemsize}")
    record["flags"], record["voi"] = flags, image.voi_function
    record["safe_levels"], record["levels"] = encoded.safe_levels, encoded.levels
    record["level_end"] = [*encoded.level_end, *[0] * (LEVELS - len(encoded.level_end))]
    record["level_crc"] = [*encoded.level_crc, *[0] * (LEVELS + 1 - len(encoded.level_crc))]
    low, high = found.extremes or (None, None)
    row = {
        "key": key,
        "position": place,
        "photometric": picture.photometric,
        "bits_stored": min(image.bits_stored, 255),
        "spacing_source": image.spacing_source,
        "image_position": _finite(image.position),
        "image_orientation": _finite(image.orientation),
        "laterality": term(image.laterality, LATERALITIES),
        "view": term(image.view, VIEWS),
        "window_centres": list(image.centres),
        "window_widths": list(image.widths),
        "suv_factor": image.suv_factor,
        "minimum": None if low is None else float(low),
        "maximum": None if high is None else float(high),
        "pixel_hash": found.pixel_hash,
        "suv_missing": image.suv_missing,
        "window_explanations": [int(explanation) for explanation in image.explanations],
        "real_world": [_real_world(mapping) for mapping in image.real_world],
        "lossy_ratios": list(image.lossy_ratios),
        "max_error": found.max_error,
        "suspect": int(found.suspect),
        "cropped": None if image.cropped is None else list(image.cropped),
        "masked": image.masked,
    }
    text = _text(image, picture, encoded, series, row, flags, attributes, kept)
    row = permitted("samples", row) | {f"kept_{keyword}": value for keyword, value in kept.items()}
    real_world_luts = tuple(mapping.lut for mapping in image.real_world)
    return Packed(encoded, record, row, text, (image.modality_lut, image.voi_lut), real_world_luts)


def pixel_hash(values: NDArray[np.generic]) -> bytes:
    """BLAKE3, 128 bits of it, over the values and then dtype ("<u2", "|u1") and shape ("512x512", "64x64x3"), a zero byte behind each.

    Values are in C order, little-endian. They go first: behind other bytes they would not lie in whole chunks.
    """
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    digest = blake3(little.data.cast("B"))
    digest.update(f"{little.dtype.str}\0{'x'.join(map(str, values.shape))}\0".encode())
    return digest.digest(length=16)


def series_record(
    series: SeriesJob, first_row: int, count: int, units: Units, statistics: Statistics
) -> NDArray[np.void]:
    """SERIES_RECORD of shape (); "modality" is set when the index is written."""
    record = np.zeros((), SERIES_RECORD)
    record["first_row"], record["count"] = first_row, count
    record["patient"], record["study"] = series.patient, series.study
    record["units"] = units
    for name in ("minimum", "p005", "p01", "p50", "p99", "p995", "maximum", "mean", "std"):
        record[name] = _float32(getattr(statistics, name))
    return record


def series_row(
    series: SeriesJob, attributes: SeriesAttributes, statistics: Statistics, masked: bool = False
) -> dict[str, Any]:
    """Row of SERIES; masked: whether a slice of the series has a mask."""
    segmentation = series.segments.header.segmentation if series.segments is not None and masked else None
    codes = segmentation.codes if segmentation is not None else ()
    row = {
        "pseudonym": series.pseudonym,
        "modality": attributes.modality,
        "body_part": attributes.body_part,
        "manufacturer": attributes.manufacturer,
        "model": attributes.model,
        "kernel": attributes.kernel,
        "field_strength": attributes.field_strength,
        "echo_time": attributes.echo_time,
        "repetition_time": attributes.repetition_time,
        "b_value": attributes.b_value,
        "units": int(attributes.units),
        "format": series.files[0].header.format,
        "mask_labels": [{"label": one.segment, "scheme": one.scheme, "code": one.code} for one in codes] or None,
        **asdict(series.geometry),
        "foreground_mean": statistics.foreground_mean,
        "foreground_std": statistics.foreground_std,
        "foreground_share": statistics.foreground_share,
    }
    return permitted("series", row)


def _flags(image: Slice, picture: Picture) -> int:
    """Bits of Flag."""
    padding = picture.padding
    return (
        _EXACT * picture.exact
        + _LOSSY * image.lossy
        + _INVERT * image.invert
        + _PADDING * (padding is not None and _INT32.min <= padding[0] and padding[1] <= _INT32.max)
        + _MODALITY_LUT * (image.modality_lut is not None)
        + _VOI_LUT * (image.voi_lut is not None)
        + _RATIO * (image.spacing is not None and image.spacing_source == "ratio")
    )


def _real_world(mapping: RealWorld) -> dict[str, Any]:
    """REAL_WORLD without its table, whose row is known when the shard's tables are."""
    return {
        "first": mapping.first,
        "last": mapping.last,
        "slope": mapping.slope,
        "intercept": mapping.intercept,
        "unit": mapping.unit,
    }


def _text(
    image: Slice,
    picture: Picture,
    encoded: Encoded,
    series: SeriesJob,
    row: dict[str, Any],
    flags: int,
    attributes: SeriesAttributes,
    kept: Mapping[str, Any],
) -> bytes:
    """KEY.json: enough to turn the member into modality values without radload. Numbers that are not finite are null."""
    values = picture.values
    content = {
        "version": 1,
        "key": key_text(row["key"]),
        "codec": Codec(encoded.codec).name.lower(),
        "dtype": _dtype_name(values.dtype),
        "rows": values.shape[0],
        "cols": values.shape[1],
        "channels": 1 if values.ndim == 2 else values.shape[2],
        "bias": encoded.bias,
        "slope": image.slope,
        "intercept": image.intercept,
        "modality_lut": _lut(image.modality_lut),
        "photometric": picture.photometric,
        "invert": image.invert,
        "padding": list(picture.padding) if picture.padding is not None and flags & _PADDING else None,
        "voi": VoiFunction(image.voi_function).name,
        "window_centres": row["window_centres"],
        "window_widths": row["window_widths"],
        "window_explanations": [WindowExplanation(explanation).name for explanation in image.explanations],
        "voi_lut": _lut(image.voi_lut),
        "real_world": [{**_real_world(mapping), "lut": _lut(mapping.lut)} for mapping in image.real_world],
        "bits_stored": row["bits_stored"],
        "exact": picture.exact,
        "max_error": row["max_error"],
        "lossy": image.lossy,
        "lossy_ratios": row["lossy_ratios"],
        "levels": encoded.levels,
        "safe_levels": encoded.safe_levels,
        "level_end": list(encoded.level_end),
        "spacing": list(image.spacing) if image.spacing else None,
        "spacing_source": image.spacing_source,
        "image_position": row["image_position"],
        "image_orientation": row["image_orientation"],
        "laterality": row["laterality"],
        "view": row["view"],
        "modality": attributes.modality,
        "units": Units(attributes.units).name,
        "suv_factor": image.suv_factor,
        "suv_missing": image.suv_missing,
        "body_part": attributes.body_part,
        "series": key_text(series.first_key),  # equal for the slices of a series: the first key planned for it
        "position": row["position"],
        "patient": series.patient,  # rows of patients.arrow and studies.arrow
        "study": series.study,
        "kept": dict(kept),
        "cropped": row["cropped"],
        "masked": image.masked,
    }
    named = permitted("KEY.json", content)
    try:
        return _ENCODER.encode(named).encode()
    except ValueError:  # a number that is not finite: rare, and looking for one costs as much as writing all of it
        return _ENCODER.encode(finite(named)).encode()


_dtype_name = cache(lambda dtype: str(dtype.name))  # NumPy makes it anew, in Python, each time


def _lut(lut: Lut | None) -> dict[str, Any] | None:
    if lut is None:
        return None
    return {"first": lut.first, "values": np.asarray(lut.values, np.float64).tolist(), "bits": lut.bits}


def _finite(values: Sequence[float] | None) -> list[float] | None:
    return list(values) if values is not None and all(math.isfinite(value) for value in values) else None


def _float32(value: float) -> float:
    return max(-_FLOAT32_MAX, min(_FLOAT32_MAX, value)) if math.isfinite(value) else 0.0
