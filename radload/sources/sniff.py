"""Which image format a file is in, decided by its bytes; the name matters only for the data half of a NIfTI pair, which has no mark."""

from __future__ import annotations

import struct
import zlib
from enum import Enum
from pathlib import Path

HEAD = 1024  # bytes that are enough to recognise every format (NIfTI-2's header has 540)
GZIP = b"\x1f\x8b"
_NIFTI1_SIZE, _NIFTI2_SIZE = 348, 540
_VRS = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split())


class Kind(Enum):
    """A format that radload reads."""

    DICOM = "dicom"
    NIFTI = "nifti"
    PNG = "png"
    JPEG = "jpeg"


def sniff(head: bytes) -> Kind | None:
    """The format of a file whose first HEAD bytes are `head`, None where it is none that radload reads."""
    if head[128:132] == b"DICM":
        return Kind.DICOM
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Kind.PNG
    if head.startswith(b"\xff\xd8\xff"):
        return Kind.JPEG
    if nifti_magic(head) is not None:
        return Kind.NIFTI
    return Kind.DICOM if _bare_dicom(head) else None


def nifti_magic(head: bytes) -> bytes | None:
    """b"n+1", b"ni1", b"n+2" or b"ni2" (n+: single file, ni: header of a pair), None where `head`, gzipped or not, is no NIfTI header."""
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(
                head, _NIFTI2_SIZE
            )  # no further: the CRC is the reader's affair
        except zlib.error:
            return None
    if len(head) < _NIFTI1_SIZE:
        return None
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", head)
        if size == _NIFTI1_SIZE and head[344:347] in (b"n+1", b"ni1"):
            return head[344:347]
        if size == _NIFTI2_SIZE and head[4:7] in (b"n+2", b"ni2"):
            return head[4:7]
    return None


def pair_header(path: Path) -> Path | None:
    """The NIfTI header beside an .img or .img.gz, None where `path` is no data half of a pair."""
    stem = pair_stem(path, ".img")
    if stem is None:
        return None
    for end in (".hdr", ".hdr.gz", ".HDR"):
        header = path.with_name(stem + end)
        if header.is_file():
            with header.open("rb") as file:
                if nifti_magic(file.read(HEAD)) in (b"ni1", b"ni2"):
                    return header
    return None


def pair_stem(path: Path, end: str) -> str | None:
    """The name without `end` or `end`.gz, None where it ends otherwise."""
    name = path.name.lower()
    for suffix in (end, end + ".gz"):
        if name.endswith(suffix):
            return path.name[: -len(suffix)]
    return None


def _bare_dicom(head: bytes) -> bool:
    """Whether `head` starts with DICOM elements but no preamble: two plausible elements of group 0002 or 0008, in rising order."""
    return any(_plausible(head, order, explicit) for order, explicit in (("<", True), ("<", False), (">", True)))


def _plausible(head: bytes, order: str, explicit: bool) -> bool:
    position, last, groups = 0, (0, -1), (0x0002, 0x0008)
    for _ in range(2):
        if position + 12 > len(head):
            return False
        group, element = struct.unpack_from(f"{order}HH", head, position)
        if explicit:
            vr = head[position + 4 : position + 6]
            if vr not in _VRS:
                return False
            if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
                (length,) = struct.unpack_from(f"{order}I", head, position + 8)
                position += 12 + length
            else:
                (length,) = struct.unpack_from(f"{order}H", head, position + 6)
                position += 8 + length
        else:
            (length,) = struct.unpack_from(f"{order}I", head, position + 4)
            position += 8 + length
        if group not in groups or (group, element) <= last or length > 512:
            return False
        last = (group, element)
    return True
