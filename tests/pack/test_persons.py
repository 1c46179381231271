"""Class names that tell a patient are refused, those that are only words are not; placeholders are nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest_pack import WriteDicom
from hypothesis import given
from hypothesis import strategies as st

from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.persons import NO_IDENTITY, names_nobody, person, telling_classes
from radload.pack.relabel import LabelOptions, add_labels

DOE, ROE = person("P4711", "ACC99", "Doe^Jane"), person("12345678", None, "White^Ann")


@pytest.mark.parametrize(
    ("name", "told"),
    [("P4711", True), ("CT p4711 chest", True), ("acc99", True), ("xACC99x", True), ("12345678", True), ("a_12345678_b", True),
     ("Jane Doe", True), ("doe, JANE: fracture", True), ("Ann", False), ("white matter", False), ("fracture", False),
     ("janet", False), ("4711", False), ("P471", False)],
)  # fmt: skip
def test_numbers_and_whole_names_are_found_whoever_carries_the_class(name: str, told: bool) -> None:
    assert telling_classes([name], [DOE, ROE, person(None, None, None)], [(0, 2)]) == ([0] if told else [])


def test_a_part_of_the_carriers_name_is_found_unless_many_others_share_the_word() -> None:
    others = [person(f"Q{number:05}", None, f"Name{number}^First") for number in range(12)]
    persons = [ROE, *others]
    assert telling_classes(["fracture", "white matter"], persons, [(1, 0), (1, 1), (0, 2)]) == [1]
    assert telling_classes(["white matter"], persons, [(0, row) for row in range(11)]) == []
    assert telling_classes(["White"], persons, [(0, row) for row in range(3)]) == [0]


@pytest.mark.parametrize(
    "number", ["", None, "^", " ^^ ", "0", "000000", "xxxx", "999999", "NO ID", "no-id", "Anonymized", "n/a"]
)
def test_placeholders_name_nobody(number: str | None) -> None:
    assert names_nobody(number)
    assert not person(number, number, number).numbers and not person(number, number, number).names


@pytest.mark.parametrize("number", ["1", "7", "0001", "11", "99999", "A0", "ANON135059063150", "X1"])
def test_numbers_are_numbers(number: str) -> None:
    assert not names_nobody(number)


@given(st.sampled_from(sorted(NO_IDENTITY)), st.sampled_from(["", " ", "^", "_", "-"]), st.booleans())
def test_placeholders_are_known_in_any_dress(word: str, edge: str, lower: bool) -> None:
    assert names_nobody(f"{edge}{word.lower() if lower else word}{edge}")


def test_folders_of_patients_are_no_classes(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for number in (4711, 4712):
        write_dicom(tmp_path / f"src/P{number}/a.dcm", patient=f"P{number}", series=f"s{number}")
    with pytest.raises(UsageError, match=r"2 of 2 class names .* class 1 in") as told:
        pack(PackOptions(tmp_path / "src", tmp_path / "out", labels_from="folder:1", workers=0))
    assert "4711" not in str(told.value) and not (tmp_path / "out").exists()


def test_a_table_is_told_by_its_line(tmp_path: Path, write_dicom: WriteDicom) -> None:
    source, table = tmp_path / "src", tmp_path / "labels.csv"
    for number in (4711, 4712):
        write_dicom(source / f"{number}.dcm", patient=f"P{number}", series=f"s{number}", PatientName="Doe^Jane")
    table.write_text("path,label\n4712.dcm,normal\n\n4711.dcm,Doe: lesion\n")
    with pytest.raises(UsageError, match="the first stands in line 4:") as told:
        pack(PackOptions(source, tmp_path / "out", labels=table, workers=0))
    assert "Doe" not in str(told.value)
    table.write_text("path,effusion,P4712\n4712.dcm,1,0\n4711.dcm,1,1\n")
    with pytest.raises(UsageError, match="the header, label column 2:") as told:
        pack(PackOptions(source, tmp_path / "out", labels=table, workers=0))
    assert "P4712" not in str(told.value)
    pack(PackOptions(source, tmp_path / "out", labels_from="modality", workers=0))
    table.write_text("path,label\n4712.dcm,normal\n4711.dcm,lesion of doe\n")
    with pytest.raises(UsageError, match="line 3"):  # later, from the private folder
        add_labels(LabelOptions(tmp_path / "out", table, name="v2"))
