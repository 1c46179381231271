"""Look-up tables of DICOM: modality and VOI tables (PS3.3 C.11.1, C.11.2) and colour palettes (C.7.6.3.1.5, C.7.9).

Read here and not by pydicom, whose `apply_voi` wraps tables of 8-bit entries, and whose table reading follows the VR alone.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements
from radload.sources.slice import Lut, Refused

_MOST_SEGMENTS: Final = 1 << 17  # references to empty segments could go on for hours


def table_of(item: Elements, signed: bool) -> Lut:
    """The table in one item of a Modality or VOI LUT Sequence, in its own output units (0 to 2**bits - 1).

    Args:
        item: holds LUT Descriptor and LUT Data.
        signed: whether the values that go into the table may be negative.

    Raises:
        Refused: `bad-header`.
    """
    entries, first, bits = _descriptor(item, tags.LUTDescriptor, signed)
    values = _entries(item, tags.LUTData, entries, bits).astype(np.float64)
    return Lut(first, values, bits if 8 <= bits <= 16 and values.max() < 1 << bits else None)


def palette_of(elements: Elements, signed: bool) -> tuple[NDArray[np.uint16], int, int]:
    """The palette of a PALETTE COLOR image: (entries, 3), the first stored value mapped, and the bits of an entry (8 or 16).

    Raises:
        Refused: `bad-header`.
    """
    described = [_descriptor(elements, tag, signed) for tag in tags.PaletteDescriptors]
    entries, first, bits = described[0]
    if any(other != described[0] for other in described[1:]):
        raise Refused("bad-header", "the three palette tables differ in size")
    columns = []
    for plain, segmented in zip(tags.PaletteData, tags.SegmentedPaletteData, strict=True):
        if plain in elements:
            columns.append(_entries(elements, plain, entries, bits))
        else:
            columns.append(_segments(elements, segmented, entries, bits))
    return np.stack(columns, axis=1).astype(np.uint16), first, 8 if bits <= 8 else 16


def _descriptor(item: Elements, tag: int, signed: bool) -> tuple[int, int, int]:
    """(entries, first value mapped, bits per entry); 0 entries mean 65,536; the first value is signed where its input is."""
    raw = item.raw(tag)
    if len(raw) < 6:
        raise Refused("bad-header", "a look-up table has no descriptor")
    entries, first, bits = struct.unpack("<HHH" if item.little(tag) else ">HHH", raw[:6])
    if first > 0x7FFF and (signed or item.vr(tag) == "SS"):
        first -= 0x10000
    return entries or 0x10000, first, bits


def _entries(item: Elements, tag: int, entries: int, bits: int) -> NDArray[np.uint16]:
    raw = item.raw(tag)
    if bits <= 8 and len(raw) in (entries, entries + entries % 2) and len(raw) < 2 * entries:
        return np.frombuffer(raw, dtype=np.uint8)[:entries].astype(np.uint16)
    words = np.frombuffer(raw[: len(raw) // 2 * 2], dtype="<u2" if item.little(tag) else ">u2")
    if len(words) < entries:
        raise Refused("bad-header", "a look-up table is shorter than its descriptor says")
    return words[:entries].astype(np.uint16)


def _segments(item: Elements, tag: int, entries: int, bits: int) -> NDArray[np.uint16]:
    """Expand a segmented palette (PS3.3 C.7.9.2): discrete (0), linear (1) and indirect (2) segments."""
    raw = item.raw(tag)
    order = "<" if item.little(tag) else ">"
    size, dtype = (1, "u1") if bits <= 8 else (2, f"{order}u2")
    data = np.frombuffer(raw[: len(raw) // size * size], dtype=dtype).tolist()
    out: list[int] = []
    steps = 0

    def expand(position: int, count: int, nested: bool) -> None:
        nonlocal steps
        done = 0
        while position + 1 < len(data) and done < count and len(out) < entries:
            steps += 1
            if steps > _MOST_SEGMENTS:
                raise Refused("bad-header", "a segmented palette has more segments than it can have entries")
            opcode, length = data[position], data[position + 1]
            position, done = position + 2, done + 1
            if opcode == 0:
                out.extend(data[position : position + length])
                position += length
            elif opcode == 1 and out and position < len(data):
                out.extend(np.linspace(out[-1], data[position], length + 1)[1:].round().astype(int).tolist())
                position += 1
            elif opcode == 2 and not nested:
                words = 4 // size
                offset = sum(
                    value << (8 * size * place) for place, value in enumerate(data[position : position + words])
                )
                expand(offset // size, length, True)
                position += words
            else:
                raise Refused("bad-header", "a segmented palette is damaged")

    expand(0, len(data), False)
    if len(out) < entries:
        raise Refused("bad-header", "a palette is shorter than its descriptor says")
    return np.array(out[:entries], dtype=np.uint16)
