"""Slices that decoded and still look wrong are flagged, counted and packed all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conftest_pack import WriteDicom

import radload
from radload.dataset.schema import Suspect
from radload.inspect import summarise
from radload.pack import PackOptions, pack
from radload.pack.suspect import count_flags, describe, disagreement, extremes_of, mark_constant
from radload.sources import Slice


@pytest.mark.parametrize(
    ("values", "changes", "expected"),
    [
        ([0, 4095], {"bits_stored": 12}, Suspect(0)),
        ([0, 4096], {"bits_stored": 12}, Suspect.BITS),
        ([-2048, 2047], {"bits_stored": 12}, Suspect(0)),
        ([-2049, 2047], {"bits_stored": 12}, Suspect.BITS),
        ([0, 2048], {"bits_stored": 12, "dtype": np.int16}, Suspect.BITS),
        ([5, 90], {"claimed": (5, 90)}, Suspect(0)),
        ([4, 90], {"claimed": (5, 90)}, Suspect.CLAIM),
        ([5, 91], {"claimed": (5, 90)}, Suspect.CLAIM),
        ([5, 91, 63], {"claimed": (5, 90), "bits_stored": 6}, Suspect.CLAIM | Suspect.BITS),
        ([-2000, 5, 90], {"claimed": (5, 90), "padding": (-2000, -2000)}, Suspect(0)),
        ([-2000], {"claimed": (5, 90), "padding": (-2000, -2000)}, Suspect(0)),
        ([4, 90], {"claimed": (5, 90), "photometric": "PALETTE COLOR"}, Suspect(0)),
        ([4, 90], {"claimed": (5, 90), "dtype": np.float32}, Suspect(0)),
    ],
)
def test_values_that_the_header_rules_out(values: list[int], changes: dict[str, Any], expected: Suspect) -> None:
    dtype = changes.pop("dtype", np.int16 if min(values) < 0 else np.uint16)
    image = Slice(0, np.array([values], dtype), **changes)
    assert disagreement(image, extremes_of(image.stored)) == expected


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        ("..x..", "..x.."),
        ("x....", "x...."),
        ("....x", "....x"),
        (".xx..", "....."),
        ("xx", ".."),
        ("x", "."),
        ("x.x.x", "x.x.x"),
    ],
)
def test_one_value_is_suspect_only_between_others(constant: str, expected: str) -> None:
    rows = [{"minimum": 3.0, "maximum": 3.0 if letter == "x" else 4.0, "suspect": 4} for letter in constant]
    mark_constant(rows)
    assert "".join("x" if row["suspect"] == 5 else "." for row in rows) == expected
    nothing_finite = {"minimum": None, "maximum": None, "suspect": 0}
    mark_constant([nothing_finite, rows[0]])
    assert nothing_finite["suspect"] == 0


def test_the_sentence_counts_every_flag() -> None:
    counts = count_flags(np.array([0, 1, 5, 4, 0, 4], np.uint8))
    assert counts == {1: 1, 5: 1, 4: 2} and describe(count_flags(np.zeros(9, np.uint8))) is None
    said = describe(counts)
    assert said is not None and said.startswith("4 samples look suspect")
    assert "not: 2" in said and "claims: 3" in said and "Bits Stored" not in said


def test_a_pack_flags_counts_and_packs_them(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for place in range(6):
        pixels = np.full((24, 20), 7, np.int16) if place == 2 else None
        claims = {"SmallestImagePixelValue": -300, "LargestImagePixelValue": 300} if place < 5 else {}
        if place == 4:
            claims = {"SmallestImagePixelValue": -1, "LargestImagePixelValue": 1}
        write_dicom(tmp_path / f"src/{place}.dcm", pixels, place=place, **claims)
    summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    assert summary.samples == 6
    with radload.open(tmp_path / "out") as dataset:
        flags = [sample.meta["suspect"] for sample in dataset.series(0)]
        assert flags == [0, 0, Suspect.CONSTANT, 0, Suspect.CLAIM, 0]
        (row,) = summarise(dataset).modalities
        assert row.suspect == 2
    notes = json.loads((tmp_path / "out/manifest.json").read_bytes())["notes"]
    assert any(note.startswith("2 samples look suspect") for note in notes) and tuple(notes) == summary.notes


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 0, 0),
        (0, 24, 0),
        (0, 23, Suspect.CLAIM),
        (1, 99, Suspect.CLAIM),
        (65_535, 99, 0),
        (65_526, 5, Suspect.CLAIM),
    ],
)
def test_claims_are_read_with_the_sign_of_the_pixels(
    tmp_path: Path, write_dicom: WriteDicom, low: int, high: int, expected: int
) -> None:
    """Written as US, whatever the pixels are: 65,535 is -1 beside signed ones."""
    pixels = np.arange(25, dtype=np.int16).reshape(5, 5)
    write_dicom(tmp_path / "src/a.dcm", pixels)
    image = pydicom.dcmread(tmp_path / "src/a.dcm")
    image.add_new("SmallestImagePixelValue", "US", low)
    image.add_new("LargestImagePixelValue", "US", high)
    image.save_as(tmp_path / "src/a.dcm")
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    assert [sample.meta["suspect"] for sample in radload.open(tmp_path / "out")] == [expected]
