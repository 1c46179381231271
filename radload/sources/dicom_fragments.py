"""Encapsulated pixel data (PS3.5 A.4): which fragments make which frame. Fragments are located first and read when their frame is due."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from radload.sources import dicom_tags as tags
from radload.sources.dicom_file import DicomFile
from radload.sources.slice import Refused

_ITEM: Final = 0xFFFEE000
_DELIMITER: Final = 0xFFFEE0DD
_RLE: Final = "1.2.840.10008.1.2.5"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One item of the pixel data.

    Attributes:
        place: of its header, in bytes from the first fragment's header, as the offset tables count.
        offset, length: of its value in the stream.
        complete: False where the file ends within it, or after it without the delimiter that PS3.5 A.4 demands: more may be missing.
    """

    place: int
    offset: int
    length: int
    complete: bool = True


def encapsulated_frames(dicom: DicomFile, frames: int) -> Iterator[bytes | Refused]:
    """Yield `frames` codestreams, in order, or why one is missing.

    Raises:
        Refused: `bad-header`, `truncated`, `decode-failed` or `no-pixel-data`, where frames cannot be told apart at all.
    """
    pixels = dicom.pixels
    if pixels is None or pixels.length is not None:
        raise Refused("bad-header", "the transfer syntax is a compressed one, the pixel data is not encapsulated")
    offsets, fragments = _locate(dicom, pixels.offset)
    if not fragments:
        raise Refused("no-pixel-data", "the pixel data holds no fragment")
    groups = _group(dicom, offsets, fragments, frames)
    for frame in range(frames):
        group = groups[frame] if frame < len(groups) else []
        if not group or not all(fragment.complete for fragment in group):
            yield Refused("truncated", "the compressed pixel data ends early")
        else:
            yield b"".join(_value(dicom.stream, fragment) for fragment in group)


def _locate(dicom: DicomFile, start: int) -> tuple[tuple[int, ...], list[Fragment]]:
    """The Basic Offset Table and the fragments, as far as the file goes."""
    stream, position = dicom.stream, start
    offsets: tuple[int, ...] | None = None
    origin = start
    fragments: list[Fragment] = []
    while True:
        stream.seek(position)
        header = stream.read(8)
        if len(header) < 8:
            if not fragments:
                raise Refused("truncated", "the compressed pixel data ends early")
            fragments[-1] = replace(fragments[-1], complete=False)
            return offsets or (), fragments
        group, element, length = struct.unpack("<HHI", header)
        tag = group << 16 | element
        if tag == _DELIMITER:
            return offsets or (), fragments
        if tag != _ITEM or length == 0xFFFFFFFF:
            raise Refused("decode-failed", "the pixel data is not a sequence of fragments")
        complete = position + 8 + length <= dicom.size
        if offsets is None:
            table = stream.read(length) if complete else b""
            offsets = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
            origin = position + 8 + length
        else:
            fragments.append(Fragment(position - origin, position + 8, length, complete))
            if not complete:
                return offsets, fragments
        position += 8 + length


def _group(dicom: DicomFile, offsets: tuple[int, ...], fragments: list[Fragment], frames: int) -> list[list[Fragment]]:
    if frames == 1:
        return [fragments]
    extended = dicom.elements.raw(tags.ExtendedOffsetTable)
    if extended:
        offsets = struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8])
    if len(offsets) >= frames:
        return _by_offsets(offsets, fragments)
    if len(fragments) == frames or dicom.syntax == _RLE:  # an RLE frame is one fragment (PS3.5 A.4.2)
        return [[fragment] for fragment in fragments]
    return _by_end_marker(dicom.stream, fragments)


def _by_offsets(offsets: tuple[int, ...], fragments: list[Fragment]) -> list[list[Fragment]]:
    """Each offset names the first fragment of a frame."""
    starts = {offset: frame for frame, offset in enumerate(offsets)}
    groups: list[list[Fragment]] = [[] for _ in offsets]
    frame: int | None = None
    for fragment in fragments:
        frame = starts.get(fragment.place, frame)
        if frame is None:
            raise Refused("decode-failed", "the offset table does not fit the fragments")
        groups[frame].append(fragment)
    return groups


def _by_end_marker(stream: BinaryIO, fragments: list[Fragment]) -> list[list[Fragment]]:
    """Without a table, a frame ends with the fragment that holds its codestream's end marker (JPEG's EOI, JPEG 2000's EOC: FFD9)."""
    groups: list[list[Fragment]] = [[]]
    for fragment in fragments:
        groups[-1].append(fragment)
        stream.seek(fragment.offset + max(fragment.length - 10, 0))
        if b"\xff\xd9" in stream.read(min(fragment.length, 10)):
            groups.append([])
    return groups


def _value(stream: BinaryIO, fragment: Fragment) -> bytes:
    stream.seek(fragment.offset)
    return stream.read(fragment.length)
