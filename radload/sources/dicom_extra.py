"""Attributes of a DICOM file that somebody asks for by tag, per frame: what `pack --keep` and `--retain` add to a sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from radload.sources import dicom_tags as tags
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_file import open_dicom
from radload.sources.dicom_groups import Groups, groups_of
from radload.sources.open import damaged_bytes_are_refused

Values: TypeAlias = tuple[float, ...] | tuple[str, ...]  # numbers of a numeric VR, texts of another; empty where absent

NUMERIC: Final = frozenset(("DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"))
_ALWAYS: Final = frozenset(
    (tags.SpecificCharacterSet, tags.SharedFunctionalGroupsSequence, tags.PerFrameFunctionalGroupsSequence)
)


def read_extra(path: Path, wanted: Sequence[int], frames: int) -> list[dict[int, Values]]:
    """The values of `wanted` for each of `frames` frames; no pixel is decoded.

    The main data set goes before the functional groups (PS3.3 C.7.6.16), a frame's own group before the shared one. What is no
    number where one belongs counts as absent.

    Raises:
        Refused: the header cannot be parsed.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, damaged_bytes_are_refused():
        elements = open_dicom(file, _ALWAYS | frozenset(wanted)).elements
        groups = groups_of(elements)
        shared = {tag: _values(elements, tag) or _in_macros(groups.shared, tag) for tag in wanted}
        if not groups.frames:
            return [shared] * frames
        return [
            {tag: _of_frame(elements, groups, frame, tag) or shared[tag] for tag in wanted} for frame in range(frames)
        ]


def _of_frame(elements: Elements, groups: Groups, frame: int, tag: int) -> Values:
    own = _values(elements, tag)
    return own or (_in_macros(groups.frames[frame], tag) if frame < len(groups.frames) else ())


def _in_macros(group: Elements, tag: int) -> Values:
    """From whichever macro of a functional group holds `tag`: a macro is a sequence of one item."""
    for macro in group.found:
        item = group.item(macro) if dictionary_has_tag(macro) and dictionary_VR(macro) == "SQ" else None
        if item is not None and tag in item:
            return _values(item, tag)
    return ()


def _values(elements: Elements, tag: int) -> Values:
    if tag not in elements:
        return ()
    vr = dictionary_VR(tag).split(" ")[0]
    return elements.hint(tag, vr) if vr in NUMERIC else elements.texts(tag)
