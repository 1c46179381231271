"""Patients: one person is one identity by whatever rule, and those without a number are never one big patient."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest_pack import WriteDicom
from hypothesis import given
from hypothesis import strategies as st

from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.patients import MOST_NAMES, MOST_STUDIES, find_patients, placeholder_notes
from radload.pack.persons import NO_IDENTITY
from radload.sources import Header, SeriesAttributes


def header(source: str = "a.dcm", kind: str = "dicom", **names: str | None) -> Header:
    return Header(source, kind, 4, 4, 1, 16, 1, SeriesAttributes("CT"), **names)  # type: ignore[arg-type]


def identity(one: Header, rule: str | None = None) -> str:
    return find_patients([one], rule)[0].identity


def test_the_number_counts_with_its_issuer_and_without_white_space_or_width() -> None:
    assert (
        identity(header(patient="12A"))
        == identity(header("b.dcm", patient=" 12A "))
        == identity(header(patient="\uff11\uff12A"))
    )
    assert identity(header(patient="12A", issuer="north")) != identity(header(patient="12A", issuer="south"))


@pytest.mark.parametrize("empty", [None, *sorted(NO_IDENTITY), "Anonymous", " anon "])
def test_numbers_that_name_nobody_are_one_patient_per_study(empty: str | None) -> None:
    one, same, other = find_patients([header(patient=empty, study=study) for study in ("1.1", "1.1", "1.2")], None)
    assert one == same and one != other and not one.known and one.name is None


def test_without_a_study_the_series_and_then_the_file_stands_for_the_patient() -> None:
    found = find_patients([header("a"), header("b"), header("c", series="1.5"), header("d", series="1.5")], None)
    assert len({patient.identity for patient in found}) == 3


def test_bids_subjects_are_recognised_in_paths_of_other_formats() -> None:
    paths = [
        "ds/sub-01/anat/sub-01_T1w.nii.gz",
        "ds/derivatives/sub-01/x.nii",
        "ds/sub-02/a.nii",
        "ds/subject/a.nii",
        "ds/sub-/a.nii",
    ]
    found = find_patients([header(path, "nifti") for path in paths], None)
    assert [patient.name for patient in found] == ["01", "01", "02", None, None]
    assert len({patient.identity for patient in found}) == 4


def test_a_path_rule_takes_its_group_or_the_whole_match_and_agrees_with_the_tag() -> None:
    png = header("ward/p77/x.png", "image")
    assert find_patients([png], r"path:/p(\d+)/")[0].name == "77"
    assert find_patients([png], r"path:p\d+")[0].name == "p77"
    assert identity(png, r"path:/p(\d+)/") == identity(header(patient="77"))


def test_a_csv_rule_names_the_patients_of_files_and_folders(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("path,patient\nward/a,77\nward/b/x.png,78\n")
    found = find_patients(
        [header(path, "image") for path in ("ward/a/1.png", "ward/a/2.png", "ward/b/x.png", "ward/b/y.png")],
        f"csv:{table}",
    )
    assert [patient.name for patient in found] == ["77", "77", "78", None]


@pytest.mark.parametrize(
    "rule", ["tag:PatientName", "name", "path:", "path:(", "csv:nowhere.csv", r"path:nothing-like-this"]
)
def test_rules_that_cannot_be_used_are_refused_in_a_sentence(rule: str) -> None:
    with pytest.raises(UsageError, match="--patients"):
        find_patients([header(patient="1")], rule)


@given(st.text(), st.text())
def test_different_numbers_never_meet_an_unknown_patient(number: str, study: str) -> None:
    known, unknown = find_patients([header(patient="P" + number), header(patient="", study=study, series="s")], None)
    assert known.identity != unknown.identity


def of_studies(count: int, **names: str) -> list[Header]:
    return [header(f"{study}.dcm", patient="C1", study=f"1.{study}", **names) for study in range(count)]


def test_a_number_over_implausibly_many_studies_is_nobodys() -> None:
    assert len(set(find_patients(of_studies(MOST_STUDIES), None))) == 1
    many = of_studies(MOST_STUDIES + 1)
    found = find_patients([*many, header("p.dcm", patient="P2")], None)
    assert len(set(found)) == MOST_STUDIES + 2 and [patient.known for patient in found[-2:]] == [False, True]
    (note,) = placeholder_notes([*many, header("p.dcm", patient="P2")], found)
    assert note.startswith("501 files") and "constant" in note and "C1" not in note
    assert find_patients(many, "path:C|dcm")[0].known  # what the user says himself is believed


def test_a_number_of_many_names_is_nobodys() -> None:
    few = [header(f"{n}", patient="C1", study=f"1.{n}", name=f"Name{n}^X") for n in range(MOST_NAMES)]
    assert len(set(find_patients(few, None))) == 1
    many = [*few, header("x", patient="C1", study="1.x", name="Another^X")]
    assert len(set(find_patients(many, None))) == MOST_NAMES + 1
    assert len(set(find_patients(many, "tag:PatientID"))) == 1  # the user says that it is the patient
    elsewhere = header(
        "y", patient="C1", issuer="south", name="Doe^X"
    )  # the same number of another hospital is a person's
    assert find_patients([*many, elsewhere], None)[-1].known


def test_placeholders_are_counted_and_not_quoted() -> None:
    headers = [
        header("a", patient="ANON", study="1"),
        header("b", patient="0", study="2"),
        header("c"),
        header("d", patient="P1"),
    ]
    (note,) = placeholder_notes(headers, find_patients(headers, None))
    assert note.startswith("2 files") and "names nobody" in note


def test_a_pack_warns_of_numbers_that_name_nobody_and_keeps_strangers_apart(
    tmp_path: Path, write_dicom: WriteDicom
) -> None:
    for number in range(4):
        write_dicom(tmp_path / f"src/{number}.dcm", patient="ANON", study=f"st{number}", series=f"s{number}")
    summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    assert sum(split["patients"] for split in summary.splits.values()) == 4
    assert any(note.startswith("4 files have a patient number that names nobody") for note in summary.notes)
    (tmp_path / "who.csv").write_text("path,patient\n0.dcm,A\n1.dcm,A\n2.dcm,B\n")
    told = pack(PackOptions(tmp_path / "src", tmp_path / "two", patients=f"csv:{tmp_path / 'who.csv'}", workers=0))
    assert sum(split["patients"] for split in told.splits.values()) == 3
    assert not any("patient number that" in note for note in told.notes)
