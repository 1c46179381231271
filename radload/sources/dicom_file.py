"""Opens a DICOM file (PS3.10): its header as elements, and where its pixel element lies. No pixel is read."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from pydicom.filereader import data_element_generator

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements
from radload.sources.limits import MAX_INFLATED
from radload.sources.slice import Refused

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
NATIVE: Final = frozenset((IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG))

UNDEFINED: Final = 0xFFFFFFFF
_PIXEL_TAGS: Final = (tags.FloatPixelData, tags.DoubleFloatPixelData, tags.PixelData)
_MEDIA_STORAGE_CLASS: Final = 0x00020002
_TRANSFER_SYNTAX: Final = 0x00020010
_INFLATE_STEP: Final = 1 << 24  # bytes


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel element lies: `offset` of its value in the stream, `length` None where undefined (encapsulated, PS3.5 A.4)."""

    tag: int
    vr: str | None
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class DicomFile:
    """An open DICOM file. `stream` is the file itself, or what was inflated from it; `size` is the stream's length in bytes."""

    stream: BinaryIO
    size: int
    syntax: str
    sop_class: str
    elements: Elements
    pixels: PixelElement | None


def open_dicom(file: BinaryIO, wanted: frozenset[int]) -> DicomFile:
    """Read the header of the DICOM file open as `file`: those elements of `wanted` that it has.

    Args:
        file: open for reading, positioned anywhere; stays open, and in use while the result is.
        wanted: tags of the main data set to keep.

    Raises:
        Refused: `truncated` where the header breaks off, `bad-header` where it is none, `unsupported-transfer-syntax`.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    preamble = file.read(132)
    file.seek(132 if preamble[128:] == b"DICM" else 0)
    meta = Elements(_read(file, False, True, lambda tag, vr, length: tag >> 16 != 0x0002, None))
    syntax = meta.text(_TRANSFER_SYNTAX)
    stream = file
    if syntax == DEFLATED:
        stream = _inflate(file)
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
    implicit, little = _encoding(stream, syntax)
    if syntax is None:
        syntax = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG

    reached: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag < tags.FloatPixelData or tag not in _PIXEL_TAGS:
            return False
        reached.append((int(tag), vr, length))
        return True

    found = _read(stream, implicit, little, at_pixels, wanted)
    elements = Elements(found)
    pixels = None
    if reached:
        tag, vr, length = reached[0]
        header = (
            12 if vr in ("OB", "OW", "OF", "OD", "UN", "OL", "OV", "UT", "SQ") else 8
        )  # the reader stands at the element's start
        pixels = PixelElement(tag, vr, stream.tell() + header, None if length == UNDEFINED else length)
    elif stream.tell() > size or _cut(found):
        raise Refused("truncated", "the file ends within its header")
    sop_class = elements.text(tags.SOPClassUID) or meta.text(_MEDIA_STORAGE_CLASS) or ""
    return DicomFile(stream, size, syntax, sop_class, elements, pixels)


class _Capped:
    """A file of which no more is asked than it holds: a length that lies would make room for up to 4 GiB before a byte is read."""

    _LARGE: Final = 1 << 20  # bytes; smaller reads go through as they are

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size > self._LARGE:
            here = self._file.tell()
            size = max(min(size, self._file.seek(0, io.SEEK_END) - here), 0)
            self._file.seek(here)
        return self._file.read(size)


def _read(stream: BinaryIO, implicit: bool, little: bool, stop: Any, wanted: frozenset[int] | None) -> dict[int, Any]:
    specific = None if wanted is None else list(wanted)
    source: Iterator[Any] = data_element_generator(_Capped(stream), implicit, little, stop, specific_tags=specific)
    return {int(element.tag): element for element in source}


def _cut(found: dict[int, Any]) -> bool:
    """Whether the last element holds fewer bytes than it announces."""
    if not found:
        return False
    last = next(reversed(found.values()))
    value, length = getattr(last, "value", None), getattr(last, "length", 0)
    return isinstance(value, bytes) and length != UNDEFINED and len(value) < length


def _inflate(file: BinaryIO) -> BinaryIO:
    """The data set of a Deflated Explicit VR Little Endian file (PS3.5 A.5)."""
    inflater, inflated = zlib.decompressobj(wbits=-zlib.MAX_WBITS), io.BytesIO()
    try:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or file.read(_INFLATE_STEP)
            block = inflater.decompress(packed, _INFLATE_STEP)
            if not packed and not block:
                raise Refused("truncated", "the deflated data set ends early")
            if inflated.tell() + len(block) > MAX_INFLATED:
                raise Refused("too-large", "the deflated data set grows beyond 1 GiB")
            inflated.write(block)
    except zlib.error as error:
        raise Refused("decode-failed", "the deflated data set is damaged") from error
    inflated.seek(0)
    return inflated


def _encoding(stream: BinaryIO, syntax: str | None) -> tuple[bool, bool]:
    """(implicit VR, little-endian) of the data set that starts at the stream's position.

    The bytes have the last word on implicit or explicit: writers exist that name one and write the other.
    """
    start = stream.tell()
    first = stream.read(6)
    stream.seek(start)
    explicit = len(first) == 6 and first[4:].isalpha() and first[4:].isupper()
    if syntax is None:
        return not explicit, not (explicit and int.from_bytes(first[:2], "little") >= 0x0400)
    return not explicit, syntax != EXPLICIT_BIG
