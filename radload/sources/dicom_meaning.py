"""What a DICOM frame's stored values mean: modality step (PS3.3 C.11.1), VOI (C.11.2), padding (C.7.5.1.1.2), inversion, units."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from radload.sources import dicom_tags as tags
from radload.sources.dicom_bits import Layout
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_groups import Groups
from radload.sources.dicom_luts import table_of
from radload.sources.slice import Lut, Refused, SeriesAttributes, Units, VoiFunction, WindowExplanation

_FUNCTIONS = {
    "LINEAR": VoiFunction.LINEAR,
    "LINEAR_EXACT": VoiFunction.LINEAR_EXACT,
    "SIGMOID": VoiFunction.SIGMOID,
}
_EXPLANATIONS = (
    (WindowExplanation.SOFT_TISSUE, r"SOFT[\s_-]*TISSUES?|WEICHTEIL\w*|PARTIES?[\s_-]*MOLLES?|STANDARD[\s_-]*TISSUE"),
    (WindowExplanation.MEDIASTINUM, r"MEDIAST\w*"),
    (WindowExplanation.LUNG, r"LUNGS?|PULMO\w*|POUMONS?|LUNGE"),
    (WindowExplanation.BONE, r"BONES?|OSS\w*|OSTEO\w*|KNOCHEN"),
    (WindowExplanation.BRAIN, r"BRAIN|CEREBR\w*|HEAD|HIRN"),
    (WindowExplanation.LIVER, r"LIVER|HEPAT\w*|LEBER"),
    (WindowExplanation.ABDOMEN, r"ABDOM\w*|ABD"),
    (WindowExplanation.SPINE, r"SPINE|VERTEBR\w*"),
    (WindowExplanation.VESSELS, r"VESSELS?|ANGIO\w*|CTA|VASC\w*"),
    (WindowExplanation.CHEST, r"CHEST|THORAX"),
    (WindowExplanation.PELVIS, r"PELVIS|PELVIC"),
    (WindowExplanation.WIDER, r"WIDER|WIDE"),
    (WindowExplanation.HARDER, r"HARDER|HARD"),
    (WindowExplanation.SOFTER, r"SOFTER|SOFT"),
    (WindowExplanation.NORMAL, r"NORMAL|DEFAULT|STANDARD"),
)  # the first whose word stands in the text
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, slots=True)
class Modality:
    """As in `Slice`: stored values to modality values."""

    slope: float
    intercept: float
    lut: Lut | None


@dataclass(frozen=True, slots=True)
class Voi:
    """As in `Slice`: the file's own windows, in modality units."""

    function: VoiFunction
    centres: tuple[float, ...]
    widths: tuple[float, ...]
    lut: Lut | None
    explanations: tuple[WindowExplanation, ...]


def modality_of(elements: Elements, groups: Groups, frame: int, layout: Layout) -> Modality:
    """The modality step of one frame: its own Pixel Value Transformation, else the main data set's rescale or table.

    A slope without an intercept counts (pydicom leaves it out).

    Raises:
        Refused: `bad-header`, for a rescale that is no number: wrong values are worse than none.
    """
    if layout.samples != 1 or layout.photometric == "PALETTE COLOR":
        return Modality(1.0, 0.0, None)
    macro = groups.macro(frame, tags.PixelValueTransformationSequence)
    if macro is None:
        item = elements.item(tags.ModalityLUTSequence)
        if item is not None and not layout.floating:
            return Modality(1.0, 0.0, table_of(item, layout.signed))
    where = elements if macro is None else macro
    slope, intercept = where.number(tags.RescaleSlope, "DS"), where.number(tags.RescaleIntercept, "DS")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise Refused("bad-header", "Rescale Slope or Rescale Intercept is not finite")
    return Modality(slope, intercept, None)


def voi_of(elements: Elements, groups: Groups, frame: int, layout: Layout, modality: Modality) -> Voi:
    """The windows of one frame, and its VOI table, which goes first where a file has both. What is invalid counts as absent."""
    where = groups.elements(frame, tags.FrameVOILUTSequence, elements)
    function = _FUNCTIONS.get(where.text(tags.VOILUTFunction) or "LINEAR", VoiFunction.LINEAR)
    least = 1.0 if function is VoiFunction.LINEAR else math.ulp(0.0)  # PS3.3 C.11.2.1.2.1: at least 1, or above 0
    centres, widths = where.hint(tags.WindowCenter, "DS"), where.hint(tags.WindowWidth, "DS")
    texts = where.texts(tags.WindowCenterWidthExplanation)
    windows = [
        (centre, width, _explained(texts[place] if place < len(texts) else ""))
        for place, (centre, width) in enumerate(zip(centres, widths, strict=False))
        if width >= least
    ]
    lut = None
    item = elements.item(tags.VOILUTSequence)
    if item is not None and layout.samples == 1:
        signed = modality.lut is None and (layout.signed or modality.intercept < 0)
        try:
            lut = table_of(item, signed)
        except Refused:
            lut = None  # only a hint for display
    if lut is not None:
        function = VoiFunction.LUT
    elif not windows:
        function = VoiFunction.NONE
    return Voi(
        function,
        tuple(centre for centre, _, _ in windows),
        tuple(width for _, width, _ in windows),
        lut,
        tuple(explanation for _, _, explanation in windows),
    )


def _explained(text: str) -> WindowExplanation:
    """The entry of our list that a free text means; the text itself may name anybody and stays here."""
    if not text.strip():
        return WindowExplanation.UNKNOWN
    for explanation, words in _EXPLANATIONS:
        if re.search(rf"(?<![A-Z])(?:{words})(?![A-Z])", text.upper()):
            return explanation
    return WindowExplanation.OTHER


def padding_of(elements: Elements, layout: Layout) -> tuple[int, int] | None:
    """Pixel Padding Value to Range Limit, inclusive, in stored units; signed as the pixels are, whatever VR the file gives.

    Of float pixels (C.7.6.24, C.7.6.25) only whole numbers are kept.
    """
    if layout.samples != 1:
        return None
    if layout.floating:
        return _float_padding(elements, layout)
    bounds = []
    for tag in (tags.PixelPaddingValue, tags.PixelPaddingRangeLimit):
        raw = elements.raw(tag)
        if len(raw) >= 2:
            bounds.append(as_stored(int.from_bytes(raw[:2], "little" if elements.little(tag) else "big"), layout))
    return (min(bounds), max(bounds)) if bounds and tags.PixelPaddingValue in elements else None


def _float_padding(elements: Elements, layout: Layout) -> tuple[int, int] | None:
    value, limit, vr = (
        (tags.FloatPixelPaddingValue, tags.FloatPixelPaddingRangeLimit, "FL")
        if layout.allocated == 32
        else (tags.DoubleFloatPixelPaddingValue, tags.DoubleFloatPixelPaddingRangeLimit, "FD")
    )
    bounds = [*elements.hint(value, vr)[:1], *elements.hint(limit, vr)[:1]]
    if value not in elements or not bounds or any(bound != int(bound) for bound in bounds):
        return None
    return int(min(bounds)), int(max(bounds))


def as_stored(word: int, layout: Layout) -> int:
    """A 16-bit word as a stored value: two's complement for signed pixels, of Bits Stored where it only fits there."""
    if not layout.signed:
        return word
    limit = 1 << (layout.stored - 1)
    if limit <= word < 2 * limit:
        return word - 2 * limit
    return word - 0x10000 if word > 0x7FFF else word


def inverted(elements: Elements, photometric: str) -> bool:
    """Whether low values are white; MONOCHROME1 with Presentation LUT Shape INVERSE says it twice and means it once."""
    if photometric == "MONOCHROME1":
        return True
    return photometric == "MONOCHROME2" and elements.text(tags.PresentationLUTShape) == "INVERSE"


def attributes_of(elements: Elements, groups: Groups, frame: int, layout: Layout, sop_class: str) -> SeriesAttributes:
    """What may leave the private folder about the series of one frame."""

    def of(macro: int, *choices: tuple[int, str]) -> float | None:
        for where in (groups.macro(frame, macro), elements):
            for tag, vr in choices if where is not None else ():
                values = where.hint(tag, vr) if where is not None else ()
                if values:
                    return values[0]
        return None

    reconstruction = groups.elements(frame, tags.CTReconstructionSequence, elements)
    field = elements.hint(tags.MagneticFieldStrength, "DS")
    return SeriesAttributes(
        modality=elements.text(tags.Modality) or "",
        body_part=elements.text(tags.BodyPartExamined),
        manufacturer=elements.text(tags.Manufacturer),
        model=elements.text(tags.ManufacturerModelName),
        kernel=reconstruction.text(tags.ConvolutionKernel),
        field_strength=field[0] if field else None,
        echo_time=of(tags.MREchoSequence, (tags.EffectiveEchoTime, "FD"), (tags.EchoTime, "DS")),
        repetition_time=of(tags.MRTimingAndRelatedParametersSequence, (tags.RepetitionTime, "DS")),
        b_value=of(tags.MRDiffusionSequence, (tags.DiffusionBValue, "FD")),
        units=units_of(elements, groups, frame, layout, sop_class),
    )


def units_of(elements: Elements, groups: Groups, frame: int, layout: Layout, sop_class: str) -> Units:
    """Units of the modality values.

    Hounsfield units for CT whose Rescale Type says HU, or says nothing in an original image that is no localizer (C.8.2.1.1.2);
    otherwise what Units (0054,1001) says; display values for 8-bit secondary captures.
    """
    named = elements.text(tags.Units)
    if named in ("BQML", "CNTS", "GML"):
        return Units[named]
    if elements.text(tags.Modality) == "CT" and layout.samples == 1:
        where = groups.elements(frame, tags.PixelValueTransformationSequence, elements)
        kind, image_type = where.text(tags.RescaleType), elements.texts(tags.ImageType)
        if kind == "HU":
            return Units.HU
        original = bool(image_type) and image_type[0] == "ORIGINAL" and "LOCALIZER" not in image_type
        if kind is None and original and where.raw(tags.RescaleSlope).strip():
            return Units.HU
    if sop_class.startswith(_SECONDARY_CAPTURE) and layout.stored <= 8:
        return Units.DISPLAY
    return Units.UNSPECIFIED
