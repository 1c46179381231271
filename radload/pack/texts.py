"""Many short texts in few bytes: names of files, and unique identifiers of instances."""

from __future__ import annotations

import re
from array import array
from typing import Final

_UID: Final = re.compile(r"[0-9.]*")  # PS3.5 9.1
_OTHER: Final = b"\xff"  # begins a text that is no UID: no two digits or dots make this byte


class Texts:
    """Texts in one block of bytes, 8 bytes beside the text; surrogates of names that are no UTF-8 included."""

    def __init__(self) -> None:
        self._bytes, self._ends = bytearray(), array("q", (0,))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, text: str) -> None:
        """Add a text."""
        self.append_raw(text.encode("utf-8", "surrogateescape"))

    def append_raw(self, content: bytes) -> None:
        """Add the bytes of a text."""
        self._bytes += content
        self._ends.append(len(self._bytes))

    def raw(self, place: int) -> bytes:
        """The bytes of a text."""
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]])

    def __getitem__(self, place: int) -> str:
        return self._bytes[self._ends[place] : self._ends[place + 1]].decode("utf-8", "surrogateescape")


class Paths:
    """Paths, of which neighbours in one folder have its name once; 12 bytes beside the file's own name."""

    def __init__(self) -> None:
        self._folders, self._names = Texts(), Texts()
        self._folder = array("i")  # number of each path's folder, with its last slash
        self._last: str | None = None

    def __len__(self) -> int:
        return len(self._folder)

    def append(self, path: str) -> None:
        """Add a path."""
        end = path.rfind("/") + 1
        folder = path[:end]
        if folder != self._last:
            self._folders.append(folder)
            self._last = folder
        self._folder.append(len(self._folders) - 1)
        self._names.append(path[end:])

    def raw(self, place: int) -> bytes:
        """The bytes of a path."""
        return self._folders.raw(self._folder[place]) + self._names.raw(place)

    def __getitem__(self, place: int) -> str:
        return self.raw(place).decode("utf-8", "surrogateescape")


class Uids:
    """Texts, of which those that are UIDs take half a byte for a character."""

    def __init__(self) -> None:
        self._texts = Texts()

    def append(self, text: str) -> None:
        """Add a text."""
        if _UID.fullmatch(text):
            self._texts.append_raw(bytes.fromhex(text.replace(".", "a") + "f" * (len(text) & 1)))
        else:
            self._texts.append_raw(_OTHER + text.encode("utf-8", "surrogateescape"))

    def __getitem__(self, place: int) -> str:
        content = self._texts.raw(place)
        if content.startswith(_OTHER):
            return content[1:].decode("utf-8", "surrogateescape")
        return content.hex().rstrip("f").replace("a", ".")
