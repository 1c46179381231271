"""`--keep` and `--retain`: attributes that a user adds to what leaves, each a column `kept_KEYWORD` of samples.arrow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from radload.dataset.schema import SAMPLES
from radload.errors import UsageError
from radload.pack import attributes
from radload.pack.confidentiality import RETAINABLE, listed, option_for
from radload.pack.persons import person_of
from radload.pack.terms import device_text
from radload.sources import Header, NotAnImage, Refused
from radload.sources.dicom_extra import NUMERIC, Values, read_extra

Kind = Literal["number", "numbers", "text", "age", "sex"]

OLDEST: Final = 90.0  # years: all above share it (45 CFR 164.514(b)(2)(i)(C))
_SHORT_TEXTS: Final = frozenset(("CS", "SH", "LO"))
_YEARS: Final = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_TYPES: Final = {
    "number": pa.float64(),
    "age": pa.float64(),
    "numbers": pa.list_(pa.float64()),
    "text": pa.string(),
    "sex": pa.string(),
}


@dataclass(frozen=True, slots=True)
class Kept:
    """An attribute that is added. kind: how its values are limited and stored."""

    keyword: str
    tag: int
    kind: Kind

    @property
    def column(self) -> str:
        """Of samples.arrow."""
        return f"kept_{self.keyword}"


def understand(keep: Sequence[str], retain: Sequence[str]) -> tuple[Kept, ...]:
    """What --keep (keywords) and --retain (names of RETAINABLE) ask for, in order of keyword.

    Raises:
        UsageError: an attribute that may not leave, that radload packs anyway, or that does not exist.
    """
    found = {keyword: _kept(keyword) for keyword in keep}
    for name in retain:
        if name not in RETAINABLE:
            raise UsageError(f"--retain {name} is unknown: choose from {', '.join(RETAINABLE)}, separated by commas")
        keyword = RETAINABLE[name]
        kind: Kind = "age" if name == "age" else "sex" if name == "sex" else "number"
        found[keyword] = Kept(keyword, tag_for_keyword(keyword) or 0, kind)
    return tuple(found[keyword] for keyword in sorted(found))


def _kept(keyword: str) -> Kept:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise UsageError(f"--keep {keyword} is no DICOM keyword: write it as PS3.6 does, such as KVP or SliceThickness")
    retained = next((name for name, word in RETAINABLE.items() if word == keyword), None)
    if retained is not None:
        raise UsageError(
            f"--keep {keyword} is refused: it describes the patient (PS3.15 E.3.7, Retain Patient Characteristics); "
            f"if you may pass it on, say so by --retain {retained}"
        )
    if listed(tag):
        option = option_for(tag)
        reason = f"only the option {option} would let it stay" if option else "it identifies people, places or objects"
        raise UsageError(
            f"--keep {keyword} is refused: PS3.15 Table E.1-1 lists it, and {reason}; keep it in a table of your own "
            "beside the private folder"
        )
    vr = dictionary_VR(tag).split(" ")[0]
    if vr not in NUMERIC | _SHORT_TEXTS:
        raise UsageError(
            f"--keep {keyword} is refused: a value of type {vr} may hold free text, identifiers or dates; "
            "numbers, codes and short texts (CS, SH, LO) can be kept"
        )
    packed = attributes.packed_as(keyword)
    if packed is not None:
        raise UsageError(f"--keep {keyword} is not needed: it is packed anyway, as {packed}; leave it out")
    if vr in _SHORT_TEXTS:
        return Kept(keyword, tag, "text")
    return Kept(keyword, tag, "number" if dictionary_VM(tag) == "1" else "numbers")


def samples_schema(kept: Sequence[Kept]) -> pa.Schema:
    """SAMPLES and the columns of `kept`."""
    return pa.schema([*SAMPLES, *((one.column, _TYPES[one.kind]) for one in kept)])


def read_kept(root: Path, header: Header, kept: Sequence[Kept]) -> list[dict[str, Any]]:
    """keyword -> value for each frame of a file, limited as its kind says; empty for a file that is no DICOM, or with nothing to keep.

    Raises:
        Refused, OSError: as `read_extra`.
    """
    if not kept or header.format != "dicom":
        return []
    person = person_of(header)
    values = read_extra(root / header.source, [one.tag for one in kept], header.frames)

    def limit(one: Kept, found: Values) -> Any:
        if not found:
            return None
        if one.kind in ("number", "numbers"):
            numbers = [float(value) for value in found]
            if any(person.stands_in(f"{number:.0f}") for number in numbers):  # a number that is the patient's
                return None
            return numbers[0] if one.kind == "number" else numbers
        text = "\\".join(str(value) for value in found)
        if one.kind == "age":
            return _years(text)
        if one.kind == "sex":
            return text if text in ("M", "F", "O") else None  # PS3.3 C.7.1.1
        return device_text(text, person)

    return [{one.keyword: limit(one, frame[one.tag]) for one in kept} for frame in values]


def kept_of_file(root: Path, header: Header, kept: Sequence[Kept], read: bool = True) -> list[dict[str, Any]]:
    """`read_kept`, with nulls where nothing can be read: the pixels' reader says why. read: whether the file may be opened."""
    nothing: list[dict[str, Any]] = [{one.keyword: None for one in kept}] * header.frames
    try:
        return (read_kept(root, header, kept) if read else []) or nothing
    except (Refused, NotAnImage, OSError):
        return nothing


def _years(text: str) -> float | None:
    """Years of an Age String (PS3.5 6.2), 90 for all above."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text)
    if match is None:
        return None
    return min(int(match[1]) / _YEARS[match[2]], OLDEST)
