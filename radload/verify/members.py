"""Walking through a shard as the packer writes it: canonical USTAR headers, padding of zeros, two blocks of zeros at the end.

Nothing that a header says is believed before the header is, to the byte, the one that radload writes for that name and size: no
links, no folders, no paths, no sizes beyond the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from radload.pack.member import understood
from radload.pack.shard import BLOCK

_END: Final = 2 * BLOCK
_PIECE: Final = 1 << 20
_ZEROS: Final = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a shard. offset: of its data; padded: whether zeros fill its last block."""

    key: int
    extension: str
    offset: int
    size: int
    data: bytes | None  # None: not wanted
    padded: bool


@dataclass(frozen=True, slots=True)
class Damage:
    """No member of ours begins at `position`; the walk goes on at `until`."""

    position: int
    until: int


class Walk:
    """Reads a shard once, from its first byte to its last. `sha256` is known, and `ended` too, when the walk is over."""

    def __init__(self, file: BinaryIO, size: int, starts: Sequence[int], largest: int, *, content: bool = True) -> None:
        """
        Args:
            size: bytes of the file; starts: where members should begin, ascending: where the walk goes on after damage.
            largest: bytes of a member that are held; content: False: only headers are read, and nothing is hashed.
        """
        self._file, self._size, self._starts, self._largest, self._content = file, size, starts, largest, content
        self._digest = hashlib.sha256()
        self._at = 0
        self.ended = False  # whether the archive ends as it should, where the file ends

    @property
    def sha256(self) -> bytes:
        """Of all that was read."""
        return self._digest.digest()

    def __iter__(self) -> Iterator[Member | Damage]:
        while self._at < self._size:
            position = self._at
            block = self._read(BLOCK)
            if block == _ZEROS and self._size - position == _END:
                self.ended = self._read(BLOCK) == _ZEROS
                return
            found = understood(block)
            beyond = found is not None and self._at + found[2] + -found[2] % BLOCK > self._size
            if found is None or beyond:
                until = next((start for start in self._starts if start >= self._at), self._size)
                self._skip(min(until, self._size) - self._at)
                if len(block) == BLOCK and not beyond:  # else it is a cut, or a member that is missing
                    yield Damage(position, until)
                continue
            key, extension, size = found
            offset = self._at
            wanted = self._content and size <= self._largest
            data = self._read(size) if wanted else None
            if data is None:
                self._skip(size)
            rest = -size % BLOCK
            padding = self._read(rest) if self._content else None
            if padding is None:
                self._skip(rest)
            yield Member(key, extension, offset, size, data, padding is None or not any(padding))

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        self._at += count  # a file that ends early ends the walk: what is missing is not hashed
        if self._content:
            self._digest.update(data)
        return data

    def _skip(self, count: int) -> None:
        if self._content:
            while count > 0:
                piece = min(count, _PIECE)
                self._read(piece)
                count -= piece
        else:
            self._at += count
            self._file.seek(self._at)
