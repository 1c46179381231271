"""The segmentation modules of a DICOM header (PS3.3 C.8.20, A.51 Segmentation, A.86 Label Map Segmentation)."""

from __future__ import annotations

import re
from typing import Final

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_groups import Groups
from radload.sources.segmentation import Segmentation, SegmentationType, SegmentCode
from radload.sources.slice import Refused

SEGMENTATION: Final = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP: Final = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATIONS: Final = frozenset((SEGMENTATION, LABEL_MAP))

_MOST_SEGMENTS: Final = 65535
# Public vocabularies (PS3.16 section 8) and the form of their codes: what has another form may be free text and is not kept.
_SCHEMES: Final = {
    "SCT": re.compile(r"\d{6,18}"),
    "SRT": re.compile(r"[A-Z][A-Z0-9]?-[0-9A-F]{4,6}"),
    "SNM3": re.compile(r"[A-Z][A-Z0-9]?-[0-9A-F]{4,6}"),
    "DCM": re.compile(r"\d{6}"),
    "FMA": re.compile(r"\d{3,6}"),
    "RADLEX": re.compile(r"RID\d{1,6}"),
    "UMLS": re.compile(r"C\d{7}"),
    "NCIt": re.compile(r"C\d{3,6}"),
}


def segmentation_of(elements: Elements, groups: Groups, frames: int, sop_class: str) -> Segmentation | None:
    """What the header of a segmentation says; None for other objects.

    Raises:
        Refused: `bad-header`, where the type, a frame's segment or the largest fraction cannot be read.
    """
    if sop_class not in SEGMENTATIONS:
        return None
    labelled = sop_class == LABEL_MAP
    try:
        kind = SegmentationType.LABELMAP if labelled else SegmentationType(elements.text(tags.SegmentationType) or "")
    except ValueError as error:
        raise Refused("bad-header", "the Segmentation Type is neither BINARY, FRACTIONAL nor LABELMAP") from error
    maximum = 1
    if kind is SegmentationType.FRACTIONAL:
        maximum = elements.integer(tags.MaximumFractionalValue, "US") or 0
        if maximum < 1:
            raise Refused("bad-header", "a fractional segmentation without a Maximum Fractional Value")
    labels = kind is SegmentationType.LABELMAP
    items = elements.items(tags.SegmentSequence)
    numbers = [item.integer(tags.SegmentNumber, "US") for item in items]
    known = [(number, item) for number, item in zip(numbers, items, strict=True) if number is not None]
    referenced = elements.items(tags.ReferencedSeriesSequence)
    return Segmentation(
        type=kind,
        maximum=maximum,
        segments=tuple(0 if labels else _segment(groups, frame) for frame in range(frames)),
        images=tuple(_images(groups, frame) for frame in range(frames)),
        instances=frozenset(
            uid
            for series in referenced
            for item in series.items(tags.ReferencedInstanceSequence)
            if (uid := item.text(tags.ReferencedSOPInstanceUID))
        ),
        series=frozenset(uid for series in referenced if (uid := series.text(tags.SeriesInstanceUID))),
        numbers=frozenset(number for number, _ in known),
        codes=tuple(code for number, item in known if (code := _code(number, item)) is not None),
    )


def _segment(groups: Groups, frame: int) -> int:
    macro = groups.macro(frame, tags.SegmentIdentificationSequence)
    number = None if macro is None else macro.integer(tags.ReferencedSegmentNumber, "US")
    if number is None or not 0 < number <= _MOST_SEGMENTS:
        raise Refused("bad-header", "a frame of the segmentation does not say which segment it shows")
    return number


def _images(groups: Groups, frame: int) -> tuple[tuple[str, int | None], ...]:
    """Source Image Sequence of Derivation Image (PS3.3 C.7.6.16.2.6); Referenced Frame Number counts from 1."""
    own = groups.frames[frame].items(tags.DerivationImageSequence) if frame < len(groups.frames) else ()
    found: list[tuple[str, int | None]] = []
    for derivation in own or groups.shared.items(tags.DerivationImageSequence):
        for source in derivation.items(tags.SourceImageSequence):
            uid = source.text(tags.ReferencedSOPInstanceUID)
            numbers = source.hint(tags.ReferencedFrameNumber, "IS")
            if uid:
                found += [(uid, int(number) - 1) for number in numbers] or [(uid, None)]
    return tuple(found)


def _code(number: int, item: Elements) -> SegmentCode | None:
    concept = item.item(tags.SegmentedPropertyTypeCodeSequence)
    if concept is None or not 0 <= number <= _MOST_SEGMENTS:
        return None
    scheme, code = concept.text(tags.CodingSchemeDesignator) or "", concept.text(tags.CodeValue) or ""
    pattern = _SCHEMES.get(scheme)
    return SegmentCode(number, scheme, code) if pattern is not None and pattern.fullmatch(code) else None
