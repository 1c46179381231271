"""The Image Pixel module of a DICOM file (PS3.3 C.7.6.3), read and checked against what the file holds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from radload.sources import dicom_tags as tags
from radload.sources.dicom_bits import Layout
from radload.sources.dicom_codestreams import SYNTAXES
from radload.sources.dicom_file import NATIVE, DicomFile, PixelElement
from radload.sources.limits import MAX_FRAMES, check_frame
from radload.sources.slice import Refused

_SMALLEST_FRAGMENT: Final = 10  # bytes: an item's header and a value of even length (PS3.5 A.4)
_FEW_FRAMES: Final = 1024  # so many may be missing, whatever is there
_SHORTAGE: Final = 100  # above, native pixel data may lack at most so many times the frames that it has
_COLOURS: Final = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_PARTIAL_422": 3,
    "YBR_PARTIAL_420": 3,
    "YBR_RCT": 3,
    "YBR_ICT": 3,
}


def layout_of(dicom: DicomFile) -> Layout:
    """Read and check the Image Pixel module.

    Raises:
        Refused: `no-pixel-data`, `bad-header`, `unsupported-colour`, `unsupported-dtype`, `unsupported-transfer-syntax`, `truncated`,
            `too-large`.
    """
    elements, pixels = dicom.elements, dicom.pixels
    if pixels is None or pixels.length == 0:
        raise Refused("no-pixel-data", "no pixel data follows the header")
    if dicom.syntax not in NATIVE and dicom.syntax not in SYNTAXES:
        raise Refused("unsupported-transfer-syntax", f"no decoder for {_public_name(dicom.syntax)}")
    rows, cols = elements.integer(tags.Rows, "US"), elements.integer(tags.Columns, "US")
    allocated = elements.integer(tags.BitsAllocated, "US")
    if not rows or not cols or not allocated or rows < 0 or cols < 0:
        raise Refused("bad-header", "Rows, Columns or Bits Allocated is missing")
    samples = elements.integer(tags.SamplesPerPixel, "US") or 1
    photometric = elements.text(tags.PhotometricInterpretation) or ("MONOCHROME2" if samples == 1 else "")
    if _COLOURS.get(photometric) != samples:
        raise Refused(
            "unsupported-colour", f"{samples} samples per pixel do not make one of the colour models that can be read"
        )
    floating = pixels.tag != tags.PixelData
    if allocated not in ((32, 64) if floating else (1, 8, 16, 32, 64)):
        raise Refused("unsupported-dtype", f"{allocated} bits per value")
    stored = elements.integer(tags.BitsStored, "US") or allocated
    if not 0 < stored <= allocated:
        raise Refused("bad-header", "Bits Stored exceeds Bits Allocated")
    high = elements.integer(tags.HighBit, "US")
    frames = elements.integer(tags.NumberOfFrames, "IS") or 1
    if not 0 < frames <= MAX_FRAMES:
        raise Refused("bad-header", f"Number of Frames is not between 1 and {MAX_FRAMES}")
    layout = Layout(
        rows=rows,
        cols=cols,
        samples=samples,
        frames=frames,
        allocated=allocated,
        stored=stored,
        high=high if high is not None and stored <= high + 1 <= allocated else stored - 1,
        signed=not floating and elements.integer(tags.PixelRepresentation, "US") == 1,
        planar=(elements.integer(tags.PlanarConfiguration, "US") or 0) if samples > 1 else 0,
        photometric=photometric,
        floating=floating,
    )
    check_frame(rows, cols, samples, max(allocated // 8, 1))
    if dicom.syntax in NATIVE:
        return _native_layout(dicom, pixels, layout)
    _check_frames(frames, (dicom.size - pixels.offset) // _SMALLEST_FRAGMENT)
    return layout


def _public_name(syntax: str) -> str:
    """A transfer syntax as a message may name it: damaged headers have anything there, a patient's name for one."""
    return (
        f"transfer syntax {syntax}"
        if re.fullmatch(r"1\.2\.840\.10008\.[0-9.]{1,40}", syntax)
        else "this transfer syntax"
    )


def _check_frames(frames: int, most: int) -> None:
    """Refuse a Number of Frames that the pixel data cannot come near: each frame that is missing is a reject of its own."""
    if frames > _FEW_FRAMES and frames > most:
        raise Refused("bad-header", "Number of Frames is far more than the pixel data can hold")


def _native_layout(dicom: DicomFile, pixels: PixelElement, layout: Layout) -> Layout:
    """Check the length of native pixel data; correct a photometric interpretation that the length disproves."""
    if pixels.length is None:
        raise Refused("bad-header", "pixel data of undefined length in a transfer syntax without compression")
    here = min(pixels.length, dicom.size - pixels.offset)
    if layout.subsampled or layout.photometric == "YBR_PARTIAL_420":
        full = layout.rows * layout.cols * 3 * layout.allocated // 8 * layout.frames
        if pixels.length in (full, full + full % 2):
            return replace(layout, photometric=layout.photometric[:-4])
        if not layout.subsampled:
            raise Refused("unsupported-colour", "YBR_PARTIAL_420 without compression has no defined layout")
        if layout.cols % 2:
            raise Refused("bad-header", f"{layout.photometric} with an odd number of columns")
    if here * 8 < layout.frame_bits():
        raise Refused("truncated", "the pixel data is shorter than one frame")
    _check_frames(layout.frames, _SHORTAGE * (here * 8 // layout.frame_bits()))
    return layout
