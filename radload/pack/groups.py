"""Groups of files that a person can judge at once: of one device, size, scan region and kind, text stands at the same place."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass

from radload.pack.burned_in import region_of
from radload.pack.privacy import printable
from radload.pack.redact import Rectangle
from radload.sources import Header


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What the files of a group share; "" and None where the files do not say. region: (top, left, height, width)."""

    modality: str
    manufacturer: str
    model: str
    rows: int
    cols: int
    region: Rectangle | None
    sop_class: str

    @property
    def name(self) -> str:
        """A name for tables, TOML and file names, such as "US-1f0c62a9"; a function of the fields."""
        digest = hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:8]
        kind = "".join(letter for letter in self.modality if letter.isascii() and letter.isalnum())[:4]
        return f"{kind or 'NA'}-{digest}"


def group_of(header: Header) -> Group:
    """The group of a file."""
    attributes = header.attributes
    return Group(
        printable(attributes.modality),
        printable(attributes.manufacturer or ""),
        printable(attributes.model or ""),
        header.rows,
        header.cols,
        region_of(header),
        header.sop_class,
    )
