"""The index of a shard set, format version 1: record layouts, enumerations and Arrow schemas.

docs/format.md describes the same for people who write a reader of their own. Everything is little-endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
import pyarrow as pa

FORMAT_VERSION = 1
KEY_DIGITS = 12
LEVELS = 5  # resolution levels beside the full one: an HTJ2K stream holds 1/2, 1/4, 1/8, 1/16 and 1/32

SPLITS = ("train", "val", "test")  # position = code in RECORD["split"]; rows of the index are sorted by it
STORED_DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")  # position = code in RECORD["dtype"]


class Codec(IntEnum):
    """How a sample's member holds its stored values."""

    RAW = 0  # KEY.npy: NumPy format 1.0, little-endian, C order, the stored dtype
    HTJ2K = 1  # KEY.j2c: reversible HTJ2K of (stored + bias), unsigned 16 bit, one tile-part per resolution level


class Flag(IntFlag):
    """Bits of RECORD["flags"]."""

    EXACT = 1  # the shard holds the stored integers of the source, unchanged
    LOSSY = 2  # the source had been compressed with loss before radload saw it
    INVERT = 4  # low values are white (MONOCHROME1): invert after the window
    PADDING = 8  # padding_first..padding_last (stored units) is no image content
    MODALITY_LUT = 16  # slope and intercept do not apply: see modality_lut in samples.arrow
    VOI_LUT = 32  # the file's own VOI is a table: see voi_lut in samples.arrow
    RATIO = 64  # spacing_row and spacing_col are only a ratio (Pixel Aspect Ratio), no millimetres


class Suspect(IntFlag):
    """Bits of the column "suspect" of samples.arrow."""

    CONSTANT = 1  # all one value, where its neighbours in the series are not
    BITS = 2  # values that the source's Bits Stored cannot hold
    CLAIM = 4  # values outside Smallest and Largest Image Pixel Value of the source


# One record per sample, 128 bytes: all that the loader reads for a sample besides its series record.
RECORD = np.dtype(
    [
        ("key", "<u8"),  # the member's name, as a number
        ("offset", "<u8"),  # of the member's data in its shard, in bytes
        ("slope", "<f8"),  # modality value = slope * stored + intercept
        ("intercept", "<f8"),
        ("shard", "<u4"),  # row of shards.arrow
        ("length", "<u4"),  # of the member's data, in bytes
        ("series", "<u4"),  # row of series.arrow and series.bin
        ("bias", "<i4"),  # coded = stored + bias (HTJ2K); 0 for raw
        ("rows", "<u2"),
        ("cols", "<u2"),
        ("spacing_row", "<f4"),  # millimetres between rows, NaN where unknown; see Flag.RATIO
        ("spacing_col", "<f4"),
        ("window_centre", "<f4"),  # the file's first window in modality units, NaN where it has none
        ("window_width", "<f4"),
        ("padding_first", "<i4"),  # inclusive, stored units; only where Flag.PADDING is set
        ("padding_last", "<i4"),
        ("codec", "u1"),
        ("dtype", "u1"),  # of the stored values: index into STORED_DTYPES
        ("channels", "u1"),  # 1 grey, 3 colour (RGB)
        ("flags", "u1"),
        ("voi", "u1"),  # VoiFunction of the file's own window
        ("safe_levels", "u1"),  # number of levels below the full one that may stand in for the image
        ("levels", "u1"),  # number of levels below the full one that the stream holds (0 for raw)
        ("split", "u1"),  # index into SPLITS
        ("level_end", "<u4", (LEVELS,)),  # [k-1]: bytes from the member's start that level k (1 / 2**k) needs
        ("level_crc", "<u4", (LEVELS + 1,)),  # [0]: CRC-32C of the whole member; [k]: of its first level_end[k-1] bytes
    ]
)

# One record per sample in masks.bin, 16 bytes; the file is there only where the data set has masks.
MASK_RECORD = np.dtype(
    [
        ("offset", "<u8"),  # of KEY.mask.npy's data in the sample's shard, in bytes
        ("length", "<u4"),  # of that data, in bytes; 0 where the sample has no mask
        ("crc", "<u4"),  # CRC-32C of that data
    ]
)

# One record per series, 64 bytes. Statistics are over non-padding pixels after the modality step.
SERIES_RECORD = np.dtype(
    [
        ("first_row", "<u8"),  # rows of a series are consecutive in the index, in order of position
        ("count", "<u4"),
        ("patient", "<u4"),  # row of patients.arrow
        ("study", "<u4"),  # row of studies.arrow
        ("modality", "u1"),  # index into segment.json's "modalities"
        ("units", "u1"),  # Units
        ("reserved", "<u2"),
        ("minimum", "<f4"),
        ("p005", "<f4"),  # 0.5th percentile
        ("p01", "<f4"),
        ("p50", "<f4"),
        ("p99", "<f4"),
        ("p995", "<f4"),  # 99.5th percentile
        ("maximum", "<f4"),
        ("mean", "<f4"),
        ("std", "<f4"),
        ("reserved2", "<u4"),
    ]
)

_sizes = (RECORD.itemsize, SERIES_RECORD.itemsize)
if _sizes != (128, 64):  # pragma: no cover - a programming error, caught at import
    raise TypeError(f"record sizes {_sizes} are not (128, 64)")

REAL_WORLD = pa.struct(
    [
        ("first", pa.float64()),  # stored values first..last are mapped
        ("last", pa.float64()),
        ("slope", pa.float64()),  # value = slope * stored + intercept; null where there is a table
        ("intercept", pa.float64()),
        ("lut", pa.int32()),  # row of luts.arrow
        ("unit", pa.string()),  # UCUM code, "" where unknown
    ]
)

SAMPLES = pa.schema(
    [
        ("key", pa.uint64()),
        ("position", pa.uint32()),  # in its series, from 0
        ("photometric", pa.string()),
        ("bits_stored", pa.uint8()),
        ("spacing_source", pa.string()),  # "pixel", "imager", "nominal", "ratio" or ""
        ("image_position", pa.list_(pa.float64(), 3)),  # millimetres, patient coordinates (LPS)
        ("image_orientation", pa.list_(pa.float64(), 6)),
        ("laterality", pa.string()),
        ("view", pa.string()),
        ("window_centres", pa.list_(pa.float64())),
        ("window_widths", pa.list_(pa.float64())),
        ("modality_lut", pa.int32()),  # row of luts.arrow, null where there is none
        ("voi_lut", pa.int32()),
        ("suv_factor", pa.float64()),  # SUV by body weight, g/ml = modality value * factor
        ("minimum", pa.float64()),  # of the stored values
        ("maximum", pa.float64()),
        ("pixel_hash", pa.binary(16)),  # 128 bits of BLAKE3 over dtype, shape and stored values
        ("suv_missing", pa.string()),  # why a PET slice has no factor: a key of sources.codes.SUV_MISSING
        ("window_explanations", pa.list_(pa.uint8())),  # WindowExplanation, one per window
        ("real_world", pa.list_(REAL_WORLD)),  # other quantities that the stored values stand for
        ("lossy_ratios", pa.list_(pa.float64())),  # Lossy Image Compression Ratio, one per compression step
        ("max_error", pa.float64()),  # of modality values against the source's; 0 where exact, null where not known
        ("suspect", pa.uint8()),  # Suspect
        ("cropped", pa.list_(pa.int32(), 4)),  # top, left, height, width in the source's frame; null: the whole frame
        ("masked", pa.uint16()),  # rectangles blanked because of burned-in text
    ]
)

SERIES = pa.schema(
    [
        ("pseudonym", pa.string()),
        ("modality", pa.string()),
        ("body_part", pa.string()),
        ("manufacturer", pa.string()),
        ("model", pa.string()),
        ("kernel", pa.string()),
        ("field_strength", pa.float64()),  # tesla
        ("echo_time", pa.float64()),  # ms
        ("repetition_time", pa.float64()),  # ms
        ("b_value", pa.float64()),  # s/mm2
        ("units", pa.uint8()),
        ("slice_spacing", pa.float64()),  # median distance of neighbouring slices, millimetres
        ("format", pa.string()),  # of the source: dicom, nifti, image
        # what labels of the series' masks mean: coded Segmented Property Types, null where unknown
        ("mask_labels", pa.list_(pa.struct([("label", pa.uint16()), ("scheme", pa.string()), ("code", pa.string())]))),
        ("gaps", pa.uint32()),  # slices that seem to be missing between others
        ("duplicates", pa.uint32()),  # slices at the place of another
        ("tilt", pa.float64()),  # degrees between the normal and the direction in which the stack grows
        ("stacks", pa.uint16()),  # orientations
        ("phases", pa.uint16()),  # most passes over one orientation: echoes, time points, acquisitions
        ("irregular", pa.float64()),  # largest distance of a step from a whole number of spacings, millimetres
        (
            "foreground_mean",
            pa.float64(),
        ),  # over foreground, modality units; the records' mean and std are over all pixels
        ("foreground_std", pa.float64()),
        ("foreground_share", pa.float64()),  # of the pixels that are no padding
    ]
)

STUDIES = pa.schema([("pseudonym", pa.string()), ("patient", pa.uint32())])
PATIENTS = pa.schema([("pseudonym", pa.string()), ("split", pa.uint8()), ("known", pa.bool_())])
LUTS = pa.schema([("first", pa.int32()), ("values", pa.list_(pa.float64())), ("bits", pa.uint8())])
SHARDS = pa.schema(
    [
        ("name", pa.string()),  # "train/000000.tar", relative to the data set's folder
        ("split", pa.uint8()),
        ("samples", pa.uint32()),
        ("bytes", pa.uint64()),
        ("sha256", pa.binary(32)),
        ("generation", pa.uint32()),
    ]
)


def key_text(key: int) -> str:
    """The name of a sample's members: KEY_DIGITS decimal digits."""
    return f"{key:0{KEY_DIGITS}d}"
