"""What a source hands to the packer: headers (no pixel decoded) and slices (stored values and their meaning).

A source knows file formats and nothing of shards. Units and names are DICOM's (PS3.3); NIfTI and PNG are mapped to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radload.sources.segmentation import Segmentation


class Refused(Exception):
    """A file or a frame that cannot become a sample. `code` is stable (kebab-case), `reason` one clause without names or paths."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason

    def __reduce__(self) -> tuple[type[Refused], tuple[str, str]]:
        return type(self), (self.code, self.reason)


class NotAnImage(Exception):
    """The file is in no image format that radload reads: it is ignored, not rejected."""


class PartOf(NotAnImage):
    """The file is the data half of a NIfTI pair; `source` names its header, relative to the same folder as the file's own source."""

    def __init__(self, source: str) -> None:
        super().__init__("the data half of a NIfTI pair: its header stands for both")
        self.source = source

    def __reduce__(self) -> tuple[type[PartOf], tuple[str]]:
        return type(self), (self.source,)


class VoiFunction(IntEnum):
    """VOI LUT Function (0028,1056), PS3.3 C.11.2.1.2 and C.11.2.1.3; NONE where the file names no window."""

    NONE = 0
    LINEAR = 1
    LINEAR_EXACT = 2
    SIGMOID = 3
    LUT = 4


class WindowExplanation(IntEnum):
    """What Window Center & Width Explanation (0028,1055) says of a window: a short list, never the free text itself."""

    UNKNOWN = 0  # the file says nothing
    OTHER = 1  # it says something that is not in this list ("WINDOW1", a name)
    NORMAL = 2
    WIDER = 3
    HARDER = 4
    SOFTER = 5
    LUNG = 6
    BONE = 7
    SOFT_TISSUE = 8
    BRAIN = 9
    MEDIASTINUM = 10
    ABDOMEN = 11
    LIVER = 12
    SPINE = 13
    VESSELS = 14
    CHEST = 15
    PELVIS = 16


class Units(IntEnum):
    """Units of the values after the modality step (Rescale Type (0028,1054), Units (0054,1001))."""

    UNSPECIFIED = 0
    HU = 1
    BQML = 2
    CNTS = 3
    GML = 4
    DISPLAY = 5  # already windowed by whoever made the file (PNG, JPEG, 8-bit secondary capture)


@dataclass(frozen=True, slots=True)
class Lut:
    """A modality or VOI look-up table (PS3.3 C.11.1.1, C.11.2.1.1): values below `first` map to values[0], beyond the end to values[-1]."""

    first: int
    values: NDArray[np.float64]  # (entries,)
    bits: int | None = (
        None  # of an entry as the descriptor says: 2**bits - 1 is full scale; None where it says nothing of use
    )


@dataclass(frozen=True, slots=True)
class RealWorld:
    """A Real World Value Mapping (PS3.3 C.7.6.16.2.11): another way from stored values to a quantity, never put behind or before the
    modality step or a VOI.

    Attributes:
        first, last: the stored values that are mapped, inclusive.
        slope, intercept: value = slope * stored + intercept; None where `lut` holds the values.
        unit: UCUM code of the quantity, "" where it is none of the known ones.
    """

    first: float
    last: float
    slope: float | None
    intercept: float | None
    lut: Lut | None = None
    unit: str = ""

    def values(self, stored: NDArray[np.generic]) -> NDArray[np.float64]:
        """Real-world values, float64, same shape as `stored`; NaN where nothing is mapped."""
        wide = stored.astype(np.float64)
        inside = (wide >= self.first) & (wide <= self.last)
        if self.lut is not None:
            index = np.clip(
                np.where(inside, wide, self.first).astype(np.int64) - self.lut.first, 0, len(self.lut.values) - 1
            )
            return np.where(inside, self.lut.values[index], np.nan)
        return np.where(inside, wide * (self.slope or 0.0) + (self.intercept or 0.0), np.nan)


@dataclass(frozen=True, slots=True)
class SeriesAttributes:
    """What may leave the private folder about a series: attributes that PS3.15 Table E.1-1 does not list. None where unknown."""

    modality: str = ""
    body_part: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    kernel: str | None = None
    field_strength: float | None = None  # tesla
    echo_time: float | None = None  # ms
    repetition_time: float | None = None  # ms
    b_value: float | None = None  # s/mm2
    units: Units = Units.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class PrivateDetails:
    """What only the catalog of the private folder says about a file: dates, free text, places. None of it ever leaves that folder.

    Attributes:
        patient_age: years, from Patient's Age (0010,1010), else from birth date and study date (the birth date itself is not kept).
        spacing_row, spacing_col, slice_thickness: millimetres, of the first frame.
    """

    study_date: date | None = None
    series_date: date | None = None
    patient_age: float | None = None
    patient_sex: str | None = None
    study_description: str | None = None
    series_description: str | None = None
    protocol: str | None = None
    station: str | None = None
    institution: str | None = None
    transfer_syntax: str | None = None
    spacing_row: float | None = None
    spacing_col: float | None = None
    slice_thickness: float | None = None


NO_DETAILS: Final = PrivateDetails()


@dataclass(frozen=True)  # without slots: `pack.compact` makes one from another's values in a sixth of the time
class Header:
    """One file as a scan sees it, without decoding a pixel. Holds identities: it stays in the private folder.

    Attributes:
        source: path relative to the scanned folder, POSIX separators.
        format: "dicom", "nifti" or "image".
        parts: further files that belong to this image (the .img of a NIfTI pair), relative like `source`.
        patient, issuer, study, series, sop, accession: identities as stored, None where absent or empty.
        rows, cols, channels: size of one frame; bits: bits allocated per value.
        frames: number of frames (slices) the file yields.
        positions: per frame, millimetres along the slice normal (PS3.3 C.7.6.2.1.1), or None where the file does not say.
        instance: Instance Number (0020,0013), the order where positions are absent.
        normal: unit normal of the slices, rounded to 3 decimals, None where unknown or not one for all frames.
        sop_class: SOP Class UID; image_type: Image Type (0008,0008); intent: Presentation Intent Type (0008,0068). DICOM only.
        segmentation: of a DICOM segmentation, None for everything else.
        few_values: all stored values of a NIfTI file where somebody looked and found few (`nifti.few_values`); empty otherwise.
        phases: per frame (echo, temporal position, acquisition), 0 where the file does not say; None for other formats.
        origins: per frame Image Position (Patient), where `positions` are known; laterality, view: of the first frame. DICOM only.
        name: Patient's Name (0010,0010) as stored, to recognise it where it must not stand.
        burned_in: Burned In Annotation (0028,0301) as stored; us_regions: (top, left, height, width) of the two-dimensional Ultrasound
            Regions (0018,6011). DICOM only.
        private: for the catalog alone; empty in the headers that shard jobs carry.
    """

    source: str
    format: str
    rows: int
    cols: int
    channels: int
    bits: int
    frames: int
    attributes: SeriesAttributes
    parts: tuple[str, ...] = ()
    patient: str | None = None
    issuer: str | None = None
    study: str | None = None
    series: str | None = None
    sop: str | None = None
    accession: str | None = None
    positions: tuple[float, ...] | None = None
    instance: int | None = None
    normal: tuple[float, float, float] | None = None
    sop_class: str = ""
    image_type: tuple[str, ...] = ()
    intent: str | None = None
    segmentation: Segmentation | None = None
    few_values: tuple[int, ...] = ()
    phases: tuple[tuple[int, int, int], ...] | None = None
    origins: tuple[tuple[float, float, float], ...] | None = None
    laterality: str | None = None
    view: str | None = None
    name: str | None = None
    burned_in: str | None = None
    us_regions: tuple[tuple[int, int, int, int], ...] = ()
    private: PrivateDetails = NO_DETAILS


@dataclass(frozen=True, slots=True)
class Slice:
    """One frame: the integers (or floats) as stored, and what gives them meaning.

    Attributes:
        frame: index in the file, from 0.
        stored: (rows, cols) or (rows, cols, 3); the dtype says sign and width; sign-extended to BitsStored; before palette and colour.
        photometric: Photometric Interpretation after decoding (MONOCHROME1, MONOCHROME2, RGB, YBR_FULL, YBR_PARTIAL,
            PALETTE COLOR); chroma is never subsampled.
        slope, intercept: modality value = slope * stored + intercept (PS3.3 C.11.1.1.2), 1 and 0 where the file has none.
        modality_lut: replaces slope and intercept where present.
        voi_function, centres, widths: the file's own windows, in modality units; voi_lut: where voi_function is LUT.
        padding: inclusive range of Pixel Padding Value in stored units (PS3.3 C.7.5.1.1.2), None where absent.
        invert: low values are white (MONOCHROME1, or Presentation LUT Shape INVERSE).
        palette: (entries, 3) uint16 with `palette_first`, for PALETTE COLOR; palette_bits 8 or 16.
        spacing: (row, column) millimetres, None where unknown; spacing_source "pixel", "imager", "nominal", "" or "ratio": then the two
            are only the ratio of the pixel's sides (Pixel Aspect Ratio (0028,0034)).
        position, orientation: PS3.3 C.7.6.2.1.1, patient coordinates (LPS) in millimetres.
        lossy: the source's pixels went through a lossy compression.
        exact: False where the source itself had to change values to give `stored`.
        explanations: what the file calls each of its windows, one per centre.
        real_world: Real World Value Mappings, beside the modality step.
        suv_factor: SUV (body weight, g/ml) = modality value * factor, for PET; None where it cannot be had, and `suv_missing` says why
            (a key of `codes.SUV_MISSING`). Both None for what is no PET.
        lossy_ratios: Lossy Image Compression Ratio (0028,2112), one per compression step that the file tells of.
        claimed: Smallest and Largest Image Pixel Value (0028,0106) and (0028,0107), None where the file does not say.
        cropped: (top, left, height, width) of `stored` in the frame that the file holds, None where it is the whole frame.
        masked: number of rectangles of `stored` that were blanked because of burned-in text.
    """

    frame: int
    stored: NDArray[np.generic]
    photometric: str = "MONOCHROME2"
    bits_stored: int = 16
    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: Lut | None = None
    voi_function: VoiFunction = VoiFunction.NONE
    centres: tuple[float, ...] = ()
    widths: tuple[float, ...] = ()
    voi_lut: Lut | None = None
    padding: tuple[int, int] | None = None
    invert: bool = False
    palette: NDArray[np.uint16] | None = None
    palette_first: int = 0
    palette_bits: int = 8
    spacing: tuple[float, float] | None = None
    spacing_source: str = ""
    position: tuple[float, float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    laterality: str | None = None
    view: str | None = None
    lossy: bool = False
    exact: bool = True
    attributes: SeriesAttributes = field(default_factory=SeriesAttributes)
    explanations: tuple[WindowExplanation, ...] = ()
    real_world: tuple[RealWorld, ...] = ()
    suv_factor: float | None = None
    suv_missing: str | None = None
    lossy_ratios: tuple[float, ...] = ()
    claimed: tuple[int, int] | None = None
    cropped: tuple[int, int, int, int] | None = None
    masked: int = 0

    def modality(self) -> NDArray[np.float64]:
        """Values after the modality step, float64, same shape as `stored` (PS3.3 C.11.1)."""
        if self.modality_lut is not None:
            lut = self.modality_lut
            index = np.clip(self.stored.astype(np.int64) - lut.first, 0, len(lut.values) - 1)
            return lut.values[index]
        return self.stored.astype(np.float64) * self.slope + self.intercept
