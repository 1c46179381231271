"""The tar writer of shards: USTAR (POSIX.1-1988), the same bytes for the same members wherever and whenever it runs.

No owner, no time, mode 0644; names are digits and stay far under USTAR's 100 characters (DALI returns wrong bytes for longer ones).
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from radload.dataset.files import EarlyWriter
from radload.pack.aside import Aside

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

    def __init__(self, file: BinaryIO, aside: Aside | None = None) -> None:
        """With `aside`, whose context outlives the writer, what a write raises is raised by a later `add`, or by `finish`."""
        self._file, self._aside = file, aside
        self._digest = hashlib.sha256()
        self._early, self._written = EarlyWriter(file), 0
        self.size = 0

    def add(self, name: str, data: bytes) -> int:
        """Append a member; returns the offset of its data."""
        offset = self.size + BLOCK
        head, padding = header(name, len(data)), bytes(-len(data) % BLOCK)
        if len(data) < _SMALL:
            self._append(b"".join((head, data, padding)))
        else:
            self._append(head, data, padding)
        return offset

    def finish(self) -> bytes:
        """Write the end of the archive (two blocks of zeros); returns the SHA-256 of the file."""
        self._append(bytes(2 * BLOCK))
        if self._aside is not None:
            self._aside.wait()
        return self._digest.digest()

    def _append(self, *pieces: bytes) -> None:
        self.size += sum(map(len, pieces))
        if self._aside is not None:
            self._aside.write(self._write, *pieces)
            return
        for piece in pieces:
            self._write(piece)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._written += len(data)
        self._early.reached(self._written)
