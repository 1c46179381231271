"""DICOM files made to order: `specs` draws what a file is to hold, `build` writes it. Nothing here comes from radload.

pydicom writes the header; pixels are laid out here (native, RLE) or by imagecodecs (JPEG-LS, JPEG 2000, HTJ2K).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import UID
from slow_reference import Table

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NATIVE = (IMPLICIT, EXPLICIT, DEFLATED, BIG)
RLE, JPEG_LS, J2K = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
HTJ2K, HTJ2K_RPCL = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"
CT, PET, PHOTO = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.77.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"

SLOPES = ("1", "2", "2.5", "-1", "-0.37", "0.000244140625", "104.4", "0.478", "1E-3", "0.33333333", "3.0517578125e-05")
INTERCEPTS = ("0", "-1024", "-1000.5", "17", "32768", "0.25", "-3.7e2")
INTEGRAL = (
    ("1", "0"),
    ("1", "-1024"),
    ("2", "-7"),
    ("-1", "100"),
    ("1", "17"),
    (None, None),
    ("3", None),
    (None, "-5"),
)


@dataclass(frozen=True)
class Spec:
    """One file. `values` (frames, rows, cols, samples) int64 are the stored values; of YBR_FULL_422 every second chroma is unused.

    Attributes:
        rescales: per frame (slope, intercept) as texts, None where absent; windows: per frame, (centre, width) texts.
        enhanced: "" for a classic image, else where the rescale and the windows stand: "shared" or "frames".
        fragments: of each frame; table: "basic", "extended" or "none".
    """

    syntax: str
    values: NDArray[np.int64]
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: int
    garbage: int
    sop_class: str
    rescales: tuple[tuple[str | None, str | None], ...]
    modality_lut: Table | None
    function: str | None
    windows: tuple[tuple[tuple[str, str], ...], ...]
    voi_lut: Table | None
    padding: tuple[int, int | None] | None
    presentation: str | None
    palette: tuple[Table, Table, Table] | None
    enhanced: str
    fragments: int
    table: str
    narrow_words: bool  # 8-bit pixel data as OW; tables of 8-bit entries packed into bytes

    @property
    def frames(self) -> int:
        return len(self.values)


def _span(stored: int, signed: bool) -> tuple[int, int]:
    low = -(1 << (stored - 1)) if signed else 0
    return low, low + (1 << stored) - 1


@st.composite
def tables(draw: st.DrawFn, lowest: int, highest: int, bits: int) -> Table:
    """A look-up table whose first value mapped lies in the range; its largest entry need not use its highest bit."""
    entries = draw(st.sampled_from((2, 3, 16, 200, 255, 256, 300)))
    random = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    values = random.integers(0, 1 << draw(st.integers(1, bits)), entries)
    return draw(st.integers(max(lowest, -32768), min(highest, 65535))), bits, tuple(int(value) for value in values)


@st.composite
def windows(
    draw: st.DrawFn, values: NDArray[np.int64], rescale: tuple[str | None, str | None]
) -> tuple[tuple[str, str], ...]:
    """One to three windows among the modality values, with numbers that float32 holds; widths of 0 and 1 among them."""
    slope, intercept = float(rescale[0] or 1), float(rescale[1] or 0)
    ends = sorted(slope * float(end) + intercept for end in (values.min(), values.max()))
    found = []
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from((0.0, 0.1, 0.37, 0.5, 0.8)))
        centre = float(np.float32(round((ends[0] + place * (ends[1] - ends[0])) * 4) / 4))
        share = float(
            np.float32(max(round((ends[1] - ends[0]) * draw(st.sampled_from((0.05, 0.3, 0.9))) * 4) / 4, 0.5))
        )
        width = draw(st.sampled_from((0.0, 1.0, 1.0, 2.0, 0.5, share, share, share)))
        found.append((f"{centre:.10g}"[:16], f"{width:.10g}"[:16]))
    return tuple(found)


@st.composite
def specs(draw: st.DrawFn, size: tuple[int, int] | None = None, fewest_bits: int = 1) -> Spec:
    """Any file that `build` can write; `size` fixes (rows, cols), `fewest_bits` is the least Bits Stored."""
    kind = draw(st.sampled_from(("grey", "grey", "grey", "colour", "palette")))
    syntax = draw(st.sampled_from((*NATIVE, *NATIVE, RLE, JPEG_LS, J2K, HTJ2K, HTJ2K_RPCL)))
    native = syntax in NATIVE
    wide = (8, 16, 16, 32) if native or syntax == RLE else (8, 16)
    allocated = draw(
        st.sampled_from({"grey": wide, "colour": (8, 8, 16) if native else (8,), "palette": (8, 16)}[kind])
    )
    if kind == "grey" and native and fewest_bits == 1 and draw(st.integers(0, 7)) == 0:
        allocated = 1
    stored = allocated
    if kind != "colour" and allocated > 1:
        stored = draw(st.one_of(st.just(allocated), st.integers(max(fewest_bits, 2), allocated)))
    high = draw(st.one_of(st.just(stored - 1), st.integers(stored - 1, allocated - 1))) if native else stored - 1
    signed = kind == "grey" and allocated > 1 and draw(st.booleans())
    samples = 3 if kind == "colour" else 1
    photometric = draw(
        st.sampled_from(
            {
                "grey": ("MONOCHROME2", "MONOCHROME2", "MONOCHROME1"),
                "colour": ("RGB", "YBR_FULL", "YBR_FULL_422") if native and allocated == 8 else ("RGB",),
                "palette": ("PALETTE COLOR",),
            }[kind]
        )
    )
    if kind == "colour" and syntax == J2K and draw(st.booleans()):
        photometric = "YBR_RCT"
    planar = draw(st.integers(0, 1)) if samples == 3 and native and photometric != "YBR_FULL_422" else 0
    rows, cols = size or (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    if photometric == "YBR_FULL_422":
        cols += cols % 2 if size is None else 0
        photometric = photometric if cols % 2 == 0 else "YBR_FULL"
    frames = draw(st.sampled_from((1, 1, 2, 3, 4)))
    low, top = _span(stored, signed)
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    shape = (frames, rows, cols, samples)
    values = random.integers(low, top + 1, shape)
    if draw(st.booleans()):  # a narrow range somewhere
        first = draw(st.integers(low, top))
        values = np.minimum(first + values % draw(st.sampled_from((1, 2, 40, 1000))), top)
    values.reshape(-1)[0] = low
    values.reshape(-1)[-1] = top
    meaning = _meaning(draw, values, kind, allocated, stored, signed)
    many = 1 if syntax == RLE else draw(st.integers(1, 3))
    return Spec(
        syntax=syntax,
        values=values,
        allocated=allocated,
        stored=stored,
        high=high,
        signed=signed,
        photometric=photometric,
        planar=planar,
        garbage=draw(st.integers(0, 1 << 20)),
        fragments=many,
        table=draw(st.sampled_from(("basic", "none") if many > 1 else ("basic", "none", "extended"))),
        narrow_words=draw(st.booleans()),
        **meaning,
    )


def _meaning(
    draw: st.DrawFn, values: NDArray[np.int64], kind: str, allocated: int, stored: int, signed: bool
) -> dict[str, Any]:
    """Rescale, VOI, padding, presentation and palette of a file with these values."""
    frames = len(values)
    low, top = _span(stored, signed)
    none: tuple[str | None, str | None] = (None, None)
    found: dict[str, Any] = {
        "sop_class": PHOTO if kind != "grey" else CT, "rescales": (none,) * frames, "modality_lut": None, "function": None,
        "windows": ((),) * frames, "voi_lut": None, "padding": None, "presentation": None, "palette": None, "enhanced": "",
    }  # fmt: skip
    if kind == "palette":
        first = draw(st.integers(max(low, 0), min(top, 300)))
        bits = draw(st.sampled_from((8, 16)))
        columns = [draw(tables(first, first, bits)) for _ in range(3)]
        entries = min(len(column[2]) for column in columns)
        found["palette"] = tuple((first, bits, column[2][:entries]) for column in columns)
    if kind != "grey":
        return found
    found["enhanced"] = draw(st.sampled_from(("", "", "shared", "frames")))
    found["sop_class"] = ENHANCED_MR if found["enhanced"] else draw(st.sampled_from((CT, PET)))
    table = draw(st.sampled_from((None, None, None, "modality", "voi", "both"))) if allocated in (8, 16) else None
    if table in ("modality", "both") and not found["enhanced"]:
        found["modality_lut"] = draw(tables(low, top, draw(st.integers(8, 16))))
    else:
        texts = (
            st.sampled_from(INTEGRAL)
            if table == "voi"
            else st.tuples(
                st.one_of(st.none(), st.sampled_from(SLOPES)), st.one_of(st.none(), st.sampled_from(INTERCEPTS))
            )
        )
        if found["enhanced"] == "frames":
            found["rescales"] = tuple(draw(texts) for _ in range(frames))
        else:
            found["rescales"] = (draw(texts),) * frames
    if table in ("voi", "both") and not found["enhanced"]:
        negative = found["modality_lut"] is None and (signed or float(found["rescales"][0][1] or 0) < 0)
        found["voi_lut"] = draw(tables(-2000 if negative else 0, 2000, draw(st.integers(8, 16))))
    found["function"] = draw(st.sampled_from((None, "LINEAR", "LINEAR_EXACT", "SIGMOID")))
    if draw(st.integers(0, 3)):
        lut = found["modality_lut"]
        known = values if lut is None else np.array(lut[2])
        own = [draw(windows(known, found["rescales"][frame])) for frame in range(frames)]
        found["windows"] = tuple(own) if found["enhanced"] == "frames" else (own[0],) * frames
    padded = draw(st.sampled_from(("no", "value", "range"))) if allocated in (8, 16) else "no"
    if padded != "no":
        ends = draw(st.permutations((low, int(np.median(values)), top)))
        found["padding"] = (ends[0], ends[1] if padded == "range" else None)
    found["presentation"] = draw(st.sampled_from((None, None, "IDENTITY", "INVERSE")))
    return found


def build(path: Path, spec: Spec, series: str = "1.2.5", number: int = 1) -> bytes:
    """Write the file; returns the value of its Pixel Data."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(spec.sop_class), UID(f"1.2.3.{number}")
    meta.TransferSyntaxUID = UID(spec.syntax)
    data = Dataset()
    data.file_meta, data.preamble = meta, b"\0" * 128
    data.SOPClassUID, data.SOPInstanceUID = UID(spec.sop_class), UID(f"1.2.3.{number}")
    data.StudyInstanceUID, data.SeriesInstanceUID, data.InstanceNumber = UID("1.2.3"), UID(series), number
    data.Modality = {CT: "CT", PET: "PT", ENHANCED_MR: "MR"}.get(spec.sop_class, "XC")
    data.PatientID, data.ImageType, data.BurnedInAnnotation = "P1", ["ORIGINAL", "PRIMARY"], "NO"
    frames, data.Rows, data.Columns, samples = spec.values.shape
    if frames > 1 or spec.enhanced:
        data.NumberOfFrames = frames
    data.SamplesPerPixel, data.PhotometricInterpretation = samples, spec.photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = spec.allocated, spec.stored, spec.high
    data.PixelRepresentation = int(spec.signed)
    if samples == 3:
        data.PlanarConfiguration = spec.planar
    _write_meaning(data, spec)
    if spec.syntax in NATIVE:
        pixels = _native(spec)
        data.add_new(0x7FE00010, "OW" if spec.allocated > 8 or _swapped(spec) else "OB", pixels)
    else:
        frames_out = [_encode(spec, frame) for frame in range(frames)]
        pixels = encapsulate(frames_out, fragments_per_frame=spec.fragments, has_bot=spec.table == "basic")
        if spec.table == "extended" and frames > 1:
            pixels, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = encapsulate_extended(frames_out)
        data.add_new(0x7FE00010, "OB", pixels)
        data["PixelData"].is_undefined_length = True
    data.save_as(path, enforce_file_format=True)
    return bytes(pixels)


def _write_meaning(data: Dataset, spec: Spec) -> None:
    shared, per_frame = Dataset(), [Dataset() for _ in range(spec.frames)]
    if spec.enhanced:
        for group, rescale, own in zip(per_frame, spec.rescales, spec.windows, strict=True):
            _groups(group if spec.enhanced == "frames" else shared, rescale, spec.function, own)
        data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], per_frame
        # What stands at the top must not be used where a group says otherwise (PS3.3 C.7.6.16).
        if any(rescale != (None, None) for rescale in spec.rescales) and spec.enhanced == "shared":
            data.RescaleSlope, data.RescaleIntercept = "777", "7"
    else:
        _rescale(data, spec.rescales[0])
        _windows(data, spec.function, spec.windows[0])
    if spec.modality_lut is not None:
        data.ModalityLUTSequence = [_lut_item(spec, spec.modality_lut, spec.signed)]
        data.ModalityLUTSequence[0].ModalityLUTType = "US"
    if spec.voi_lut is not None:
        data.VOILUTSequence = [_lut_item(spec, spec.voi_lut, spec.voi_lut[0] < 0)]
    if spec.padding is not None:
        vr = "SS" if spec.signed else "US"
        data.add_new("PixelPaddingValue", vr, spec.padding[0])
        if spec.padding[1] is not None:
            data.add_new("PixelPaddingRangeLimit", vr, spec.padding[1])
    if spec.presentation is not None:
        data.PresentationLUTShape = spec.presentation
    if spec.palette is not None:
        for colour, table in zip(("Red", "Green", "Blue"), spec.palette, strict=True):
            data.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [len(table[2]), table[0], table[1]])
            data.add_new(f"{colour}PaletteColorLookupTableData", "OW", _entries(spec, table))


def _groups(group: Dataset, rescale: tuple[str | None, str | None], function: str | None, own: Any) -> None:
    if rescale != (None, None):
        group.PixelValueTransformationSequence = [Dataset()]
        _rescale(group.PixelValueTransformationSequence[0], rescale)
    if own:
        group.FrameVOILUTSequence = [Dataset()]
        _windows(group.FrameVOILUTSequence[0], function, own)


def _rescale(data: Dataset, rescale: tuple[str | None, str | None]) -> None:
    slope, intercept = rescale
    if slope is not None:
        data.RescaleSlope = slope
    if intercept is not None:
        data.RescaleIntercept = intercept


def _windows(data: Dataset, function: str | None, own: tuple[tuple[str, str], ...]) -> None:
    if own:
        data.WindowCenter, data.WindowWidth = [centre for centre, _ in own], [width for _, width in own]
    if function is not None:
        data.VOILUTFunction = function


def _lut_item(spec: Spec, table: Table, signed: bool) -> Dataset:
    item = Dataset()
    first, bits, entries = table
    item.add_new("LUTDescriptor", "SS" if signed and first < 0 else "US", [len(entries), first, bits])
    item.add_new("LUTData", "OW", _entries(spec, table))
    return item


def _entries(spec: Spec, table: Table) -> bytes:
    if table[1] == 8 and spec.narrow_words and spec.syntax != BIG:
        return bytes(table[2]) + b"\0" * (len(table[2]) % 2)
    return np.array(table[2], ">u2" if spec.syntax == BIG else "<u2").tobytes()


def _swapped(spec: Spec) -> bool:
    return spec.syntax == BIG and spec.allocated == 8 and spec.narrow_words


def _native(spec: Spec) -> bytes:
    """PS3.5 section 8: cells of Bits Allocated, whatever stands around the Bits Stored that end at High Bit."""
    values = spec.values
    if spec.photometric == "YBR_FULL_422":
        pairs = values.reshape(spec.frames, -1, 2, 3)
        values = np.stack([pairs[:, :, 0, 0], pairs[:, :, 1, 0], pairs[:, :, 0, 1], pairs[:, :, 0, 2]], axis=-1)
    elif spec.planar:
        values = values.transpose(0, 3, 1, 2)
    values = values.reshape(-1)
    if spec.allocated == 1:
        packed = np.packbits(values.astype(np.uint8), bitorder="little").tobytes()
        return packed + b"\0" * (len(packed) % 2)
    shift, mask = spec.high + 1 - spec.stored, (1 << spec.stored) - 1
    around = np.random.default_rng(spec.garbage).integers(0, 1 << spec.allocated, values.shape) & ~(mask << shift)
    cells = (values & mask) << shift | around
    data = cells.astype(f"{'>' if spec.syntax == BIG else '<'}u{spec.allocated // 8}").tobytes()
    data += b"\0" * (len(data) % 2)
    return np.frombuffer(data, "u2").byteswap().tobytes() if _swapped(spec) else data


def _encode(spec: Spec, frame: int) -> bytes:
    """One frame's codestream, of even length."""
    values = spec.values[frame][..., 0] if spec.values.shape[3] == 1 else spec.values[frame]
    unsigned = np.ascontiguousarray(values & ((1 << spec.stored) - 1)).astype(f"u{spec.allocated // 8}")
    if spec.syntax == RLE:
        return _rle((values & ((1 << spec.allocated) - 1)).astype(f">u{spec.allocated // 8}"))
    if spec.syntax == JPEG_LS:
        data = imagecodecs.jpegls_encode(unsigned)
    elif spec.syntax == J2K:
        native = values.astype(f"{'i' if spec.signed else 'u'}{spec.allocated // 8}")
        data = imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(native), level=0, codecformat="j2k", reversible=True, bitspersample=spec.stored,
            mct=spec.photometric == "YBR_RCT", resolutions=1,
        )  # fmt: skip
    else:
        data = imagecodecs.htj2k_encode(unsigned, reversible=True, resolutions=1, rgb=False, planar=False)
    return bytes(data) + b"\0" * (len(data) % 2)


def _rle(cells: NDArray[Any]) -> bytes:
    """PS3.5 annex G: one segment per byte of a sample, most significant first; runs where three bytes are equal."""
    samples = cells[..., None] if cells.ndim == 2 else cells
    segments = []
    for sample in range(samples.shape[2]):
        planes = np.ascontiguousarray(samples[..., sample]).view(np.uint8).reshape(*cells.shape[:2], -1)
        segments += [
            b"".join(_pack_bits(row.tobytes()) for row in planes[..., byte]) for byte in range(planes.shape[2])
        ]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = np.cumsum([64, *map(len, segments)])[:-1]
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : 1 + len(segments)] = offsets
    return header.tobytes() + b"".join(segments)


def _pack_bits(data: bytes) -> bytes:
    out, position = bytearray(), 0
    while position < len(data):
        run = 1
        while run < 128 and data[position : position + run + 1] == data[position : position + 1] * (run + 1):
            run += 1
        if run >= 3:
            out += bytes((257 - run, data[position]))
            position += run
        else:
            out += bytes((0, data[position]))
            position += 1
    return bytes(out)
