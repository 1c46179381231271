"""Burned-in text, decided from headers by one table: pack, quarantine, or leave out. docs/privacy-pixels.md prints the table.

PS3.15 E.3.1 (Clean Pixel Data Option): CT normally has no such text, "Ultrasound images routinely do". Nobody can tell from a header
alone, so what may hold text waits for a person (`radload review`), and DERIVED, which most radiographs are, is no reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from radload.pack.eligible import DOSES, SCREENS
from radload.pack.redact import Rectangle, Redaction, box, gaps
from radload.sources import Header


class Action(Enum):
    """What becomes of a file."""

    PACK = "pack"
    QUARANTINE = "quarantine"
    LEAVE_OUT = "leave out"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table.

    Attributes:
        name: what it is about, in a reject's reason.
        modalities, classes: Modality (0008,0060) or SOP class (its UID below 1.2.840.10008.5.1.4.1.1., with all below it) of the file is
            among these; both empty: any.
        image_type: one of these stands in Image Type (0008,0008); empty: any.
        colour: only where an image has three channels; format: of the file, "" any.
        absent, no, yes: by Burned In Annotation (0028,0301); a value that is neither NO nor YES counts as absent.
        cropped: with --crop-us-regions, where the file has scan regions; attested: with --attest-no-phi.
    """

    name: str
    absent: Action
    no: Action
    yes: Action
    modalities: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ()
    colour: bool = False
    format: str = "dicom"
    cropped: Action | None = None
    attested: Action | None = None

    def holds(self, header: Header) -> bool:
        """Whether the row is about this file."""
        if self.format not in ("", header.format) or (self.colour and header.channels != 3):
            return False
        traits = {value.upper() for value in header.image_type}
        if self.image_type and not traits.intersection(self.image_type):
            return False
        below = header.sop_class.removeprefix(_STORAGE) if header.sop_class.startswith(_STORAGE) else ""
        known = any(below == one or below.startswith(one + ".") for one in self.classes)
        return not (self.modalities or self.classes) or known or header.attributes.modality.upper() in self.modalities


_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."  # storage SOP classes, PS3.4 B.5
_PACK, _QUARANTINE, _LEAVE_OUT = Action.PACK, Action.QUARANTINE, Action.LEAVE_OUT
_RADIOLOGY: Final = ("CT", "MR", "PT", "NM", "CR", "DX", "MG")
_RADIOLOGY_CLASSES: Final = ("1", "2", "4", "13.1.3", "20", "128", "130")

# The first row that is about a file decides.
RULES: Final = (
    Rule(
        "a saved screen or a page of figures", _QUARANTINE, _PACK, _LEAVE_OUT,
        image_type=tuple(sorted(SCREENS | DOSES)),
    ),
    Rule("a secondary capture", _QUARANTINE, _PACK, _QUARANTINE, modalities=("SC",), classes=("7",)),
    Rule("ultrasound", _QUARANTINE, _PACK, _QUARANTINE, modalities=("US", "IVUS"), classes=("3", "6"), cropped=_PACK),
    Rule(
        "endoscopy, microscopy or photography", _QUARANTINE, _PACK, _QUARANTINE,
        modalities=("ES", "GM", "SM", "XC", "OP", "OPT", "OCT", "DMS"), classes=("77.1",),
    ),
    Rule("colour where images are grey", _QUARANTINE, _PACK, _QUARANTINE,
         modalities=_RADIOLOGY, classes=_RADIOLOGY_CLASSES, colour=True),
    Rule("radiology", _PACK, _PACK, _QUARANTINE, modalities=_RADIOLOGY, classes=_RADIOLOGY_CLASSES),
    Rule("fluoroscopy and angiography as acquired", _PACK, _PACK, _QUARANTINE,
         modalities=("XA", "RF"), classes=("12.1", "12.2", "13.1.1", "13.1.2"), image_type=("PRIMARY",)),
    Rule("a NIfTI volume", _PACK, _PACK, _PACK, format="nifti"),
    Rule("a PNG or JPEG file, which has no header to tell", _QUARANTINE, _QUARANTINE, _QUARANTINE,
         format="image", attested=_PACK),
    Rule("any other image", _QUARANTINE, _PACK, _QUARANTINE, format=""),
)  # fmt: skip


def rule_of(header: Header) -> Rule:
    """The row of the table that decides about a file."""
    return next(rule for rule in RULES if rule.holds(header))


def scan_region(header: Header) -> Redaction | None:
    """Crop to the scan regions of an ultrasound file, and blank what their box holds between them.

    None where the file has no region, or one that is the whole image: cropping would take nothing away.
    """
    if not header.us_regions:
        return None
    crop = box(header.us_regions)
    between = gaps(header.us_regions)
    if crop == (0, 0, header.rows, header.cols) and not between:
        return None
    return Redaction(crop, between)


def decide(header: Header, attested: bool = False, crop_us_regions: bool = False) -> tuple[Action, Redaction | None]:
    """What the table says about a file, and what is cut away where it is packed.

    Args:
        attested: --attest-no-phi; crop_us_regions: --crop-us-regions.
    """
    rule = rule_of(header)
    if crop_us_regions and rule.cropped is not None and (region := scan_region(header)) is not None:
        return rule.cropped, region
    if attested and rule.attested is not None:
        return rule.attested, None
    return {"NO": rule.no, "YES": rule.yes}.get((header.burned_in or "").upper(), rule.absent), None


def region_of(header: Header) -> Rectangle | None:
    """The box of the scan regions, None without."""
    return box(header.us_regions) if header.us_regions else None


def table_lines() -> Sequence[str]:
    """The table in Markdown, as docs/privacy-pixels.md has it."""
    lines = [
        "| what | modality, or SOP class below 1.2.840.10008.5.1.4.1.1 | Image Type | absent | NO | YES | with an option |",
        "|---|---|---|---|---|---|---|",
    ]
    for rule in RULES:
        kinds = [", ".join(rule.modalities), ", ".join(f".{one}" for one in rule.classes)]
        option = f"pack with {'`--crop-us-regions`' if rule.cropped else '`--attest-no-phi`'}"
        cells = (
            rule.name + (" (three channels)" if rule.colour else ""),
            "; ".join(kind for kind in kinds if kind) or "any",
            ", ".join(rule.image_type) or "any",
            rule.absent.value,
            rule.no.value,
            rule.yes.value,
            option if rule.cropped or rule.attested else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines
