"""Damages image files on purpose: `damaged(seeds, number)` is a pure function of seed files and number, so a finding can be repeated.

Half of the damage is blind (bytes flipped, cut, inserted, repeated), half knows the format and breaks what a parser trusts: lengths, tags,
VRs, sizes, offset tables, chunk checksums that are then set right again. Some text values become MARKER: no message may quote it.
"""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MARKER = "XSECRETX"
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_LONG_VRS = frozenset(b"OB OW OF OD OL OV UN UT UC UR SQ SV UV".split())
_VRS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OW OF OD PN SH SL SQ SS ST TM UI UL UN US UT OL OV UC UR SV UV ZZ".split()
)
_TEXT_VRS = frozenset(b"AE CS DS IS LO LT PN SH ST UI UT TM DA".split())
_SYNTAXES = [
    "1.2.840.10008.1.2" + tail
    for tail in ("", ".1", ".1.99", ".2", ".5", ".4.50", ".4.51", ".4.57", ".4.70", ".4.80", ".4.81", ".4.90", ".4.91")
] + [f"1.2.840.10008.1.2.4.{tail}" for tail in (100, 102, 201, 202, 203)]
_NUMBERS = (0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 31, 32, 64, 255, 256, 257, 4096, 8192, 32767, 32768, 46341, 65534, 65535)
_TEXTS = (b"1000000000", b"2147483647", b"999999", b"65536", b"-1", b"0", b"", b"1e400", b"nan", b"1.5", b"3\\4")
_SIZES = (0x00280002, 0x00280006, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)


@dataclass(frozen=True, slots=True)
class Seed:
    """A file to start from; `partner` is the .img that belongs to a .hdr."""

    suffix: str
    data: bytes
    partner: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class _Element:
    """Of a data set's top level: where tag, VR, length field (of `width` bytes) and value stand."""

    tag: int
    vr: bytes | None
    start: int
    field: int
    width: int
    value: int
    length: int


Damage = Callable[[bytearray, random.Random], None]


def load_seeds(folders: Sequence[Path], limit: int) -> list[Seed]:
    """The files of at most `limit` bytes below `folders`, in order of their paths; a .hdr takes its .img along."""
    found = []
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
            if not 0 < path.stat().st_size <= limit or suffix in (".img", ".img.gz", ".csv", ".md", ".py", ".json"):
                continue
            partner = path.with_name(path.name.removesuffix(suffix) + suffix.replace(".hdr", ".img"))
            pair = (
                (suffix.replace(".hdr", ".img"), partner.read_bytes())
                if partner != path and partner.is_file()
                else None
            )
            found.append(Seed(suffix, path.read_bytes(), pair))
    return found


def damaged(seeds: Sequence[Seed], number: int) -> dict[str, bytes]:
    """Case `number`: suffix -> content of one file, or of two for a pair."""
    chance = random.Random(number)
    seed = chance.choice(seeds)
    if seed.partner is not None and chance.random() < 0.5:
        return {seed.suffix: seed.data, seed.partner[0]: _damage(seed.partner[1], chance, seeds)}
    return {seed.suffix: _damage(seed.data, chance, seeds)} | (dict([seed.partner]) if seed.partner else {})


def write_damaged(folder: Path, seeds: Sequence[Seed], numbers: range) -> list[Path]:
    """Write the cases as files whose names hold MARKER; every tenth lies in a folder of its own."""
    paths = []
    for number in numbers:
        place = folder / (f"{MARKER}^Jane" if number % 10 else f"{MARKER}_{number}")
        place.mkdir(parents=True, exist_ok=True)
        for suffix, data in damaged(seeds, number).items():
            paths.append(place / f"{MARKER}_{number:06d}{suffix}")
            paths[-1].write_bytes(data)
    return paths


def _damage(data: bytes, chance: random.Random, seeds: Sequence[Seed]) -> bytes:
    if data.startswith(b"\x1f\x8b") and chance.random() < 0.7:  # damage below the compression, which is then whole
        try:
            return gzip.compress(_damage(gzip.decompress(data), chance, seeds), 1, mtime=0)
        except (OSError, EOFError, zlib.error):
            pass
    content = bytearray(data)
    informed = _informed(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        if informed is not None and chance.random() < 0.6:
            informed(content, chance)
        elif chance.random() < 0.03:  # the end of another file
            other = chance.choice(seeds).data
            content[chance.randrange(len(content) + 1) :] = other[chance.randrange(len(other)) :]
        else:
            chance.choice(_BLIND)(content, chance)
    return bytes(content)


def _informed(content: bytearray) -> Damage | None:
    if content[128:132] == b"DICM" or (len(content) > 8 and content[0] in (2, 8) and content[1] == 0):
        return _dicom
    if content.startswith(b"\x89PNG"):
        return _png
    if content.startswith(b"\xff\xd8"):
        return _jpeg
    return (
        _nifti
        if len(content) >= 348 and content[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c", b"\x1c\2\0\0", b"\0\0\2\x1c")
        else None
    )


def _span(content: bytearray, chance: random.Random) -> tuple[int, int]:
    """A short range, more often near the start, where headers are."""
    start = int(len(content) * chance.random() ** chance.choice((1, 3)))
    return start, min(len(content), start + chance.choice((1, 2, 4, 8, 64, 1024)))


def _flip(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 4, 32))):
        if content:
            content[_span(content, chance)[0] % len(content)] ^= 1 << chance.randrange(8)


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content) + 1) :]


def _remove(content: bytearray, chance: random.Random) -> None:
    start, end = _span(content, chance)
    del content[start:end]


def _insert(content: bytearray, chance: random.Random) -> None:
    start, end = _span(content, chance)
    content[start:start] = chance.randbytes(end - start)


def _repeat(content: bytearray, chance: random.Random) -> None:
    start, end = _span(content, chance)
    content[start:start] = content[start:end]


def _fill(content: bytearray, chance: random.Random) -> None:
    start, end = _span(content, chance)
    content[start:end] = chance.choice((b"\0", b"\xff", b"\xfe\xff\0\xe0"[:1], b"A")) * (end - start)


def _word(content: bytearray, chance: random.Random) -> None:
    """A number that lies at the edge of something."""
    start, _ = _span(content, chance)
    value = chance.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(content), 1 << 30))
    data = value.to_bytes(4, chance.choice(("little", "big")))
    content[start : start + 4] = data[: max(0, len(content) - start)]


_BLIND: tuple[Damage, ...] = (_flip, _flip, _cut, _remove, _insert, _repeat, _fill, _word)


def _elements(content: bytearray) -> list[_Element]:
    """The top level of a little-endian data set, as far as it can be followed; sequences of undefined length are stepped into."""
    found: list[_Element] = []
    position = 132 if content[128:132] == b"DICM" else 0
    while position + 8 <= len(content) and len(found) < 2000:
        group, number = struct.unpack_from("<HH", content, position)
        vr: bytes | None = bytes(content[position + 4 : position + 6])
        if group != 0xFFFE and vr in _VRS:
            field, width = (position + 8, 4) if vr in _LONG_VRS else (position + 6, 2)
        else:
            vr, field, width = None, position + 4, 4
        if field + width > len(content):
            break
        length = int.from_bytes(content[field : field + width], "little")
        found.append(_Element(group << 16 | number, vr, position, field, width, field + width, length))
        inside = group == 0xFFFE or vr == b"SQ" or length == 0xFFFFFFFF
        position = field + width + (0 if inside and found[-1].tag not in _PIXEL_TAGS else length)
        if found[-1].tag in _PIXEL_TAGS:
            if length != 0xFFFFFFFF:
                break
            position = field + width  # the fragments
        elif group == 0xFFFE and any(one.tag in _PIXEL_TAGS for one in found):
            position += 0 if number == 0xE0DD else length
    return found


def _dicom(content: bytearray, chance: random.Random) -> None:
    elements = _elements(content)
    if not elements:
        _flip(content, chance)
        return
    one = chance.choice(elements)
    sized = [element for element in elements if element.tag in _SIZES and element.length == 2]
    fragments = [element for element in elements if element.tag == 0xFFFEE000]
    texts = [element for element in elements if element.vr in _TEXT_VRS and 0 < element.length < 0xFFFF]
    kind = chance.randrange(14)
    if kind >= 12 and len(fragments) > 1:  # the codestream: its header, or anywhere
        one = chance.choice(fragments[1:])
        reach = min(one.length, chance.choice((64, 256, one.length)))
        for _ in range(chance.choice((1, 1, 2, 8))):
            place = one.value + chance.randrange(max(reach, 1))
            if place < len(content):
                content[place] = chance.choice(
                    (0, 0xFF, content[place] ^ 1 << chance.randrange(8), chance.randrange(256))
                )
    elif kind == 0:
        lengths = (0, 1, one.length + 1, one.length + 2, one.length * 2, 0x7FFFFFFE, 0xFFFFFFFF, 0xFFFE, len(content))
        _put(content, one.field, chance.choice(lengths) % (1 << 8 * one.width), one.width)
    elif kind == 1:
        other = chance.choice(elements)
        a, b = bytes(content[one.start : one.start + 4]), bytes(content[other.start : other.start + 4])
        content[one.start : one.start + 4], content[other.start : other.start + 4] = b, a
    elif kind == 2 and one.vr is not None:
        content[one.start + 4 : one.start + 6] = chance.choice(_VRS)
    elif kind in (3, 4) and sized:
        for element in chance.sample(sized, min(len(sized), chance.choice((1, 1, 2)))):
            _put(content, element.value, chance.choice(_NUMBERS), 2)
    elif kind == 5:
        _set_text(content, elements, 0x00280008, chance.choice(_TEXTS))
    elif kind == 6:
        _set_text(content, elements, 0x00020010, chance.choice((*_SYNTAXES, MARKER)).encode())
    elif kind == 7:
        names = (
            b"MONOCHROME1",
            b"RGB",
            b"YBR_FULL",
            b"YBR_FULL_422",
            b"PALETTE COLOR",
            b"YBR_RCT",
            b"YBR_PARTIAL_420",
            b"CMYK",
        )
        _set_text(content, elements, 0x00280004, chance.choice(names))
    elif kind == 8 and fragments:
        one = chance.choice(fragments)
        if chance.random() < 0.5:
            _put(content, one.field, chance.choice((0, 1, one.length // 2, one.length + 8, 0xFFFFFFFF, 1 << 31)), 4)
        else:  # offsets that point anywhere
            first = fragments[0]
            table = b"".join(
                struct.pack("<I", chance.randrange(1 << chance.choice((4, 16, 32)))) for _ in range(chance.randrange(9))
            )
            content[first.field : first.value + first.length] = struct.pack("<I", len(table)) + table
    elif kind == 9:
        end = min(len(content), one.value + (one.length if one.length < len(content) else 0))
        copy = bytes(content[one.start : end])
        content[one.start : end] = b"" if chance.random() < 0.5 else copy * chance.choice((2, 2, 50))
    elif texts:
        one = chance.choice(texts)
        if kind == 10:
            content[one.value : one.value + one.length] = (MARKER.encode() * (one.length // 8 + 1))[: one.length]
        else:
            _set_text(content, elements, one.tag, chance.choice((*_TEXTS, MARKER.encode())))
    else:
        _word(content, chance)


def _put(content: bytearray, position: int, value: int, width: int) -> None:
    content[position : position + width] = (value % (1 << 8 * width)).to_bytes(width, "little")


def _set_text(content: bytearray, elements: Sequence[_Element], tag: int, text: bytes) -> None:
    """Another value for the first element `tag`, with the length that it then has."""
    one = next((element for element in elements if element.tag == tag and element.length < 1024), None)
    if one is not None:
        text += b" " * (len(text) % 2)
        content[one.value : one.value + one.length] = text
        _put(content, one.field, len(text), one.width)


def _png(content: bytearray, chance: random.Random) -> None:
    chunks, position = [], 8
    while position + 12 <= len(content):
        length = struct.unpack_from(">I", content, position)[0]
        if position + 12 + length > len(content):
            break
        chunks.append(
            (bytes(content[position + 4 : position + 8]), bytearray(content[position + 8 : position + 8 + length]))
        )
        position += 12 + length
    if not chunks:
        _flip(content, chance)
        return
    at = chance.randrange(len(chunks))
    name, body = chunks[at]
    kind = chance.randrange(5)
    if kind == 0 and len(chunks[0][1]) == 13:
        field = chance.choice((0, 4))
        struct.pack_into(">I", chunks[0][1], field, chance.choice((*_NUMBERS, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF)))
    elif kind == 1 and len(chunks[0][1]) == 13:
        chunks[0][1][chance.randrange(8, 13)] = chance.choice((0, 1, 2, 3, 4, 6, 8, 16))
    elif kind == 2:
        chance.choice(_BLIND)(body, chance)
    elif kind == 3:
        chunks[at : at + 1] = chance.choice(
            ([], [(name, body)] * 2, [(b"tRNS", body), (name, body)], [(b"PLTE", body)])
        )
    else:
        chunks.insert(chance.randrange(len(chunks) + 1), chunks.pop(at))
    content[8:] = b"".join(
        struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _jpeg(content: bytearray, chance: random.Random) -> None:
    """Sizes, components and tables in the segments of the header."""
    segments, position = [], 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        segments.append((content[position + 1], position + 2, struct.unpack_from(">H", content, position + 2)[0]))
        if content[position + 1] == 0xDA:
            break
        position += 2 + segments[-1][2]
    frames = [start for marker, start, _ in segments if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)]
    if frames and frames[0] + 8 <= len(content) and chance.random() < 0.5:
        struct.pack_into(">H", content, frames[0] + chance.choice((3, 5)), chance.choice(_NUMBERS))
    elif segments:
        _, start, length = chance.choice(segments)
        place = start + chance.randrange(max(length, 2))
        if place < len(content):
            content[place] = chance.randrange(256)


def _nifti(content: bytearray, chance: random.Random) -> None:
    if len(content) < 348:  # what was cut before has no header any more
        _flip(content, chance)
        return
    order = "<" if content[0] else ">"
    first = content[0] == 0x5C or content[3] == 0x5C
    dims, kinds, offset, scale = (40, 70, 108, 112) if first else (16, 12, 168, 176)
    kind = chance.randrange(5)
    if kind in (0, 1):
        value = chance.choice((*_NUMBERS[:-3], 0, 1, 32767, -1, -32768))
        for _ in range(chance.choice((1, 2, 4))):
            place = chance.randrange(8)
            if first:
                struct.pack_into(f"{order}h", content, dims + 2 * place, max(-32768, min(value, 32767)))
            elif len(content) >= dims + 64:
                struct.pack_into(f"{order}q", content, dims + 8 * place, chance.choice((value, 1 << 33, (1 << 62) + 1)))
    elif kind == 2:
        struct.pack_into(
            f"{order}h",
            content,
            kinds,
            chance.choice((0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304)),
        )
    elif kind == 3:
        if first:
            struct.pack_into(
                f"{order}f", content, offset, chance.choice((0.0, -1.0, 352.5, 1e30, float("nan"), float("inf")))
            )
        else:
            struct.pack_into(f"{order}q", content, offset, chance.choice((0, -1, 1 << 62)))
    else:
        struct.pack_into(
            f"{order}f", content, scale + chance.choice((0, 4)), chance.choice((0.0, float("nan"), float("inf"), 1e38))
        )
