"""Cutting an HTJ2K codestream at a resolution level, without touching a payload byte.

The streams are those that `htj2k.encode` writes: one tile, one tile-part per resolution (RPCL), their lengths in one
TLM marker. Level k is the image at 1 / 2**k; it needs the main header and the first levels + 1 - k tile-parts. With the
header changed to that of the smaller image they are an ordinary codestream for any JPEG 2000 decoder.

Markers: ISO/IEC 15444-1 Annex A (SIZ A.5.1, COD A.6.1, QCD A.6.4, TLM A.7.1, SOT A.4.2, SOD A.4.3), CAP: 15444-15 A.3.
Everything is checked: what is not such a stream raises CorruptSample, whatever its bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from radload.codecs.encoded import MAX_SIDE, MAX_VALUES, BytesLike
from radload.dataset.schema import LEVELS
from radload.errors import CorruptSample

SOC, SIZ, CAP, COD, QCD, COM, TLM, SOT, SOD = 0xFF4F, 0xFF51, 0xFF50, 0xFF52, 0xFF5C, 0xFF64, 0xFF55, 0xFF90, 0xFF93
EOC = b"\xff\xd9"

_HEADER_ROOM = 1024  # bytes in which the main header must end; ours has 157 to 163
_LSIZ_AT = 4  # offset of the length of SIZ, which follows SOC and its own marker
_TLM_START = b"\xff\x55\x00"  # TLM and the upper byte of its length
_TLM_STYLE = 0x60  # 16-bit tile numbers, 32-bit lengths
_SOT_SOD = struct.Struct(">HHHIBBH")  # SOT, Lsot, Isot, Psot, TPsot, TNsot, SOD


@dataclass(frozen=True, slots=True)
class Plan:
    """What cutting a stream with a given main header at a given level takes.

    Attributes:
        header: the main header of the cut stream.
        shape: of the image at this level, (rows, cols) or (rows, cols, 3).
        parts: tile-parts of the whole stream (levels + 1); kept: those that the level needs.
        tlm: layout of the TLM marker segment: marker, length, index, style, then tile and length of every tile-part.
    """

    header: bytes
    shape: tuple[int, ...]
    parts: int
    kept: int
    tlm: struct.Struct


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the levels of one codestream end.

    Attributes:
        shape: of the full image, (rows, cols) or (rows, cols, 3).
        levels: resolution levels below the full one.
        level_end: [k-1]: bytes from the start that level k needs.
    """

    shape: tuple[int, ...]
    levels: int
    level_end: tuple[int, ...]


def level_shape(shape: tuple[int, ...], level: int) -> tuple[int, ...]:
    """Shape of an image at a resolution level: ceil(rows / 2**level), ceil(cols / 2**level), channels unchanged."""
    return (-(-shape[0] >> level), -(-shape[1] >> level), *shape[2:])


def _refuse(what: str) -> NoReturn:
    raise CorruptSample(
        f"the codestream {what}: it is damaged, or not a stream that radload wrote; pack the source again"
    )


def _segments(header: bytes) -> dict[int, bytes]:
    """Marker segments of a main header from SOC up to TLM: marker -> segment with its marker."""
    if header[:2] != SOC.to_bytes(2, "big"):
        _refuse("does not start with SOC (FF4F)")
    segments: dict[int, bytes] = {}
    position, order = 2, list[int]()
    while position < len(header):
        if position + 4 > len(header):
            _refuse("has a header that ends inside a marker")
        marker, length = struct.unpack_from(">HH", header, position)
        end = position + 2 + length
        if length < 2 or end > len(header):
            _refuse(f"has a marker {marker:04X} of impossible length {length}")
        segments[marker] = header[position:end]
        order.append(marker)
        position = end
    if order not in ([SIZ, CAP, COD, QCD], [SIZ, CAP, COD, QCD, COM]):
        _refuse(f"has the markers {' '.join(f'{m:04X}' for m in order)} before TLM where SIZ CAP COD QCD are expected")
    return segments


def _size(siz: bytes) -> tuple[int, ...]:
    """Shape from a SIZ segment, refusing all but one tile of unsigned 16-bit components without subsampling."""
    if len(siz) < 40:
        _refuse("has a SIZ marker that is too short")
    profile, cols, rows, x0, y0, tile_cols, tile_rows, tx0, ty0, components = struct.unpack_from(">HIIIIIIIIH", siz, 4)
    if components not in (1, 3) or siz[40:] != b"\x0f\x01\x01" * components:
        _refuse("does not hold one or three components of unsigned 16 bits")
    if profile != 0x4000:
        _refuse(f"has profile {profile:04X} where HTJ2K's 4000 is expected")
    if not (1 <= rows <= MAX_SIDE and 1 <= cols <= MAX_SIDE):
        _refuse(f"is of {rows} x {cols} pixels where sides of 1 to {MAX_SIDE} are possible")
    if rows * cols * components > MAX_VALUES:  # before anybody makes room for them: a few bytes may say 8 GB
        _refuse(f"is of {rows} x {cols} x {components} values, more than the {MAX_VALUES:,} that are possible")
    if (x0, y0, tx0, ty0) != (0, 0, 0, 0) or (tile_cols, tile_rows) != (cols, rows):
        _refuse("has several tiles or an offset")
    return (rows, cols) if components == 1 else (rows, cols, 3)


@lru_cache(maxsize=4096)  # a data set has few image sizes; a plan takes about 1 kB
def _plan(header: bytes, level: int) -> Plan:
    """Check a main header (SOC up to, not including, TLM) and make the one of its level.

    Raises:
        CorruptSample: it is not the header of a stream that radload wrote, or the stream has no such level.
    """
    segments = _segments(header)
    siz, cap, cod, qcd = (segments[m] for m in (SIZ, CAP, COD, QCD))
    shape = _size(siz)
    if len(cap) != 10 or cap[4:8] != b"\x00\x02\x00\x00":
        _refuse("has a CAP marker that names more than HTJ2K (Part 15)")
    colour = len(shape) == 3
    # Scod 0, RPCL, one layer, colour transform for three components, levels, 64 x 64 blocks, HT, reversible 5/3.
    if len(cod) != 14 or cod[4:9] != bytes((0, 2, 0, 1, colour)) or cod[10:] != b"\x04\x04\x40\x01":
        _refuse("has a COD marker with another order, layering, block size or wavelet")
    levels = cod[9]
    if levels > LEVELS:
        _refuse(f"has {levels} decomposition levels where the format allows {LEVELS}")
    if len(qcd) != 5 + 1 + 3 * levels or qcd[4] & 0x1F:
        _refuse("has a QCD marker that does not fit a reversible transform of its levels")
    if level > levels:
        _refuse(f"has {levels} resolution levels below the full one where level {level} was asked")

    smaller = level_shape(shape, level)
    rows, cols = smaller[:2]
    size = siz[:6] + struct.pack(">IIIIIIII", cols, rows, 0, 0, cols, rows, 0, 0) + siz[38:]
    steps = qcd[4 : 5 + 1 + 3 * (levels - level)]
    quantisation = struct.pack(">HH", QCD, len(steps) + 2) + steps
    depth = cod[:9] + bytes((levels - level,)) + cod[10:]
    parts = levels + 1
    return Plan(
        header=header[:2] + size + cap + depth + quantisation,
        shape=smaller,
        parts=parts,
        kept=parts - level,
        tlm=struct.Struct(">HHBB" + "HI" * parts),
    )


def _open(view: memoryview, level: int) -> tuple[Plan, int, tuple[int, ...]]:
    """Plan of a stream, offset of its first tile-part, and the lengths of all its tile-parts.

    Raises:
        CorruptSample: the main header is not as `encode` writes it.
    """
    head = bytes(view[:_HEADER_ROOM])
    # TLM is looked for behind SIZ, whose sizes may hold any bytes; no later marker segment of ours can look like one.
    start = head.find(_TLM_START, _LSIZ_AT + int.from_bytes(head[_LSIZ_AT : _LSIZ_AT + 2], "big"))
    if start < 0:
        _refuse("has no TLM marker in its main header")
    plan = _plan(head[:start], level)
    first = start + plan.tlm.size
    if first > len(head):
        _refuse("ends inside its TLM marker")
    fields = plan.tlm.unpack_from(head, start)
    if fields[1] != plan.tlm.size - 2 or fields[2] != 0 or fields[3] != _TLM_STYLE or any(fields[4::2]):
        _refuse("has a TLM marker that does not list one tile-part per resolution")
    return plan, first, fields[5::2]


def _pieces(view: memoryview, level: int) -> tuple[Plan, list[bytes | memoryview], int]:
    """Plan, the pieces of the cut stream without EOC, and where they end in `view`; every tile-part is checked."""
    plan, position, lengths = _open(view, level)
    if position + sum(lengths[: plan.kept]) > len(view):
        need = position + sum(lengths[: plan.kept])
        _refuse(f"has {len(view)} bytes where level {level} needs {need}")
    pieces: list[bytes | memoryview] = [plan.header]
    for index, length in enumerate(lengths[: plan.kept]):
        if length < _SOT_SOD.size:
            _refuse(f"has a tile-part {index} of impossible length {length}")
        if _SOT_SOD.unpack_from(view, position) != (SOT, 10, 0, length, index, plan.parts, SOD):
            _refuse(f"has no proper tile-part header (SOT, SOD) at the start of resolution {index}")
        pieces.append(_SOT_SOD.pack(SOT, 10, 0, length, index, plan.kept, SOD))
        pieces.append(view[position + _SOT_SOD.size : position + length])
        position += length
    return plan, pieces, position


def open_level(prefix: BytesLike, level: int) -> tuple[BytesLike, tuple[int, ...]]:
    """The codestream of an image at a resolution level, and the shape that it decodes to.

    Args:
        prefix: the stream, of which only the first level_end[level-1] bytes are needed (all of it at level 0).
        level: 0 (the full image: `prefix` itself, checked) or more.

    Raises:
        CorruptSample: these are not the first bytes of a stream that `encode` wrote, or it has no such level.
        ValueError: the level is negative.
    """
    if level < 0:
        raise ValueError(f"level {level} is negative; 0 is the full image")
    view = memoryview(prefix).cast("B")
    plan, pieces, end = _pieces(view, level)
    if level == 0:
        if view[end:] != EOC:
            _refuse(f"has {len(view) - end} bytes behind its last tile-part where only EOC (FFD9) is expected")
        return prefix, plan.shape
    pieces.append(EOC)
    return b"".join(pieces), plan.shape


def cut(prefix: BytesLike, level: int) -> bytes:
    """The codestream of an image at a resolution level, for any JPEG 2000 decoder; see `open_level`."""
    return bytes(open_level(prefix, level)[0])


def layout(data: BytesLike) -> Layout:
    """Shape and level ends of a whole codestream.

    Raises:
        CorruptSample: it is not a stream that `encode` wrote.
    """
    _, shape = open_level(data, 0)
    ends = level_ends(data)
    return Layout(shape, len(ends), ends)


def level_ends(data: BytesLike) -> tuple[int, ...]:
    """Level ends that the main header of a codestream leads to; `open_level` says whether its tile-parts are there.

    Raises:
        CorruptSample: it is not the main header of a stream that `encode` wrote.
    """
    _, end, lengths = _open(memoryview(data).cast("B"), 0)
    ends = []
    for length in lengths[:-1]:
        end += length
        ends.append(end)
    return tuple(reversed(ends))
