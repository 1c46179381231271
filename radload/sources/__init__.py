"""Image files as slices: `scan` reads a header without decoding a pixel, `read` the slices. Formats are recognised by content.

DICOM, NIfTI (plain, gzipped, pairs), PNG and JPEG. Every file ends as slices, as `Refused` with a stable code (`CODES`), or as
`NotAnImage`; `PartOf`, which is a `NotAnImage`, names the file that stands for both halves of a NIfTI pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radload.sources.codes import CODES, SUV_MISSING
from radload.sources.segmentation import Segmentation, SegmentationType, SegmentCode
from radload.sources.slice import (
    Header,
    Lut,
    NotAnImage,
    PartOf,
    RealWorld,
    Refused,
    SeriesAttributes,
    Slice,
    Units,
    VoiFunction,
    WindowExplanation,
)

if TYPE_CHECKING:
    from radload.sources.nifti import few_values
    from radload.sources.open import read, scan

__all__ = [
    "CODES",
    "SUV_MISSING",
    "Header",
    "Lut",
    "NotAnImage",
    "PartOf",
    "RealWorld",
    "Refused",
    "SegmentCode",
    "Segmentation",
    "SegmentationType",
    "SeriesAttributes",
    "Slice",
    "Units",
    "VoiFunction",
    "WindowExplanation",
    "few_values",
    "read",
    "scan",
]


def __getattr__(name: str) -> Any:
    """The readers bring pydicom and nibabel: they are imported when first asked for, never by a loader process."""
    if name in ("read", "scan"):
        from radload.sources import open as doors

        return getattr(doors, name)
    if name == "few_values":
        from radload.sources.nifti import few_values

        return few_values
    raise AttributeError(f"module 'radload.sources' has no attribute {name!r}")
