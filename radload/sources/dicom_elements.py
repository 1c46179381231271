"""A DICOM header as raw elements, read lazily: what is not asked for is neither converted nor checked.

pydicom's `Dataset` converts and validates each value at access, which costs more than the rest of a scan; elements are read by pydicom,
and only their values are converted here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import convert_raw_data_element

from radload.sources.slice import Refused

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q", "AT": "I"}
_CHARSET = 0x00080005


@dataclass(frozen=True, slots=True)
class Elements:
    """One level of a data set: tag -> raw element. Values are asked for with the VR that PS3.6 gives them, used where the file has none."""

    found: Mapping[int, Any]

    def __contains__(self, tag: int) -> bool:
        return tag in self.found

    def raw(self, tag: int) -> bytes:
        """The value as stored, empty where the element is absent or empty."""
        value = getattr(self.found.get(tag), "value", None)
        return bytes(value) if isinstance(value, (bytes, bytearray)) else b""

    def vr(self, tag: int) -> str | None:
        """The VR that the file gives, None where it gives none (implicit VR)."""
        vr = getattr(self.found.get(tag), "VR", None)
        return None if vr in (None, "UN") else str(vr)

    def little(self, tag: int) -> bool:
        """Whether the element is little-endian."""
        return bool(getattr(self.found.get(tag), "is_little_endian", True))

    def text(self, tag: int) -> str | None:
        """A text value without its padding, None where absent or empty; several values stay joined by backslashes."""
        value = self.raw(tag).strip(b"\0 \t\r\n")
        if not value:
            return None
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        try:
            charset = [part.strip() for part in self.raw(_CHARSET).decode("ascii").strip("\0 ").split("\\")]
            return decode_bytes(value, convert_encodings(charset), {0x5C}).strip("\0 ") or None
        except (LookupError, UnicodeError, ValueError):
            return value.decode("latin-1")

    def texts(self, tag: int) -> tuple[str, ...]:
        """The values of a multi-valued text, each without its padding."""
        text = self.text(tag)
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def numbers(self, tag: int, vr: str) -> tuple[float, ...]:
        """The values of a numeric element; text (DS, IS) and binary alike.

        Raises:
            Refused: `bad-header`, where the stored value is no number.
        """
        value = self.raw(tag)
        own = self.vr(tag)
        if own is not None and (own in _BINARY or own in ("DS", "IS")):
            vr = own
        try:
            if vr in _BINARY:
                size = struct.calcsize(_BINARY[vr])
                order = "<" if self.little(tag) else ">"
                return tuple(
                    struct.unpack(f"{order}{len(value) // size}{_BINARY[vr]}", value[: len(value) // size * size])
                )
            text = value.decode("ascii").strip("\0 \t\r\n")
            return tuple(float(part) for part in text.split("\\") if part.strip()) if text else ()
        except (ValueError, OverflowError, struct.error) as error:
            raise Refused("bad-header", f"the value of ({tag >> 16:04X},{tag & 0xFFFF:04X}) is no number") from error

    def number(self, tag: int, vr: str) -> float | None:
        """The first value of a numeric element, None where absent or empty. Raises like `numbers`."""
        values = self.numbers(tag, vr)
        return values[0] if values else None

    def hint(self, tag: int, vr: str) -> tuple[float, ...]:
        """Like `numbers`, for values that only describe: what is no finite number counts as absent."""
        try:
            values = self.numbers(tag, vr)
        except Refused:
            return ()
        return values if all(abs(value) < float("inf") for value in values) else ()

    def integer(self, tag: int, vr: str) -> int | None:
        """The first value as an integer, None where absent or empty. Raises `bad-header` where it is no integer."""
        value = self.number(tag, vr)
        if value is None:
            return None
        if value != value or value in (float("inf"), float("-inf")) or value != int(value):
            raise Refused("bad-header", f"the value of ({tag >> 16:04X},{tag & 0xFFFF:04X}) is no integer")
        return int(value)

    def items(self, tag: int) -> tuple[Elements, ...]:
        """The items of a sequence, empty where it is absent."""
        element = self.found.get(tag)
        if element is None or element.value is None:
            return ()
        sequence = element.value
        if isinstance(sequence, (bytes, bytearray)):
            if not sequence:
                return ()
            if element.VR in (None, "UN"):
                element = element._replace(VR="SQ")
            sequence = convert_raw_data_element(element, encoding=["iso8859"]).value
        charset = {_CHARSET: self.found[_CHARSET]} if _CHARSET in self.found else {}
        return tuple(
            Elements({**charset, **{int(tag): item for tag, item in data_set.items()}}) for data_set in sequence
        )

    def item(self, tag: int) -> Elements | None:
        """The first item of a sequence, None where it has none."""
        items = self.items(tag)
        return items[0] if items else None
