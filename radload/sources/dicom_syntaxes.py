"""Transfer syntaxes with compressed pixels that can be read (PS3.5 Annex A), by their UIDs."""

from __future__ import annotations

from typing import Final

JPEG: Final = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
JPEG_LOSSLESS: Final = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
JPEG_LS: Final = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
HTJ2K: Final = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
RLE: Final = "1.2.840.10008.1.2.5"
DEFLATED_FRAME: Final = "1.2.840.10008.1.2.8.1"

SYNTAXES: Final = frozenset((*JPEG, *JPEG_LOSSLESS, *JPEG_LS, *JPEG_2000, *HTJ2K, RLE, DEFLATED_FRAME))
LOSSY: Final = frozenset((*JPEG, "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"))
