"""Rule 14: real-world values are a branch of their own, beside rescale and VOI, and only known units leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from source_make import item, make_dicom

from radload.pack import PackOptions, pack
from radload.sources import RealWorld, Slice, read

PIXELS = np.arange(-6, 6, dtype=np.int16).reshape(3, 4)


def mapping(unit: str = "mm2/s", scheme: str = "UCUM", **attributes: Any) -> Dataset:
    values: dict[str, Any] = {
        "RealWorldValueFirstValueMapped": ("SS", -4),
        "RealWorldValueLastValueMapped": ("SS", 4),
        "RealWorldValueSlope": 0.25,
        "RealWorldValueIntercept": 7.0,
        "LUTLabel": "Doe^Jane",
        "LUTExplanation": "made for Doe^Jane",
        "MeasurementUnitsCodeSequence": [item(CodeValue=unit, CodingSchemeDesignator=scheme, CodeMeaning="Doe^Jane")],
    }
    return item(**{name: value for name, value in {**values, **attributes}.items() if value is not None})


def slices(path: Path) -> list[Slice]:
    return [piece for piece in read(path) if isinstance(piece, Slice)]


def test_rule_14_beside_the_rescale(tmp_path: Path) -> None:
    """Rule 14: two mappings, in the file's order; modality values know nothing of them, and they nothing of the rescale."""
    path = make_dicom(
        tmp_path / "a.dcm",
        PIXELS,
        RescaleSlope=3,
        RescaleIntercept=-1000,
        RealWorldValueMappingSequence=[mapping(), mapping("{SUVbw}g/ml", RealWorldValueIntercept=0.0)],
    )
    (piece,) = slices(path)
    first, second = piece.real_world
    assert first == RealWorld(-4.0, 4.0, 0.25, 7.0, None, "mm2/s")
    assert (second.intercept, second.unit) == (0.0, "{SUVbw}g/ml")
    np.testing.assert_array_equal(piece.modality(), PIXELS * 3.0 - 1000)
    inside = (PIXELS >= -4) & (PIXELS <= 4)
    np.testing.assert_array_equal(first.values(piece.stored), np.where(inside, PIXELS * 0.25 + 7, np.nan))


@pytest.mark.parametrize(
    ("unit", "scheme", "expected"),
    [
        ("[hnsf'U]", "UCUM", "[hnsf'U]"),
        ("Doe^Jane", "UCUM", ""),  # a code value is free to hold anything
        ("mm2/s", "99LOCAL", ""),
    ],
)
def test_rule_14_units_are_a_short_list(tmp_path: Path, unit: str, scheme: str, expected: str) -> None:
    """Rule 14: a unit is a known UCUM code, or nothing."""
    path = make_dicom(tmp_path / "a.dcm", PIXELS, RealWorldValueMappingSequence=[mapping(unit, scheme)])
    assert [world.unit for world in slices(path)[0].real_world] == [expected]


def test_rule_14_a_table(tmp_path: Path) -> None:
    """Rule 14: LUT Data has one entry per stored value mapped."""
    table = {"RealWorldValueSlope": None, "RealWorldValueIntercept": None}
    values = [float(k * k) for k in range(9)]
    path = make_dicom(
        tmp_path / "a.dcm",
        PIXELS,
        RealWorldValueMappingSequence=[mapping(**table, RealWorldValueLUTData=values)],
    )
    (world,) = slices(path)[0].real_world
    assert (world.slope, world.intercept) == (None, None)
    got = world.values(PIXELS)
    assert np.isnan(got.ravel()[:2]).all() and np.isnan(got.ravel()[11])
    np.testing.assert_array_equal(got.ravel()[2:11], values)
    short = make_dicom(
        tmp_path / "b.dcm", PIXELS, RealWorldValueMappingSequence=[mapping(**table, RealWorldValueLUTData=values[:5])]
    )
    assert slices(short)[0].real_world == ()


def test_rule_14_bounds_are_signed_as_the_pixels_are(tmp_path: Path) -> None:
    """Rule 14: 65532 in an unsigned VR is -4 of signed pixels; doubles go first."""
    unsigned = mapping(RealWorldValueFirstValueMapped=("US", 65532), RealWorldValueLastValueMapped=("US", 4))
    doubled = mapping(
        DoubleFloatRealWorldValueFirstValueMapped=-2.5, DoubleFloatRealWorldValueLastValueMapped=2.5
    )  # fmt: skip
    path = make_dicom(tmp_path / "a.dcm", PIXELS, RealWorldValueMappingSequence=[unsigned, doubled])
    assert [(world.first, world.last) for world in slices(path)[0].real_world] == [(-4.0, 4.0), (-2.5, 2.5)]


@pytest.mark.parametrize(
    "broken",
    [
        {"RealWorldValueFirstValueMapped": None},
        {"RealWorldValueFirstValueMapped": ("SS", 5)},
        {"RealWorldValueSlope": None},
        {"RealWorldValueIntercept": float("nan")},
    ],
)
def test_rule_14_what_is_incomplete_is_absent(tmp_path: Path, broken: dict[str, Any]) -> None:
    """Rule 14: half a mapping is none, and costs the slice nothing."""
    path = make_dicom(tmp_path / "a.dcm", PIXELS, RealWorldValueMappingSequence=[mapping(**broken), mapping()])
    assert len(slices(path)[0].real_world) == 1


def test_rules_14_and_15_functional_groups(tmp_path: Path) -> None:
    """Rules 14 and 15: a frame's own mappings win over the shared ones, those over the main data set's."""
    frames = [item(), item(RealWorldValueMappingSequence=[mapping("s"), mapping("%")]), item()]
    path = make_dicom(
        tmp_path / "a.dcm",
        np.stack([PIXELS] * 3),
        RealWorldValueMappingSequence=[mapping("T")],
        SharedFunctionalGroupsSequence=[item(RealWorldValueMappingSequence=[mapping("ms")])],
        PerFrameFunctionalGroupsSequence=frames,
    )
    assert [[world.unit for world in piece.real_world] for piece in slices(path)] == [["ms"], ["s", "%"], ["ms"]]
    path = make_dicom(tmp_path / "b.dcm", PIXELS, RealWorldValueMappingSequence=[mapping("T")])
    assert slices(path)[0].real_world[0].unit == "T"


def test_rule_14_an_enhanced_ct(shared_data: Path) -> None:
    """Rule 14: perfusion frames of a real enhanced CT."""
    piece = slices(shared_data / "multiframe/pydicom-data__eCT_Supplemental.dcm")[0]
    assert piece.real_world == (RealWorld(0.0, 4095.0, 1.0, -1024.0, None, "ml/100ml/s"),)


def test_rule_14_index_and_json(tmp_path: Path) -> None:
    """Rule 14: mappings reach index and KEY.json, tables by their row also behind other shards' tables; free text does not."""
    import radload

    table = {"RealWorldValueSlope": None, "RealWorldValueIntercept": None}
    for number in range(4):
        values = [float(number * 100 + k) for k in range(9)]
        (tmp_path / "src").mkdir(exist_ok=True)
        make_dicom(
            tmp_path / f"src/{number}.dcm",
            PIXELS,
            PatientID=f"P{number}",
            SeriesInstanceUID=f"1.2.9.{number}",
            WindowCenter=[40, number],
            WindowWidth=[400, 1500],
            WindowCenterWidthExplanation=["SOFT TISSUE", "Doe^Jane"],
            RealWorldValueMappingSequence=[mapping(), mapping(**table, RealWorldValueLUTData=values)],
        )
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, split="50/25/25"))
    with radload.open(tmp_path / "out") as dataset:
        tables = dataset.index.table("luts").to_pylist()
        assert len(dataset) == 4 and len(tables) == 4 and len(dataset.index.shard_names) == 3
        for sample in dataset:
            plain, looked_up = sample.meta["real_world"]
            assert plain == {"first": -4, "last": 4, "slope": 0.25, "intercept": 7, "lut": None, "unit": "mm2/s"}
            number = sample.meta["window_centres"][1]  # the patient's
            assert tables[looked_up["lut"]] == {
                "first": -4,
                "values": [number * 100 + k for k in range(9)],
                "bits": None,
            }
            assert sample.meta["window_explanations"] == ["SOFT_TISSUE", "OTHER"]
    written = b"".join(path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file())
    assert b"Doe^Jane" not in written and b'"unit":"mm2/s"' in written and b'["SOFT_TISSUE","OTHER"]' in written
