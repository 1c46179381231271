"""The tar writer of shards: USTAR (POSIX.1-1988), the same bytes for the same members wherever and whenever it runs.

No owner, no time, mode 0644; names are digits and stay far under USTAR's 100 characters (DALI returns wrong bytes for longer ones).
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

BLOCK = 512
_SMALL = 1 << 14  # bytes: what is cheaper to copy than to write in pieces
_MAX_SIZE = 8**11 - 1  # eleven octal digits


def header(name: str, size: int) -> bytes:
    """The 512-byte header of a regular file. Raises ValueError for what USTAR cannot say."""
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= 100 or not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"a member called {name!r} of {size} bytes does not fit USTAR")
    fields = (
        encoded.ljust(100, b"\0")  # name
        + b"0000644\0"  # mode
        + b"0000000\0" * 2  # uid, gid
        + b"%011o\0" % size
        + b"00000000000\0"  # mtime
        + b" " * 8  # checksum, counted as spaces
        + b"0"  # a regular file
        + b"\0" * 100  # link name
        + b"ustar\x0000"  # magic and version
        + b"\0" * 64  # user, group
        + b"\0" * 16  # device numbers
        + b"\0" * 155  # prefix
        + b"\0" * 12
    )
    checksum = b"%06o\0 " % sum(fields)
    return fields[:148] + checksum + fields[156:]


class TarWriter:
    """Appends members to a file; knows its size and SHA-256 without reading it again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, name: str, data: bytes) -> int:
        """Append a member; returns the offset of its data."""
        offset = self.size + BLOCK
        padding = bytes(-len(data) % BLOCK)
        if len(data) < _SMALL:
            self._write(b"".join((header(name, len(data)), data, padding)))
        else:
            self._write(header(name, len(data)))
            self._write(data)
            self._write(padding)
        return offset

    def finish(self) -> bytes:
        """Write the end of the archive (two blocks of zeros); returns the SHA-256 of the file."""
        self._write(bytes(2 * BLOCK))
        return self._digest.digest()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)
