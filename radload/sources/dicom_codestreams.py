"""One compressed frame -> stored values.

imagecodecs goes first (libjpeg-turbo, CharLS, OpenJPEG), then the decoders that pydicom knows. GDCM never: on a damaged JPEG it ends the
process (seen: an uncaught gdcm::Exception in gdcmJPEGBITSCodec), and one bad file must not cost a run.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space, get_decoder
from pydicom.uid import UID

from radload.sources.dicom_native import native_values, stored_bits
from radload.sources.slice import Refused

if TYPE_CHECKING:
    from radload.sources.dicom_bits import Layout

_JPEG: Final = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_LOSSLESS: Final = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS: Final = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000: Final = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K: Final = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
_RLE: Final = "1.2.840.10008.1.2.5"
_DEFLATED_FRAME: Final = "1.2.840.10008.1.2.8.1"

_END: Final = b"\xff\xd9"  # EOI of JPEG, EOC of JPEG 2000
_MOST_COMPONENTS: Final = 4  # a decoder makes room for as many as a stream announces, up to 16,384

SYNTAXES: Final = frozenset((*_JPEG, *_JPEG_LOSSLESS, *_JPEG_LS, *_JPEG_2000, *_HTJ2K, _RLE, _DEFLATED_FRAME))
LOSSY: Final = frozenset((*_JPEG, "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"))

# Whose standard fixes every bit of the decoded values, so that any decoder may be used.
LOSSLESS: Final = frozenset(
    (*_JPEG_LOSSLESS, "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202")
)

Ahead = Callable[
    [bytes], "NDArray[np.generic] | None"
]  # a codestream -> its components, where another decoder has made them

# What third-party decoders raise on damaged bytes; anything else is a programming error and not ours to hide.
_DECODER_ERRORS: Final = (
    ValueError,
    RuntimeError,  # imagecodecs' errors, and pydicom's where a plugin refuses
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    OSError,
    struct.error,
)


def decode(
    codestream: bytes, syntax: str, layout: Layout, ahead: Ahead | None = None
) -> tuple[NDArray[np.generic], str]:
    """Decode one frame.

    Args:
        codestream: one frame's fragments, joined.
        syntax: one of SYNTAXES.
        layout: the file's Image Pixel module.
        ahead: asked first, for syntaxes in LOSSLESS; what it gives is what `components` would.

    Returns:
        Stored values, (rows, cols) or (rows, cols, 3), sign-extended to Bits Stored; and their photometric interpretation: RGB where
        JPEG 2000 held YBR_RCT or YBR_ICT, and where a JPEG is RGB under a header that says YBR. A JPEG that is YBR under a header that
        says RGB is converted; one that says full range is not of partial range.

    Raises:
        Refused: `decode-failed`.
    """
    if syntax == _DEFLATED_FRAME:
        return native_values(_inflate(codestream, -(-layout.frame_bits() // 8)), layout)
    if syntax in (*_JPEG_2000, *_HTJ2K):
        _check_size(codestream, layout)
    elif syntax != _RLE:
        _check_frame_header(codestream, layout)
    ready = ahead(codestream) if ahead is not None and syntax in LOSSLESS else None
    ways = [_by_imagecodecs, _by_pydicom]
    if ready is not None:
        ways.insert(0, partial(_by_imagecodecs, ready=ready))
    errors = []
    for values_of in ways:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values = values_of(codestream, syntax, layout)
            break
        except _DECODER_ERRORS as error:
            errors.append(error)
    else:
        raise Refused("decode-failed", "no decoder could read the compressed pixels") from errors[0]
    photometric = layout.photometric
    if photometric in ("YBR_RCT", "YBR_ICT"):
        return values, "RGB"
    if layout.samples == 3 and syntax in _JPEG:
        colour = _jpeg_colour(codestream) or photometric
        if photometric == "RGB" and colour == "YBR_FULL":
            return convert_color_space(values, "YBR_FULL", "RGB"), "RGB"
        if colour == "RGB" or (colour == "YBR_FULL" and photometric.startswith("YBR_PARTIAL")):
            return values, colour
    return values, photometric


def _inflate(codestream: bytes, size: int) -> bytes:
    """One frame of Deflated Image Frame Compression (PS3.5 A.4.14 and RFC 1951): native bytes, perhaps with a byte of padding."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(codestream, size)
    except zlib.error as error:
        raise Refused("decode-failed", "the deflated frame is damaged") from error
    if len(data) < size:
        raise Refused("truncated", "the deflated frame ends early")
    return data


def components(codestream: bytes, syntax: str, samples: int) -> NDArray[np.generic]:
    """What imagecodecs decodes, (rows, cols[, components]), before anything is made of it. Raises ValueError, RuntimeError."""
    values: NDArray[np.generic]
    if syntax in (*_JPEG, *_JPEG_LOSSLESS):
        space = None if samples == 1 else "YCBCR"  # equal spaces in and out: the components as they are
        values = imagecodecs.jpeg8_decode(codestream, colorspace=space, outcolorspace=space)
    elif syntax in _JPEG_LS:
        values = imagecodecs.jpegls_decode(codestream)
    elif syntax == _RLE:
        raise ValueError("pydicom's decoder knows RLE better")
    else:  # not htj2k_decode, which (imagecodecs 2026.3.6) returns an array where OpenJPH has raised an error
        values = imagecodecs.jpeg2k_decode(codestream)
    return values


def _by_imagecodecs(
    codestream: bytes, syntax: str, layout: Layout, ready: NDArray[np.generic] | None = None
) -> NDArray[np.generic]:
    expected = (layout.rows, layout.cols) if layout.samples == 1 else (layout.rows, layout.cols, layout.samples)
    values = components(codestream, syntax, layout.samples) if ready is None else ready
    if values.shape != expected or values.dtype.kind not in "iu":
        raise ValueError("the codestream has another shape than the header says")
    if values.dtype == layout.dtype and layout.stored == layout.allocated:
        return np.asarray(values)
    wide = values.astype(np.int64)
    sign = 1 << (layout.stored - 1)
    # Most codecs know no sign: two's complement of Bits Stored. Above those bits there may be anything (PS3.5 8.1.1), such as old overlays;
    # only what a lossy codec overshoots is no garbage.
    if layout.signed and (values.dtype.kind == "u" or syntax not in LOSSY):
        wide = ((wide & (2 * sign - 1)) ^ sign) - sign
    elif not layout.signed and (values.dtype.kind == "i" or syntax not in LOSSY):
        wide &= 2 * sign - 1
    limits = np.iinfo(layout.dtype.str)
    if wide.min() < limits.min or wide.max() > limits.max:
        raise ValueError("the codestream's values exceed Bits Allocated")
    return wide.astype(layout.dtype)


def _by_pydicom(codestream: bytes, syntax: str, layout: Layout) -> NDArray[np.generic]:
    decoder = get_decoder(UID(syntax))
    plugins = [plugin for plugin in decoder.available_plugins if plugin != "gdcm"]
    for plugin in plugins:
        try:
            values, _ = decoder.as_array(
                encapsulate([codestream], has_bot=False),
                index=0,
                raw=True,
                decoding_plugin=plugin,
                rows=layout.rows,
                columns=layout.cols,
                number_of_frames=1,
                samples_per_pixel=layout.samples,
                bits_allocated=layout.allocated,
                bits_stored=layout.allocated if syntax == _RLE else layout.stored,
                pixel_representation=int(layout.signed),
                photometric_interpretation=layout.photometric,
                planar_configuration=layout.planar,
                pixel_keyword="PixelData",
            )
            if syntax == _RLE:  # carries words as they are, with High Bit and what stands around the pixels
                return stored_bits(np.array(values, layout.dtype), layout)
            return np.ascontiguousarray(values)
        except _DECODER_ERRORS:
            if plugin == plugins[-1]:
                raise
        except BaseException as error:
            if (
                type(error).__name__ != "PanicException"
            ):  # a panic in Rust (pylibjpeg-rle) is no Exception, nor importable
                raise
            if plugin == plugins[-1]:
                raise ValueError("the decoder gave up") from None
    raise ValueError("pydicom has no decoder for this syntax")


def kind_of(codestream: bytes, syntax: str, layout: Layout) -> str | None:
    """What a decoder must know to decode a stream: syntax, bits with sign, components. None for one that is left to the CPU.

    That is what is lossy, damaged as far as can be seen, or cut: where bits are missing, each decoder makes up its own.
    """
    if syntax not in LOSSLESS or _END not in (codestream[-2:], codestream[-3:-1]):  # a byte of padding may follow
        return None
    try:
        if syntax in _JPEG_LOSSLESS:
            _check_frame_header(codestream, layout)
            bits, count = next(
                (body[0], body[5])
                for marker, body in _segments(codestream)
                if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
            )
            return f"{syntax} {bits} bits {count}"
        _check_size(codestream, layout)
    except (Refused, struct.error, IndexError, StopIteration):
        return None
    start = codestream.find(b"\xff\x4f\xff\x51", 0, 4096)
    (count,) = struct.unpack_from(">H", codestream, start + 40)
    depths = codestream[start + 42 : start + 42 + 3 * count : 3]  # Ssiz of each component: bits - 1, and the sign
    if len(set(depths)) != 1:
        return None
    return f"{syntax} {'signed ' if depths[0] & 0x80 else ''}{(depths[0] & 0x7F) + 1} bits {count}"


def _check_size(codestream: bytes, layout: Layout) -> None:
    """Refuse a JPEG 2000 stream of another size than the header's (SIZ marker, ITU-T T.800 A.5.1) before a decoder makes room for it."""
    start = codestream.find(b"\xff\x4f\xff\x51", 0, 4096)  # some writers wrap the codestream in JP2 boxes
    if start < 0 or len(codestream) < start + 42:
        raise Refused("decode-failed", "the compressed pixels are no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", codestream, start + 8)
    (components,) = struct.unpack_from(">H", codestream, start + 40)
    if (bottom - top, right - left) != (layout.rows, layout.cols) or components > _MOST_COMPONENTS:
        raise Refused("decode-failed", "the codestream has another size than the header says")


def _check_frame_header(codestream: bytes, layout: Layout) -> None:
    """The same for JPEG and JPEG-LS (SOFn and SOF55, ITU-T T.81 B.2.2 and T.87 C.2.2); a height of 0 is left to the decoder (DNL)."""
    for marker, body in _segments(codestream):
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, cols = struct.unpack_from(">HH", body, 1) if len(body) >= 6 else (0, 0)
            if cols != layout.cols or rows not in (0, layout.rows) or body[5] > _MOST_COMPONENTS:
                raise Refused("decode-failed", "the codestream has another size than the header says")
            return
    raise Refused("decode-failed", "the compressed pixels have no frame header")


def _segments(codestream: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of the marker segments before the first scan."""
    position = 2
    while position + 4 <= len(codestream) and codestream[position] == 0xFF:
        marker, length = codestream[position + 1], int.from_bytes(codestream[position + 2 : position + 4], "big")
        if marker == 0xFF:  # fill bytes may stand before a marker
            position += 1
            continue
        if marker == 0xDA:
            return
        yield marker, codestream[position + 4 : position + 2 + length]
        position += 2 + length


def _jpeg_colour(codestream: bytes) -> str | None:
    """RGB or YBR_FULL where the stream says so (Adobe's APP14 transform, else JFIF's APP0, else component names), else None."""
    colour = None
    for marker, body in _segments(codestream):
        if marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            return "YBR_FULL" if body[11] == 1 else "RGB"
        if marker == 0xE0 and body.startswith(b"JFIF"):
            colour = "YBR_FULL"
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 15 and colour is None:
            return "RGB" if body[6:15:3] in (b"RGB", b"rgb") else None
    return colour
