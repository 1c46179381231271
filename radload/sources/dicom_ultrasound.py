"""Sequence of Ultrasound Regions (PS3.3 C.8.5.5): where on the picture the scan is, as against the text around it."""

from __future__ import annotations

from typing import Final

from radload.sources import dicom_tags as tags
from radload.sources.dicom_bits import Layout
from radload.sources.dicom_elements import Elements

_TWO_DIMENSIONAL: Final = 1  # Region Spatial Format (0018,6012), PS3.3 C.8.5.5.1.1


def regions_of(elements: Elements, layout: Layout) -> tuple[tuple[int, int, int, int], ...]:
    """(top, left, height, width) of every two-dimensional region, inside the image; () where the file has none.

    The corners are pixels of the region (C.8.5.5.1.2); corners beyond the image, which scanners write, are moved to its border. M mode,
    spectra and waveforms are no scan region: text and traces share their area.
    """
    found = []
    for item in elements.items(tags.SequenceOfUltrasoundRegions):
        corners = [item.hint(tag, "UL") for tag in tags.RegionLocation]
        if item.hint(tags.RegionSpatialFormat, "US")[:1] != (_TWO_DIMENSIONAL,) or not all(corners):
            continue
        left, top, right, bottom = (int(corner[0]) for corner in corners)
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, layout.cols - 1), min(bottom, layout.rows - 1)
        if left <= right and top <= bottom:
            found.append((top, left, bottom - top + 1, right - left + 1))
    return tuple(found)
