"""Rules 11, 28 to 31 and 33: where a slice lies, how large its pixels are, and what is only a ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_make import item, make_dicom

from radload.dataset.schema import Flag
from radload.pack import PackOptions, pack
from radload.pack.places import find_series
from radload.sources import Slice, read, scan

RAMP = np.arange(12, dtype=np.int16).reshape(3, 4)


def only(path: Path) -> Slice:
    (piece,) = read(path)
    assert isinstance(piece, Slice)
    return piece


@pytest.mark.parametrize(
    ("attributes", "spacing", "source"),
    [
        ({"PixelAspectRatio": ["4", "3"]}, (4.0, 3.0), "ratio"),
        ({"PixelAspectRatio": ["1", "1"]}, (1.0, 1.0), "ratio"),
        ({"PixelAspectRatio": ["4", "3"], "PixelSpacing": [0.5, 0.5]}, (0.5, 0.5), "pixel"),
        ({"PixelAspectRatio": ["4", "3"], "ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "imager"),
        ({"PixelAspectRatio": ["4", "0"]}, None, ""),
        ({"PixelAspectRatio": "4"}, None, ""),
    ],
)
def test_rule_11_pixel_aspect_ratio(
    tmp_path: Path, attributes: dict[str, Any], spacing: tuple[float, float] | None, source: str
) -> None:
    """Rule 11: vertical to horizontal side, where no size is known, and marked as a ratio."""
    piece = only(make_dicom(tmp_path / "a.dcm", RAMP, **attributes))
    assert (piece.spacing, piece.spacing_source) == (spacing, source)


def test_rule_11_a_real_file(shared_data: Path) -> None:
    """Rule 11: pixels that are 4 high and 3 wide."""
    piece = only(shared_data / "photometric/pydicom-data__color-pl.dcm")
    assert (piece.spacing, piece.spacing_source) == ((4.0, 3.0), "ratio")


def test_rule_11_the_index_says_that_it_is_no_size(tmp_path: Path) -> None:
    """Rule 11: Flag.RATIO is set where spacing is a ratio, and nowhere else."""
    import radload

    (tmp_path / "src").mkdir()
    cases: dict[str, dict[str, Any]] = {
        "a": {"PixelAspectRatio": ["4", "3"]},
        "b": {"PixelSpacing": [4, 3]},
        "c": {"ImagerPixelSpacing": [4, 3]},
        "d": {},
    }
    for name, attributes in cases.items():
        make_dicom(
            tmp_path / f"src/{name}.dcm", RAMP, PatientID=name, SeriesInstanceUID=f"1.2.{ord(name)}", **attributes
        )
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, split="100/0/0"))
    with radload.open(tmp_path / "out") as dataset:
        found = {
            sample.meta["spacing_source"]: (
                sample.meta["spacing"], bool(int(dataset.index.records[sample.row]["flags"]) & Flag.RATIO)
            )
            for sample in dataset
        }  # fmt: skip
    sides = (4.0, 3.0)
    assert found == {"ratio": (sides, True), "pixel": (sides, False), "imager": (sides, False), "": (None, False)}


@pytest.mark.parametrize(
    ("attributes", "spacing", "source"),
    [
        ({"PixelSpacing": [0.5, 0.75]}, (0.5, 0.75), "pixel"),
        ({"PixelSpacing": [0.5, 0.75], "ImagerPixelSpacing": [0.2, 0.1]}, (0.5, 0.75), "pixel"),
        ({"ImagerPixelSpacing": [0.2, 0.1], "NominalScannedPixelSpacing": [1, 2]}, (0.2, 0.1), "imager"),
        ({"NominalScannedPixelSpacing": [1, 2]}, (1.0, 2.0), "nominal"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "imager"),
        ({"PixelSpacing": [-1, 1]}, None, ""),
    ],
)
def test_rule_29_spacing_is_row_then_column_and_says_whose(
    tmp_path: Path, attributes: dict[str, Any], spacing: tuple[float, float] | None, source: str
) -> None:
    """Rule 29: between rows first; the detector's plane and a scanned film are marked, and used only where the patient's is absent."""
    piece = only(make_dicom(tmp_path / "a.dcm", RAMP, **attributes))
    assert (piece.spacing, piece.spacing_source) == (spacing, source)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_rules_28_and_30_positions_along_the_normal_give_order_and_spacing(tmp_path: Path, seed: int) -> None:
    """Rules 28 and 30: oblique planes, Instance Numbers at random and twice, Slice Thickness of another size: positions decide."""
    rng = np.random.default_rng(seed)
    row, col, normal = np.linalg.qr(rng.normal(size=(3, 3)))[0].T
    normal = np.cross(row, col)
    gap, count = float(rng.uniform(0.5, 5)), 6
    names = rng.permutation(count)
    headers = []
    for place in range(count):
        position = normal * gap * place + row * rng.normal() + col * rng.normal()  # shifts in the plane order nothing
        path = make_dicom(
            tmp_path / f"{names[place]}.dcm",
            RAMP,
            ImageOrientationPatient=[f"{value:.8f}" for value in (*row, *col)],
            ImagePositionPatient=[f"{value:.8f}" for value in position],
            InstanceNumber=int(rng.integers(1, 4)),
            SliceThickness=gap * 2,
        )
        headers.append(scan(path, path.name))
    (series,) = find_series(headers, ["p"] * count)
    assert [place for (place,) in series.places] == list(range(count))
    assert list(series.rows) == list(range(count))
    assert series.geometry.slice_spacing == pytest.approx(gap, rel=1e-4)


def test_rule_28_without_positions_the_instance_number_orders(tmp_path: Path) -> None:
    """Rule 28: the fallback, and no spacing is invented."""
    headers = []
    for number in (3, 1, 2):
        path = make_dicom(tmp_path / f"{number}.dcm", RAMP, InstanceNumber=number)
        headers.append(scan(path, path.name))
    (series,) = find_series(headers, ["p"] * 3)
    assert [headers[row].instance for row in series.rows] == [1, 2, 3]
    assert series.geometry.slice_spacing is None


def test_rule_31_planes_and_sizes_of_one_uid(tmp_path: Path) -> None:
    """Rule 31: another size is another series; a localizer's plane keeps to itself behind the stack."""
    headers = []
    planes = [([1, 0, 0, 0, 1, 0], RAMP)] * 3 + [([0, 1, 0, 0, 0, -1], RAMP), ([1, 0, 0, 0, 1, 0], RAMP[:2])]
    for place, (orientation, values) in enumerate(planes):
        path = make_dicom(
            tmp_path / f"{9 - place}.dcm",
            values,
            ImageOrientationPatient=orientation,
            ImagePositionPatient=[0, 0, place],
            InstanceNumber=9 - place,
        )
        headers.append(scan(path, path.name))
    large, small = sorted(find_series(headers, ["p"] * 5), key=lambda series: -series.count)
    assert (list(large.rows), list(small.rows)) == ([0, 1, 2, 3], [4])


def test_rules_15_and_30_planes_of_frames(tmp_path: Path) -> None:
    """Rules 15 and 30: an enhanced image's frames have planes and spacing of their own, and lie in whatever order."""
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[1, 2], SliceThickness=9)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    heights = [7.5, 0.0, 5.0, 2.5]
    frames = [item(PlanePositionSequence=[item(ImagePositionPatient=[1, 2, height])]) for height in heights]
    frames[2].PixelMeasuresSequence = [item(PixelSpacing=[3, 4])]
    path = make_dicom(
        tmp_path / "a.dcm",
        np.stack([RAMP + k for k in range(4)]),
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    pieces = [piece for piece in read(path) if isinstance(piece, Slice)]
    assert [piece.position for piece in pieces] == [(1.0, 2.0, height) for height in heights]
    assert [piece.spacing for piece in pieces] == [(1, 2), (1, 2), (3, 4), (1, 2)]
    (series,) = find_series([scan(path, "a.dcm")], ["p"])
    assert series.places == ((3, 0, 2, 1),)
    assert series.geometry.slice_spacing == 2.5
