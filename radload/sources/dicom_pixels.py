"""Stored values of a DICOM image, frame by frame: PS3.5 section 8 (native), annex A.4 (encapsulated), nothing of their meaning.

Only the frame that is asked for is read and decoded.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from radload.sources.dicom_bits import Layout
from radload.sources.dicom_codestreams import Ahead, decode, kind_of
from radload.sources.dicom_file import EXPLICIT_BIG, NATIVE, DicomFile, PixelElement
from radload.sources.dicom_fragments import encapsulated_frames
from radload.sources.dicom_native import native_values
from radload.sources.slice import Refused


def frames_of(
    dicom: DicomFile, layout: Layout, ahead: Ahead | None = None
) -> Iterator[tuple[NDArray[np.generic], str] | Refused]:
    """Yield for each frame its stored values, (rows, cols[, 3]), with their photometric interpretation; or why it has none.

    ahead: see `dicom_codestreams.decode`.
    """
    if dicom.pixels is None:
        raise Refused("no-pixel-data", "no pixel data follows the header")
    if dicom.syntax in NATIVE:
        for frame in range(layout.frames):
            try:
                yield _native_frame(dicom, dicom.pixels, layout, frame)
            except Refused as refused:
                yield refused
        return
    for codestream in encapsulated_frames(dicom, layout.frames):
        if isinstance(codestream, Refused):
            yield codestream
            continue
        try:
            yield decode(codestream, dicom.syntax, layout, ahead)
        except Refused as refused:
            yield refused


def lossless_streams(dicom: DicomFile, layout: Layout) -> Iterator[tuple[int, bytes, str]]:
    """(frame, codestream, kind) of each frame that a decoder other than the CPU's may have, see `dicom_codestreams.kind_of`."""
    if dicom.pixels is None or dicom.syntax in NATIVE:
        return
    for frame, codestream in enumerate(encapsulated_frames(dicom, layout.frames)):
        kind = None if isinstance(codestream, Refused) else kind_of(codestream, dicom.syntax, layout)
        if kind is not None and not isinstance(codestream, Refused):
            yield frame, codestream, kind


def _native_frame(
    dicom: DicomFile, pixels: PixelElement, layout: Layout, frame: int
) -> tuple[NDArray[np.generic], str]:
    bits = layout.frame_bits()
    first, last = frame * bits // 8, -(-(frame + 1) * bits // 8)
    swapped = dicom.syntax == EXPLICIT_BIG and layout.allocated == 8 and pixels.vr == "OW"
    begin, end = (
        (first & ~1, last + (last & 1)) if swapped else (first, last)
    )  # 8-bit values in big-endian words: pairs change places
    if pixels.length is not None and last > pixels.length:
        raise Refused("truncated", "the pixel data ends before this frame does")
    dicom.stream.seek(pixels.offset + begin)
    data = dicom.stream.read(end - begin)
    if len(data) < last - begin:
        raise Refused("truncated", "the file ends before this frame does")
    if swapped:
        words = np.frombuffer(data + b"\0" * (len(data) % 2), dtype="u2").byteswap()
        data = words.tobytes()[first - begin : last - begin]
    return native_values(data, layout, frame * bits % 8, dicom.syntax == EXPLICIT_BIG)
