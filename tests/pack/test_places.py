"""Series and their order: by position along the normal, whatever the names and numbers say; every frame has one place."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from radload.pack.places import find_series
from radload.sources import Header, SeriesAttributes

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
    assert find_series(headers, ["p"] * 3)[0].slice_spacing == 3.75


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
