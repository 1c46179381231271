"""PNG and JPEG files: values as stored, before the palette; already windowed by whoever made them. EXIF and ICC are ignored."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import BinaryIO, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radload.sources.limits import check_frame
from radload.sources.slice import Header, Refused, SeriesAttributes, Slice, Units
from radload.sources.sniff import Kind

_PNG_START: Final = 8
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6  # PNG colour types
_PNG_CHANNELS: Final = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_JPEG_FRAMES: Final = frozenset(
    (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
)  # SOFn
_DISPLAY: Final = SeriesAttributes(units=Units.DISPLAY)


@dataclass(frozen=True, slots=True)
class _Shape:
    """`depth` is bits per value, `colour` PNG's colour type; a JPEG counts as _GREY or _RGB."""

    rows: int
    cols: int
    depth: int
    colour: int

    @property
    def channels(self) -> int:
        return 3 if self.colour in (_RGB, _RGBA) else 1


def scan_image(file: BinaryIO, kind: Kind, source: str) -> Header:
    """The header of the PNG or JPEG open as `file`; no pixel is decoded.

    Raises:
        Refused: the file can give no slice (codes in `codes.CODES`).
    """
    file.seek(0)
    shape = _png_shape(file.read(33)) if kind is Kind.PNG else _jpeg_shape(file)
    return Header(
        source=source,
        format="image",
        rows=shape.rows,
        cols=shape.cols,
        channels=shape.channels,
        bits=shape.depth,
        frames=1,
        attributes=_DISPLAY,
    )


def read_image(file: BinaryIO, kind: Kind) -> Slice:
    """The one slice of the PNG or JPEG open as `file`: (rows, cols), or (rows, cols, 3) for colour; uint8, or uint16 for a 16-bit PNG.

    An alpha channel is dropped; `exact` is False unless it was opaque throughout.

    Raises:
        Refused: the file can give no slice (codes in `codes.CODES`).
    """
    file.seek(0)
    data = file.read()
    if kind is Kind.JPEG:
        return _read_jpeg(data, _jpeg_shape(io.BytesIO(data)))
    shape = _png_shape(data)
    _check_png(data)
    if shape.depth == 16 and shape.colour != _GREY:  # Pillow would cut these to 8 bits
        try:
            return _slice(imagecodecs.png_decode(data), shape, None, True)
        except (ValueError, RuntimeError) as error:
            raise Refused("decode-failed", "the PNG's pixels cannot be decoded") from error
    image = _pillow(data, "PNG")
    palette = None
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), dtype=np.uint16).reshape(-1, 3)
    values: NDArray[np.generic] = np.array(image)
    if shape.depth == 1 and shape.colour == _GREY:
        values = values.astype(np.uint8)
    elif shape.depth in (2, 4) and shape.colour == _GREY:
        values = np.floor_divide(
            values, 255 // (2**shape.depth - 1), dtype=np.uint8
        )  # Pillow spreads them over 0 to 255
    elif shape.depth == 16:
        values = values.astype(np.uint16)
    return _slice(values, shape, palette, "transparency" not in image.info)


def _slice(values: NDArray[np.generic], shape: _Shape, palette: NDArray[np.uint16] | None, exact: bool) -> Slice:
    if shape.colour in (_GREY_ALPHA, _RGBA):
        alpha = values[..., -1]
        exact = exact and bool((np.asarray(alpha) == 2 ** min(shape.depth, 16) - 1).all())
        values = values[..., :-1]
        values = values[..., 0] if shape.colour == _GREY_ALPHA else values
    expected = (shape.rows, shape.cols, 3) if shape.channels == 3 else (shape.rows, shape.cols)
    if values.shape != expected:
        raise Refused("decode-failed", "the pixels are not what the header says")
    return Slice(
        frame=0,
        stored=np.ascontiguousarray(values),
        photometric="RGB" if shape.channels == 3 else "MONOCHROME2" if palette is None else "PALETTE COLOR",
        bits_stored=shape.depth,
        palette=palette,
        exact=exact,
        attributes=_DISPLAY,
    )


def _read_jpeg(data: bytes, shape: _Shape) -> Slice:
    values = np.array(_pillow(data, "JPEG"))
    expected = (shape.rows, shape.cols, 3) if shape.channels == 3 else (shape.rows, shape.cols)
    if values.shape != expected:
        raise Refused("decode-failed", "the pixels are not what the header says")
    return Slice(
        frame=0,
        stored=values,
        photometric="RGB" if shape.channels == 3 else "MONOCHROME2",
        bits_stored=8,
        lossy=True,
        attributes=_DISPLAY,
    )


def _pillow(data: bytes, form: str) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are limited by _limit, before Pillow sees the file
            image = Image.open(io.BytesIO(data), formats=(form,))
            image.load()
            return image
    except Image.DecompressionBombError as error:
        raise Refused("too-large", "more pixels than Pillow agrees to decode") from error
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error, zlib.error) as error:
        raise Refused("decode-failed", f"the {form}'s pixels are damaged or end early") from error


def _limit(rows: int, cols: int, channels: int, size: int) -> None:
    if rows < 1 or cols < 1:
        raise Refused("bad-header", "the image has no pixels")
    check_frame(rows, cols, channels, size)


def _png_shape(head: bytes) -> _Shape:
    """From the IHDR chunk (PNG specification, 11.2.2)."""
    if len(head) < 33:
        raise Refused("truncated", "the PNG ends within its header")
    length, name, cols, rows, depth, colour = struct.unpack_from(">I4sIIBB", head, _PNG_START)
    if (
        name != b"IHDR"
        or length != 13
        or depth not in (1, 2, 4, 8, 16)
        or colour not in (_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA)
    ):
        raise Refused("bad-header", "the PNG's header is damaged")
    if zlib.crc32(head[12:29]) != struct.unpack_from(">I", head, 29)[0]:
        raise Refused("bad-checksum", "the PNG's header does not match its checksum")
    _limit(rows, cols, _PNG_CHANNELS[colour], max(depth // 8, 1))
    return _Shape(rows, cols, depth, colour)


def _check_png(data: bytes) -> None:
    """Check every chunk's CRC up to IEND: Pillow does not check those of the pixels."""
    position = _PNG_START
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(memoryview(data)[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise Refused("bad-checksum", "a part of the PNG does not match its checksum")
        if name == b"IEND":
            return
        position = end + 4
    raise Refused("truncated", "the PNG ends early")


def _jpeg_shape(file: BinaryIO) -> _Shape:
    """From the first frame header (ITU-T T.81, B.2.2)."""
    file.seek(2)
    while True:
        marker = file.read(2)
        while len(marker) == 2 and marker == b"\xff\xff":
            marker = marker[1:] + file.read(1)
        if len(marker) < 2:
            raise Refused("truncated", "the JPEG ends within its header")
        if marker[0] != 0xFF:
            raise Refused("bad-header", "the JPEG's header is damaged")
        size = file.read(2)
        if len(size) < 2:
            raise Refused("truncated", "the JPEG ends within its header")
        length = int.from_bytes(size, "big")
        if marker[1] in _JPEG_FRAMES:
            frame = file.read(6)
            if len(frame) < 6:
                raise Refused("truncated", "the JPEG ends within its header")
            depth, rows, cols, components = struct.unpack(">BHHB", frame)
            if depth != 8:
                raise Refused("unsupported-dtype", f"a JPEG of {depth} bits")
            if components not in (1, 3):
                raise Refused("unsupported-colour", f"a JPEG of {components} components")
            _limit(rows, cols, components, 1)
            return _Shape(rows, cols, depth, _GREY if components == 1 else _RGB)
        if marker[1] == 0xDA or length < 2:
            raise Refused("bad-header", "the JPEG has no frame header")
        file.seek(length - 2, io.SEEK_CUR)
