"""Texts of headers: defined terms or nothing, short device names without people and days, and so in the packed data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest_pack import WriteDicom
from hypothesis import given
from hypothesis import strategies as st

import radload
from radload.pack import PackOptions, pack
from radload.pack.persons import person
from radload.pack.terms import BODY_PARTS, LATERALITIES, MODALITIES, VIEWS, device_text, term

NOBODY = person(None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("CHEST", "CHEST"), (" chest ", "CHEST"), ("Head/Neck", "HEADNECK"), ("WHOLE BODY", "WHOLEBODY"), ("L-SPINE", "LSPINE"),
     ("CHEST SMITH", None), ("JPEG 2000 Compressed Image", None), ("", None), (None, None)],
)  # fmt: skip
def test_a_body_part_is_a_defined_term_or_nothing(text: str | None, expected: str | None) -> None:
    assert term(text, BODY_PARTS) == expected


@given(st.text())
def test_a_term_is_never_anything_else(text: str) -> None:
    for terms in (BODY_PARTS, MODALITIES, VIEWS, LATERALITIES):
        assert term(text, terms) in terms | {None}


@pytest.mark.parametrize(
    "text",
    ["SIEMENS", "GE MEDICAL SYSTEMS", "HiSpeed CT/i", "SOMATOM Definition AS+", "XYZG=7.00", "Optima CT520 Series", "B30s", "6100",
     "Cassette Holder Type 9840 500 70201"],
)  # fmt: skip
def test_names_of_devices_stay(text: str) -> None:
    assert device_text(f" {text} ", NOBODY) == text


@pytest.mark.parametrize(
    "text",
    ["x" * 65, "Müller", "two\nlines", "", "  ", "a\tb", "service 20190403", "2019-04-03", "made 3.4.2019", "20190403121314",
     "1.2.840.113619.2.55", "doe@clinic.org"],
)  # fmt: skip
def test_what_could_be_a_day_a_uid_or_a_person_goes(text: str) -> None:
    assert device_text(text, NOBODY) is None


@pytest.mark.parametrize(
    "text",
    ["MISTER", "scanner of mister", "PID4711", "xpid4711x", "ACC77", "from acc77", "Quastenflosser's", "4711-12"],
)
def test_what_names_the_patient_goes(text: str) -> None:
    whom = person("PID4711", "ACC77", "Quastenflosser^Mister^A")
    other = person("4711-12", None, None)
    assert device_text(text, whom) is None or device_text(text, other) is None
    assert device_text(text, NOBODY) == text


def test_short_and_empty_names_do_not_empty_every_column() -> None:
    whom = person("7", None, "A^B^C")
    assert device_text("ABC 7", whom) == "ABC 7" and device_text("SIEMENS", person("", "", "ANON^^")) == "SIEMENS"


def test_packed_texts_are_limited(tmp_path: Path, write_dicom: WriteDicom) -> None:
    texts = {
        "BodyPartExamined": "Mr Smith's head",
        "ViewPosition": "Smith",
        "Laterality": "SMITH",
        "Manufacturer": "Smith & Co",
    }
    write_dicom(
        tmp_path / "src/a.dcm", PatientName="Smith^Ann", ManufacturerModelName="Revolution", Modality="SMITH", **texts
    )
    write_dicom(
        tmp_path / "src/b.dcm",
        series="other",
        BodyPartExamined="Head",
        ViewPosition="mlo",
        ImageLaterality="L",
        Modality="MG",
    )
    pack(PackOptions(tmp_path / "src", tmp_path / "out", split="100/0/0", workers=0))
    with radload.open(tmp_path / "out") as dataset:
        names = ("body_part", "view", "laterality", "manufacturer", "model", "modality")
        found = {tuple(sample.meta[name] for name in names) for sample in dataset}
    assert found == {(None, None, None, None, "Revolution", ""), ("HEAD", "MLO", "L", None, None, "MG")}
