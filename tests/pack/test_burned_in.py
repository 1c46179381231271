"""The table about burned-in text: which row decides, what scan regions change, and that the page prints this very table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from radload.pack.burned_in import RULES, Action, decide, rule_of, scan_region, table_lines
from radload.sources import Header, SeriesAttributes

PAGE = Path(__file__).parents[2] / "docs/privacy-pixels.md"
STORAGE = "1.2.840.10008.5.1.4.1.1"
PACK, QUARANTINE, LEAVE_OUT = Action.PACK, Action.QUARANTINE, Action.LEAVE_OUT


def header(modality: str = "", sop_class: str = "", **changes: Any) -> Header:
    base: dict[str, Any] = {"format": "dicom", "channels": 1}
    return Header(
        source="a", rows=60, cols=80, bits=8, frames=1, attributes=SeriesAttributes(modality=modality),
        sop_class=f"{STORAGE}.{sop_class}" if sop_class else "", **(base | changes),
    )  # fmt: skip


CASES = [  # (header, absent, NO, YES)
    *[(header(name, image_type=("DERIVED", "PRIMARY")), PACK, PACK, QUARANTINE) for name in ("CT", "MR", "PT", "NM", "CR", "DX", "MG")],
    (header("CT", "2", image_type=("ORIGINAL", "PRIMARY", "AXIAL")), PACK, PACK, QUARANTINE),
    (header("", "4"), PACK, PACK, QUARANTINE),
    (header("MG", "1.2"), PACK, PACK, QUARANTINE),
    (header("CT", "2", channels=3), QUARANTINE, PACK, QUARANTINE),
    (header("US", "6.1"), QUARANTINE, PACK, QUARANTINE),
    (header("", "3.1"), QUARANTINE, PACK, QUARANTINE),
    (header("US", "2"), QUARANTINE, PACK, QUARANTINE),
    (header("ES", "77.1.1"), QUARANTINE, PACK, QUARANTINE),
    (header("SC", "77.1.6"), QUARANTINE, PACK, QUARANTINE),
    (header("CR", "7"), QUARANTINE, PACK, QUARANTINE),
    (header("NM", "7.2", image_type=("DERIVED", "PRIMARY")), QUARANTINE, PACK, QUARANTINE),
    (header("CT", "2", image_type=("DERIVED", "SECONDARY", "SCREEN SAVE")), QUARANTINE, PACK, LEAVE_OUT),
    (header("CT", "7", image_type=("DERIVED", "SECONDARY", "", "DoseInfo")), QUARANTINE, PACK, LEAVE_OUT),
    (header("XA", "12.1", image_type=("DERIVED", "PRIMARY", "SINGLE PLANE")), PACK, PACK, QUARANTINE),
    (header("XA", "12.1", image_type=("DERIVED", "SECONDARY")), QUARANTINE, PACK, QUARANTINE),
    (header("RF", "12.2"), QUARANTINE, PACK, QUARANTINE),
    (header("OT", "30"), QUARANTINE, PACK, QUARANTINE),
    (header("", ""), QUARANTINE, PACK, QUARANTINE),
    (header(format="nifti"), PACK, PACK, PACK),
    (header("US", format="image"), QUARANTINE, QUARANTINE, QUARANTINE),
]  # fmt: skip


@pytest.mark.parametrize(("case", "absent", "no", "yes"), CASES, ids=lambda value: getattr(value, "value", None))
def test_burned_in_annotation_decides_within_a_row(case: Header, absent: Action, no: Action, yes: Action) -> None:
    from dataclasses import replace

    for value, expected in ((None, absent), ("", absent), ("MAYBE", absent), ("NO", no), ("no", no), ("YES", yes)):
        assert decide(replace(case, burned_in=value)) == (expected, None), value


def test_every_row_decides_about_something() -> None:
    assert {rule_of(case).name for case, *_ in CASES} == {rule.name for rule in RULES}


def test_class_numbers_are_whole_numbers() -> None:
    """20 is nuclear medicine, 2 is CT: 200 would be neither; 12.1 is angiography, not below 1."""
    assert rule_of(header("", "200")).name == "any other image"
    assert rule_of(header("", "12.1")).name == "any other image"
    assert rule_of(header("", "66")).name == "any other image"


def test_attesting_is_about_files_without_a_header_and_no_others() -> None:
    assert decide(header("US", format="image"), attested=True) == (PACK, None)
    assert decide(header("US", "6.1"), attested=True) == (QUARANTINE, None)


def test_scan_regions_are_cropped_to_where_that_is_asked_for() -> None:
    regions = ((10, 5, 40, 30), (20, 40, 30, 20))
    ultrasound = header("US", "6.1", us_regions=regions)
    assert decide(ultrasound) == (QUARANTINE, None)
    action, redaction = decide(ultrasound, crop_us_regions=True)
    assert action is PACK and redaction is not None
    assert redaction.crop == (10, 5, 40, 55)
    blanked = sum(height * width for _, _, height, width in redaction.masks)
    assert blanked == 40 * 55 - 40 * 30 - 30 * 20
    assert decide(header("US", "6.1"), crop_us_regions=True) == (QUARANTINE, None)
    assert decide(header("CR", "7", us_regions=regions), crop_us_regions=True) == (QUARANTINE, None)


def test_a_region_that_is_the_whole_image_takes_no_text_away() -> None:
    assert scan_region(header("US", us_regions=((0, 0, 60, 80),))) is None
    assert decide(header("US", us_regions=((0, 0, 60, 80),)), crop_us_regions=True) == (QUARANTINE, None)
    halves = scan_region(header("US", us_regions=((0, 0, 60, 30), (0, 50, 60, 30))))
    assert halves is not None and halves.masks == ((0, 30, 60, 20),)


def test_the_page_prints_this_table() -> None:
    lines = PAGE.read_text().splitlines()
    start = lines.index(table_lines()[0])
    assert lines[start : start + len(RULES) + 3] == [*table_lines(), ""]
