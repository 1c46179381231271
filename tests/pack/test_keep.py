"""--keep and --retain: what may be added, how it is limited, where it is found again; and what is refused, with the reason."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest_pack import WriteDicom, write_png
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

import radload
from radload.cli import main
from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.keep import samples_schema, understand


def metas(out: Path) -> list[dict[str, Any]]:
    with radload.open(out) as dataset:
        return [sample.meta for sample in dataset]


def test_kept_attributes_are_columns_meta_and_json(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for place, kvp in enumerate((100, 120)):
        write_dicom(
            tmp_path / f"src/{place}.dcm", place=place, KVP=kvp, SliceThickness="1.25", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
            TablePosition=3.5, DataCollectionDiameter=500, CTDIvol=7.5, FilterType="BODY FILTER", PositionerMotion="STATIC",
        )  # fmt: skip
    write_png(tmp_path / "src/b.png", np.zeros((4, 5), np.uint8))
    arguments = [
        "--src",
        str(tmp_path / "src"),
        "--out",
        str(tmp_path / "out"),
        "--split",
        "100/0/0",
        "--workers",
        "1",
        "--attest-no-phi",
        "--quiet",
    ]
    for keyword in ("KVP", "SliceThickness", "ImageType", "FilterType", "ExposureTime", "FocalSpots"):
        arguments += ["--keep", keyword]
    with pytest.raises(SystemExit) as ended:
        main(["pack", *arguments])
    assert ended.value.code == 0
    ct = [meta for meta in metas(tmp_path / "out") if meta["format"] == "dicom"]
    assert [meta["kept_KVP"] for meta in ct] == [100, 120]
    assert {meta["kept_SliceThickness"] for meta in ct} == {1.25}
    assert {(meta["kept_ImageType"], meta["kept_FilterType"]) for meta in ct} == {
        ("ORIGINAL\\PRIMARY\\AXIAL", "BODY FILTER")
    }
    assert {(meta["kept_ExposureTime"], meta["kept_FocalSpots"]) for meta in ct} == {(None, None)}
    (png,) = [meta for meta in metas(tmp_path / "out") if meta["format"] == "image"]
    assert png["kept_KVP"] is None and png["kept_ImageType"] is None
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert manifest["kept"] == sorted(arguments[i + 1] for i, word in enumerate(arguments) if word == "--keep")
    assert manifest["retained"] == []
    with tarfile.open(tmp_path / "out/train/000000.tar") as tar:
        found = [tar.extractfile(member) for member in tar if member.name.endswith(".json")]
        kept = [json.load(text)["kept"] for text in found if text is not None]
    assert sorted(entry["KVP"] for entry in kept if entry.get("KVP")) == [100, 120]
    with radload.Loader(
        tmp_path / "out", batch_size=3, size=8, shuffle=False, meta=["kept_KVP", "kept_FilterType"]
    ) as loader:
        (batch,) = list(loader)
    assert sorted(value for value in batch["kept_KVP"].tolist() if value == value) == [100, 120]
    assert sorted(batch["kept_FilterType"]) == ["", "BODY FILTER", "BODY FILTER"]
    with (
        pytest.raises(UsageError, match="kept_KVP"),
        radload.Loader(tmp_path / "out", batch_size=1, size=8, meta=["kept_X"]),
    ):
        pass


def test_frames_of_an_enhanced_image_have_their_own_values(tmp_path: Path, write_dicom: WriteDicom) -> None:
    frames, shared = [], Dataset()
    for exposure in (10.0, 20.0, None):
        one = Dataset()
        if exposure is not None:
            macro = Dataset()
            macro.ExposureTimeInms = exposure
            one.CTExposureSequence = [macro]
        frames.append(one)
    macro = Dataset()
    macro.ExposureTimeInms, macro.KVP = 99.0, 80
    shared.CTExposureSequence = [macro]
    write_dicom(
        tmp_path / "src/a.dcm", np.zeros((3, 8, 9), np.int16)[..., :3].copy(), SOPClassUID=EnhancedCTImageStorage,
        PhotometricInterpretation="MONOCHROME2", SamplesPerPixel=1, NumberOfFrames=3, Rows=8, Columns=3, PlanarConfiguration=None,
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames,
    )  # fmt: skip
    pack(PackOptions(tmp_path / "src", tmp_path / "out", keep=("ExposureTimeInms", "KVP"), workers=0))
    found = metas(tmp_path / "out")
    assert [(meta["kept_ExposureTimeInms"], meta["kept_KVP"]) for meta in found] == [(10, 80), (20, 80), (99, 80)]


def test_kept_texts_and_numbers_never_name_the_patient(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(
        tmp_path / "src/a.dcm", patient="4711222", PatientName="Smith^Ann", SoftwareVersions="service 20190403", FilterType="smith",
        SequenceName="*tfl3d1_16", SeriesNumber=4711222, AcquisitionNumber=3,
    )  # fmt: skip
    keep = ("SoftwareVersions", "FilterType", "SequenceName", "SeriesNumber", "AcquisitionNumber")
    pack(PackOptions(tmp_path / "src", tmp_path / "out", keep=keep, workers=0))
    (meta,) = metas(tmp_path / "out")
    assert [meta[f"kept_{name}"] for name in keep] == [None, None, "*tfl3d1_16", None, 3]


@pytest.mark.parametrize(
    ("age", "years"),
    [("034Y", 34), ("090Y", 90), ("101Y", 90), ("018M", 1.5), ("002D", 2 / 365.25), ("adult", None), ("", None)],
)
def test_patient_characteristics_leave_when_they_are_asked_for(
    tmp_path: Path, write_dicom: WriteDicom, age: str, years: float | None
) -> None:
    write_dicom(
        tmp_path / "src/a.dcm", PatientAge=age, PatientSex="F" if years else "Anna", PatientWeight=70, PatientSize=1.7
    )
    pack(PackOptions(tmp_path / "src", tmp_path / "with", retain=("sex", "age"), workers=0))
    pack(PackOptions(tmp_path / "src", tmp_path / "without", workers=0))
    (meta,) = metas(tmp_path / "with")
    assert meta["kept_PatientAge"] == (None if years is None else pytest.approx(years))
    assert meta["kept_PatientSex"] == ("F" if years else None) and "kept_PatientWeight" not in meta
    assert json.loads((tmp_path / "with/manifest.json").read_bytes())["retained"] == ["age", "sex"]
    (plain,) = metas(tmp_path / "without")
    assert not [name for name in plain if name.startswith("kept_")]


@pytest.mark.parametrize(
    ("keyword", "reason"),
    [("PatientAge", "--retain age"), ("PatientSex", "Retain Patient Characteristics"), ("StudyInstanceUID", "Retain UIDs"),
     ("StudyDate", "Retain Longitudinal Temporal Information"), ("SeriesDescription", "Clean Descriptors"),
     ("DeviceSerialNumber", "Retain Device Identity"), ("PatientName", "identifies people"), ("AccessionNumber", "E.1-1"),
     ("Manufacturer", "packed anyway, as manufacturer"), ("RescaleSlope", "as slope"), ("Nonsense", "no DICOM keyword"),
     ("kvp", "no DICOM keyword"), ("SOPClassUID", "type UI"), ("TransferSyntaxUID", "type UI"), ("ReferencedImageSequence", "refused"),
     ("PixelData", "type OB"), ("WaveformData", "type OB"), ("InterventionDrugDose", None)],
)  # fmt: skip
def test_what_may_not_be_kept_is_refused_with_the_option_it_would_need(keyword: str, reason: str | None) -> None:
    if reason is None:
        assert understand((keyword,), ())[0].column == f"kept_{keyword}"
        return
    with pytest.raises(UsageError, match="--keep") as told:
        understand((keyword,), ())
    assert reason in str(told.value)


def test_retain_knows_four_names() -> None:
    with pytest.raises(UsageError, match="age, sex, size, weight"):
        understand((), ("ethnicity",))
    columns = [
        name for name in samples_schema(understand(("KVP",), ("weight", "size"))).names if name.startswith("kept_")
    ]
    assert columns == ["kept_KVP", "kept_PatientSize", "kept_PatientWeight"]


def test_another_choice_is_another_plan(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "src/a.dcm")
    pack(PackOptions(tmp_path / "src", tmp_path / "out", keep=("KVP", "Exposure"), workers=0))
    assert not pack(PackOptions(tmp_path / "src", tmp_path / "out", keep=("Exposure", "KVP"), workers=0)).fresh
    with pytest.raises(UsageError, match="different: --keep, --retain"):
        pack(PackOptions(tmp_path / "src", tmp_path / "out", retain=("age",), workers=0))
