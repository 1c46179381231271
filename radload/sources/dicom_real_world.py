"""Real World Value Mappings (PS3.3 C.7.6.16.2.11): read and kept, never applied behind or before the modality step or a VOI."""

from __future__ import annotations

from typing import Final

import numpy as np

from radload.sources import dicom_tags as tags
from radload.sources.dicom_bits import Layout
from radload.sources.dicom_elements import Elements
from radload.sources.dicom_groups import Groups
from radload.sources.dicom_meaning import as_stored
from radload.sources.slice import Lut, RealWorld

# Code values that may leave (UCUM, as PS3.16 CID 7181 to 7184 and maps in use have them): a coded entry may hold anything, a name too.
UCUM: Final = frozenset(
    (
        *("1", "%", "[hnsf'U]", "ms", "s", "/s", "s-1", "min", "/min", "mm", "cm", "um", "mm2", "cm2", "cm3", "ml", "deg", "rad"),
        *("mm2/s", "um2/s", "10-3.mm2/s", "10*-3.mm2/s", "10-6.mm2/s", "10*-6.mm2/s", "s/mm2", "T", "Hz", "[ppm]", "ppm", "kPa", "m/s"),
        *("Bq/ml", "kBq/ml", "MBq/ml", "g/ml", "{counts}", "{counts}/s", "{propcounts}", "{propcps}", "cm2/ml", "ml/g", "umol/ml"),
        *("{SUVbw}g/ml", "{SUVlbm}g/ml", "{SUVlbm(James128)}g/ml", "{SUVlbm(Janma)}g/ml", "{SUVbsa}cm2/ml", "{SUVibw}g/ml"),
        *("ml/100ml/s", "ml/100ml", "ml/100g", "ml/100g/min", "ml/min/100g", "ml/min/g", "ml/min/ml", "umol/min/ml", "mg/min/ml"),
        *("mg/ml", "mg/cm3", "mmol/l", "Gy", "cGy", "keV", "{ratio}", "g/cm3", "m2/s", "cm/s", "mm/s"),
    )
)  # fmt: skip


def real_world_of(elements: Elements, groups: Groups, frame: int, layout: Layout) -> tuple[RealWorld, ...]:
    """The mappings of one frame: its own, else those of all frames, else the main data set's. What is incomplete counts as absent."""
    if layout.samples != 1:
        return ()
    items = groups.items(frame, tags.RealWorldValueMappingSequence, elements)
    mappings = (_mapping(item, layout) for item in items)
    return tuple(mapping for mapping in mappings if mapping is not None)


def _mapping(item: Elements, layout: Layout) -> RealWorld | None:
    bounds = [_bound(item, *choices, layout) for choices in _BOUNDS]
    if bounds[0] is None or bounds[1] is None or bounds[1] < bounds[0]:
        return None
    first, last = bounds[0], bounds[1]
    slope, intercept = item.hint(tags.RealWorldValueSlope, "FD"), item.hint(tags.RealWorldValueIntercept, "FD")
    if slope and intercept:
        return RealWorld(first, last, slope[0], intercept[0], None, _unit(item))
    table = item.hint(tags.RealWorldValueLUTData, "FD")
    if not table or first != int(first) or len(table) != last - first + 1:
        return None
    return RealWorld(first, last, None, None, Lut(int(first), np.array(table, np.float64)), _unit(item))


_BOUNDS: Final = (
    (tags.DoubleRealWorldValueFirstValueMapped, tags.RealWorldValueFirstValueMapped),
    (tags.DoubleRealWorldValueLastValueMapped, tags.RealWorldValueLastValueMapped),
)


def _bound(item: Elements, double: int, word: int, layout: Layout) -> float | None:
    """A stored value; a word is signed as the pixels are, whatever VR the file gives."""
    values = item.hint(double, "FD")
    if values:
        return values[0]
    raw = item.raw(word)
    if len(raw) < 2:
        return None
    value = int.from_bytes(raw[:2], "little" if item.little(word) else "big")
    if layout.floating:
        return float(value - 0x10000 if item.vr(word) == "SS" and value > 0x7FFF else value)
    return float(as_stored(value, layout))


def _unit(item: Elements) -> str:
    coded = item.item(tags.MeasurementUnitsCodeSequence)
    if coded is None or coded.text(tags.CodingSchemeDesignator) != "UCUM":
        return ""
    code = coded.text(tags.CodeValue) or ""
    return code if code in UCUM else ""
