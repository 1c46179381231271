"""What the header of a DICOM segmentation says about its frames: which segment each shows, of which image, and what the segments are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SegmentationType(StrEnum):
    """Segmentation Type (0062,0001), PS3.3 C.8.20.2."""

    BINARY = "BINARY"
    FRACTIONAL = "FRACTIONAL"
    LABELMAP = "LABELMAP"


@dataclass(frozen=True, slots=True)
class SegmentCode:
    """A segment's number and its Segmented Property Type (0062,000F): scheme and code value, never a text (PS3.3 C.8.20.4)."""

    segment: int
    scheme: str
    code: str


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Attributes:
    type: how pixels say what belongs to a segment.
    maximum: Maximum Fractional Value (0062,000E); 1 for the other types.
    segments: per frame its Referenced Segment Number (0062,000B), 0 where the pixels hold the number (LABELMAP).
    images: per frame the images it was made from: (SOP Instance UID, frame from 0, or None where the source names none).
    instances: SOP Instance UIDs, series: Series Instance UIDs of Referenced Series Sequence (0008,1115).
    numbers: Segment Numbers of Segment Sequence (0062,0002); codes: of the segments whose code may be shown.
    """

    type: SegmentationType
    maximum: int
    segments: tuple[int, ...]
    images: tuple[tuple[tuple[str, int | None], ...], ...]
    instances: frozenset[str]
    series: frozenset[str]
    numbers: frozenset[int]
    codes: tuple[SegmentCode, ...]
