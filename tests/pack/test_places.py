"""Series and their order: by position along the normal, whatever the names and numbers say; every frame has one place."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest_pack import WriteSeries
from hypothesis import given
from hypothesis import strategies as st

import radload
from radload.pack import PackOptions, pack
from radload.pack.places import find_series
from radload.pack.stacks import Geometry
from radload.sources import Header, SeriesAttributes, scan

Z, X = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)


def header(source: str, **changes: Any) -> Header:
    values: dict[str, Any] = {
        "series": "1.1",
        "rows": 4,
        "cols": 5,
        "channels": 1,
        "bits": 16,
        "frames": 1,
        "format": "dicom",
    } | changes
    return Header(source=source, attributes=SeriesAttributes("CT"), **values)


def order(headers: list[Header]) -> list[tuple[str, int]]:
    """(source, frame) in order of place; one series is expected."""
    (series,) = find_series(headers, ["p"] * len(headers))
    placed = {
        place: (headers[row].source, frame)
        for row, places in zip(series.rows, series.places, strict=True)
        for frame, place in enumerate(places)
    }
    assert sorted(placed) == list(range(series.count))
    return [placed[place] for place in range(series.count)]


def test_position_comes_before_instance_number_and_name() -> None:
    headers = [
        header("a", positions=(5.0,), instance=1, normal=Z),
        header("b", positions=(-2.5,), instance=2, normal=Z),
        header("c", positions=(0.0,), instance=3, normal=Z),
    ]
    assert [source for source, _ in order(headers)] == ["b", "c", "a"]
    assert find_series(headers, ["p"] * 3)[0].geometry.slice_spacing == 3.75


def test_without_all_positions_the_instance_number_decides_and_then_the_name() -> None:
    headers = [
        header("c", instance=1),
        header("b", instance=2, positions=(9.0,), normal=None),
        header("a"),
        header("d", instance=1),
    ]
    assert [source for source, _ in order(headers)] == ["c", "d", "b", "a"]


def test_frames_of_a_file_are_placed_by_their_positions() -> None:
    assert order([header("a", frames=3, positions=(3.0, 1.0, 2.0), normal=Z)]) == [("a", 1), ("a", 2), ("a", 0)]
    assert order([header("v", format="nifti", series=None, frames=2, positions=(1.0, 0.0))]) == [("v", 1), ("v", 0)]


def test_a_localizer_in_another_plane_does_not_mix_with_the_stack() -> None:
    stack = [header(f"s{i}", positions=(float(i),), normal=(0.0, 0.001 * i, 1.0)) for i in range(3)]
    assert [source for source, _ in order([header("l", positions=(1.5,), normal=X), *stack])] == ["s0", "s1", "s2", "l"]


def test_series_part_by_patient_uid_and_size_and_files_without_uid_stand_alone() -> None:
    headers = [header("a"), header("b"), header("c", rows=9), header("d", channels=3), header("e", series="1.2")]
    headers += [header(name, series=None) for name in "fg"] + [
        header(name, format="nifti", series=None) for name in "hi"
    ]
    assert len(find_series(headers, ["p"] * 9)) == 8
    assert len(find_series(headers[:2], ["p", "q"])) == 2


@given(st.permutations(range(8)), st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=8, max_size=8))
def test_the_order_does_not_depend_on_the_order_of_the_catalog(
    shuffled: list[int], positions: list[float | None]
) -> None:
    headers = [
        header(f"f{i}", positions=None if p is None else (p,), instance=i % 3, normal=Z)
        for i, p in enumerate(positions)
    ]
    assert order([headers[i] for i in shuffled]) == order(headers)


def stack(count: int, **changes: Any) -> list[Header]:
    """Slices 2.5 mm apart, whose names run against their order."""
    return [
        header(
            f"{changes.get('name', '')}{99 - i}",
            positions=(2.5 * i,),
            normal=Z,
            origins=((0.0, 0.0, 2.5 * i),),
            instance=changes.get("start", 0) + i,
            phases=(changes.get("phase", (0, 0, 0)),),
            image_type=changes.get("image_type", ()),
        )
        for i in range(count)
    ]


def geometry(headers: list[Header]) -> Any:
    (series,) = find_series(headers, ["p"] * len(headers))
    return series.geometry


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"phase": (1, 0, 0)}, {"phase": (2, 0, 0)}),
        ({"phase": (0, 1, 0)}, {"phase": (0, 2, 0)}),
        ({"phase": (0, 0, 1)}, {"phase": (0, 0, 2)}),
        ({"image_type": ("ORIGINAL", "PRIMARY", "M")}, {"image_type": ("ORIGINAL", "PRIMARY", "P")}),
        ({"start": 1}, {"start": 101}),
    ],
)
def test_echoes_time_points_acquisitions_kinds_and_passes_do_not_interleave(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Rule 31; Instance Numbers are the same in both passes where something else tells them apart."""
    headers = [*stack(4, name="b", **second), *stack(4, name="a", **first)]
    assert [source for source, _ in order(headers)] == [f"{name}{99 - i}" for name in "ab" for i in range(4)]
    assert (geometry(headers).phases, geometry(headers).duplicates, geometry(headers).slice_spacing) == (2, 0, 2.5)


def test_an_acquisition_number_that_counts_table_positions_splits_nothing() -> None:
    """Step and shoot: every slice its own acquisition, and one slice there twice."""
    headers = [replace(one, phases=((0, 0, i),)) for i, one in enumerate(stack(6))]
    headers.append(replace(headers[2], source="copy"))
    assert [source for source, _ in order(headers)] == ["99", "98", "97", "copy", "96", "95", "94"]
    assert (geometry(headers).phases, geometry(headers).duplicates, geometry(headers).gaps) == (1, 1, 0)


def test_volumes_in_one_file_are_told_apart_frame_by_frame() -> None:
    phases = ((0, 1, 0), (0, 2, 0), (0, 1, 0), (0, 2, 0))
    headers = [header("a", frames=4, positions=(5.0, 5.0, 2.5, 2.5), normal=Z, phases=phases)]
    assert [frame for _, frame in order(headers)] == [2, 0, 3, 1]


def test_gaps_duplicates_and_irregular_steps_are_counted() -> None:
    """Rule 30."""
    whole = stack(10)
    assert geometry(whole) == Geometry(2.5, 0, 0, 0.0, 1, 1, 0.0)
    assert geometry([*whole[:3], *whole[4:]]).gaps == 1
    assert geometry([*whole[:3], *whole[6:], replace(whole[8], source="again")]) == Geometry(2.5, 3, 1, 0.0, 1, 1, 0.0)
    moved = geometry([*whole[:9], replace(whole[9], positions=(22.0,))])
    assert (moved.gaps, moved.irregular) == (0, pytest.approx(0.5))
    assert geometry(whole[:1]) == Geometry(None, 0, 0, None, 1, 1, None)
    assert geometry([header("a"), header("b")]) == Geometry(None, 0, 0, None, 0, 0, None)


def test_tilt_is_the_angle_between_the_normal_and_the_stack() -> None:
    shift = math.tan(math.radians(20))
    tilted = [replace(one, origins=((0.0, 2.5 * i * shift, 2.5 * i),)) for i, one in enumerate(stack(5))]
    assert geometry(tilted).tilt == pytest.approx(20)
    assert geometry([replace(one, origins=None) for one in tilted]).tilt is None


def test_orientations_are_counted() -> None:
    assert geometry([header("l", positions=(1.5,), normal=X), *stack(3)]).stacks == 2


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("series/mr_brain_t2_adi", {"slice_spacing": 2.5, "gaps": 1, "duplicates": 0, "irregular": 0, "tilt": 0}),
        ("series/mr_brain_t1_adi", {"slice_spacing": 1, "gaps": 1, "duplicates": 0, "irregular": 0, "tilt": 0}),
        ("series/ct_chest_lidc0314", {"slice_spacing": 1, "gaps": 0, "stacks": 1, "phases": 1, "tilt": 0}),
        ("vendors/dicom2nifti__failing_gantrytilting_001_IM-*", {"tilt": 14, "gaps": 0, "duplicates": 0}),
        ("vendors/dicom2nifti__failing_sliceorientation_001_IM-*", {"stacks": 2}),
        ("vendors/dicom2nifti__ge_dti_002_*", {"phases": 4, "duplicates": 0, "gaps": 0}),
        ("syntaxes/mr_four_slices_four_encodings", {"phases": 1, "duplicates": 12, "gaps": 0}),
    ],
)
def test_real_series_are_what_they_are_known_to_be(shared_data: Path, folder: str, expected: dict[str, Any]) -> None:
    paths = [path for top in shared_data.glob(folder) for path in (top.rglob("*") if top.is_dir() else [top])]
    headers = [scan(path, path.name) for path in sorted(paths) if path.is_file()]
    headers = [replace(one, source=f"{i}") for i, one in enumerate(headers)]
    series = max(find_series(headers, ["p"] * len(headers)), key=lambda one: one.count)
    found = {name: getattr(series.geometry, name) for name in expected}
    assert found == pytest.approx(expected, abs=0.002)


def test_a_pack_writes_the_geometry(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "src", slices=5)
    (tmp_path / "src/002.dcm").unlink()  # the third of five
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    (row,) = radload.open(tmp_path / "out").index.table("series").to_pylist()
    names = ("slice_spacing", "gaps", "duplicates", "tilt", "stacks", "phases", "irregular")
    assert [row[name] for name in names] == [2.5, 1, 0, 0, 1, 1, 0]
