"""Image files as slices: `scan` reads a header without decoding a pixel, `read` the slices. Formats are recognised by content.

DICOM, NIfTI (plain, gzipped, pairs), PNG and JPEG. Every file ends as slices, as `Refused` with a stable code (`CODES`), or as
`NotAnImage`; `PartOf`, which is a `NotAnImage`, names the file that stands for both halves of a NIfTI pair.
"""

from __future__ import annotations

from radload.sources.codes import CODES
from radload.sources.open import read, scan
from radload.sources.slice import Header, Lut, NotAnImage, Refused, SeriesAttributes, Slice, Units, VoiFunction
from radload.sources.sniff import PartOf

__all__ = [
    "CODES",
    "Header",
    "Lut",
    "NotAnImage",
    "PartOf",
    "Refused",
    "SeriesAttributes",
    "Slice",
    "Units",
    "VoiFunction",
    "read",
    "scan",
]
