"""What a DICOM object without pixel data is, by its SOP Class (PS3.4 B.5, PS3.6 table A-1)."""

from __future__ import annotations

from typing import Final

from radload.sources.slice import Refused

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
# Whole families: a class that a later edition adds to one has the same beginning.
_FAMILIES: Final = (
    (_STORAGE + "88.", "structured-report", "a structured report"),
    (_STORAGE + "11.", "presentation-state", "a presentation state"),
    (_STORAGE + "481.", "rt-object", "a radiotherapy object without pixels"),
    (_STORAGE + "9.", "waveform", "a waveform"),
    (_STORAGE + "104.", "encapsulated-document", "an encapsulated document"),
    ("1.2.840.10008.1.3.10", "dicomdir", "a directory of other files"),
)


def refuse_object(sop_class: str) -> Refused:
    """Why an object of this class, which has neither pixel data nor Rows, is no image."""
    for beginning, code, reason in _FAMILIES:
        if sop_class.startswith(beginning):
            return Refused(code, reason)
    return Refused("not-an-image-object", "a DICOM object without an image")
