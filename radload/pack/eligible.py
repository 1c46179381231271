"""What is no training image although it can be decoded: decided from headers, left out with a reason, brought back by `--include KIND`.

DERIVED alone is no reason: it says that pixels were computed from others, as in nearly every radiograph for presentation. Nor is
the Secondary Capture class: public sets of chest radiographs use it for the images themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from radload.pack.compact import chosen, without
from radload.pack.scan import Catalog, Reject
from radload.sources import Header

LOCALIZER: Final = "localizer"
SCREEN_SAVE: Final = "screen-save"
DOSE_REPORT: Final = "dose-report"
SECONDARY_CAPTURE: Final = "secondary-capture"
RT_OBJECT: Final = "rt-object"
RAW_MAMMOGRAM: Final = "raw-mammogram"

# Kind, which is reject code and value of --include: what it is (docs/rejects.md), and the reason in rejects.parquet.
KINDS: Final[dict[str, tuple[str, str]]] = {
    LOCALIZER: ("A localizer (scout, topogram): it plans a scan.", "a localizer by its Image Type"),
    SCREEN_SAVE: (
        "A saved screen: what a workstation or a scanner's console showed.",
        "a saved screen by its Image Type",
    ),
    DOSE_REPORT: ("A page of dose figures or of the scan's protocol, as an image.", "a dose report by its Image Type"),
    SECONDARY_CAPTURE: (
        "A colour secondary capture in a CT, MR, PET or NM study, whose own images are grey: a rendering, a fusion, a page of results.",
        "a colour capture of a modality whose images are grey",
    ),
    RT_OBJECT: ("A radiotherapy object with pixels: a dose grid or a portal image.", "a dose grid or a portal image"),
    RAW_MAMMOGRAM: (
        "A mammogram FOR PROCESSING beside the one FOR PRESENTATION of the same breast and view.",
        "raw data of a view that is there processed, too",
    ),
}

_LOCALIZERS: Final = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "CT_SOM5 TOP"))
SCREENS: Final = frozenset(
    ("SCREEN SAVE", "SCREEN_SAVE", "SCREENSAVE", "SCREEN CAPTURE", "SCREENSHOT", "VXTL STATE", "CSA REPORT")
)
DOSES: Final = frozenset(
    ("DOSE", "DOSEINFO", "DOSE_INFO", "DOSE INFO", "DOSE REPORT", "DOSE_REPORT", "CT_SOM5 PROT", "PATIENT PROTOCOL")
)
_CAPTURES: Final = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage, and 7.1 to 7.4: its multi-frame kin
_RADIOTHERAPY: Final = "1.2.840.10008.5.1.4.1.1.481."
_RAW_MAMMOGRAMS: Final = frozenset(
    ("1.2.840.10008.5.1.4.1.1.1.2.1",)
)  # Digital Mammography X-Ray Image - For Processing
_GREY: Final = frozenset(
    ("CT", "MR", "PT", "NM")
)  # their image IODs have no RGB (PS3.3 C.8.2.1, C.8.3.1, C.8.9.4, C.8.4.8)


def kind_of(header: Header) -> str | None:
    """The kind in KINDS that a header tells by itself, None for an image to train on."""
    traits = {value.upper() for value in header.image_type}
    if header.sop_class.startswith(_RADIOTHERAPY):
        return RT_OBJECT
    if traits & DOSES:
        return DOSE_REPORT
    if traits & SCREENS:
        return SCREEN_SAVE
    if traits & _LOCALIZERS:
        return LOCALIZER
    capture = header.sop_class == _CAPTURES or header.sop_class.startswith(_CAPTURES + ".")
    if capture and header.channels == 3 and header.attributes.modality in _GREY:
        return SECONDARY_CAPTURE
    return None


def raw_mammograms(headers: Sequence[Header]) -> set[int]:
    """Positions of mammograms FOR PROCESSING that stand beside one FOR PRESENTATION of the same study, breast and view.

    One without its processed twin is the only image of that view, and stays.
    """
    raw: list[tuple[int, tuple[str | None, ...]]] = []
    processed: set[tuple[str | None, ...]] = set()
    for position, header in enumerate(headers):
        if _is_raw(header):
            raw.append((position, _view(header)))
        elif header.attributes.modality == "MG":
            processed.add(_view(header))
    return {position for position, view in raw if view in processed}


def left_out(headers: Sequence[Header], include: AbstractSet[str] = frozenset()) -> dict[int, str]:
    """Position -> kind of the headers that are not packed; kinds in `include` are."""
    found = {position: kind for position, header in enumerate(headers) if (kind := kind_of(header)) is not None}
    rest = without(len(headers), found)
    found |= {int(rest[place]): RAW_MAMMOGRAM for place in raw_mammograms(chosen(headers, rest))}
    return {position: kind for position, kind in found.items() if kind not in include}


def without_left_out(catalog: Catalog, include: AbstractSet[str]) -> Catalog:
    """The catalog whose headers are training images, and whose rejects tell why the others are not."""
    kinds = left_out(catalog.headers, include)
    rejects = [
        Reject(source, None, kind, KINDS[kind][1])
        for position, kind in kinds.items()
        for source in (catalog.headers[position].source, *catalog.headers[position].parts)
    ]
    rejects += catalog.rejects
    rejects.sort(key=lambda reject: reject.source.encode("utf-8", "surrogateescape"))
    kept = without(len(catalog.headers), kinds)
    return replace(catalog, headers=chosen(catalog.headers, kept), rejects=tuple(rejects), rows=catalog.rows[kept])


def _is_raw(header: Header) -> bool:
    if header.attributes.modality != "MG":
        return False
    return header.sop_class in _RAW_MAMMOGRAMS or (header.intent or "").upper() == "FOR PROCESSING"


def _view(header: Header) -> tuple[str | None, ...]:
    return header.patient, header.study, header.laterality, header.view
