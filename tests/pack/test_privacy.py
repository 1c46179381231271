"""What names a person stays in the private folder: nothing planted (name, number, UID, date, path) is below --out, or printed."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, uid

from radload.cli import main
from radload.pack.privacy import key_id, new_key, printable, pseudonym

PLANTED = {
    "PatientName": "Zwetschgenmus^Xaver",
    "PatientBirthDate": "19310729",
    "InstitutionName": "Klinikum Hinterpfuiteufel",
    "StudyDescription": "Zwetschgenmus CT",
    "AccessionNumber": "ACC778899",
    "StudyDate": "20190403",
    "OperatorsName": "Quastenflosser",
    "WindowCenterWidthExplanation": "Xaver",
    "ImageComments": "Xaver aus Hinterpfuiteufel",
    "StationName": "STATIONX77",
}


def test_pseudonyms_depend_on_key_domain_and_identity() -> None:
    one, two = new_key(), new_key()
    assert pseudonym(one, "patient", "P1") == pseudonym(one, "patient", "P1")
    assert (
        len(
            {
                pseudonym(key, domain, name)
                for key in (one, two)
                for domain in ("patient", "study")
                for name in ("P1", "P2")
            }
        )
        == 8
    )
    assert len(pseudonym(one, "patient", "P1")) == 32 and len(key_id(one)) == 16 and key_id(one) not in one.hex()


def test_names_that_are_no_utf8_can_be_written() -> None:
    assert printable(b"a\xff/b".decode("utf-8", "surrogateescape")) == "a\\xff/b"


def test_nothing_planted_leaves_the_private_folder(
    tmp_path: Path, write_dicom: WriteDicom, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "Export_Zwetschgenmus"
    for place in range(3):
        write_dicom(
            source / "Xaver" / f"{place}_Hinterpfuiteufel.dcm",
            patient="PID4711",
            study="secret",
            series="hidden",
            place=place,
            **PLANTED,
        )
    write_dicom(source / "Xaver" / "broken_Hinterpfuiteufel.dcm", patient="PID4711", place=9, PixelData=b"")
    (source / "Xaver.txt").write_text("ignored")
    with pytest.raises(SystemExit) as ended:
        main(["pack", "--src", str(source), "--out", str(tmp_path / "out"), "--workers", "1"])
    assert ended.value.code == 0
    words = [
        *PLANTED.values(),
        "Zwetschgenmus",
        "Xaver",
        "Hinterpfuiteufel",
        "PID4711",
        uid("secret"),
        uid("hidden"),
        "1.2.826.0.1.3680043",
    ]
    public = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(public) > 10
    texts = {path.name: path.read_bytes() + path.name.encode() for path in public}
    for path in public:
        if path.suffix == ".arrow":  # buffers may be compressed one day
            texts[f"{path.name} read"] = json.dumps(pa.ipc.open_file(path).read_all().to_pylist(), default=str).encode()
        if path.suffix == ".tar":
            with tarfile.open(path) as tar:
                readers = [tar.extractfile(member) for member in tar if member.name.endswith(".json")]
                texts[f"{path.name} members"] = b"".join(reader.read() for reader in readers if reader is not None)
    printed = "".join(capfd.readouterr())
    assert "packed" in printed
    for word in words:
        for name, content in texts.items():
            assert word.encode() not in content, (word, name)
            assert word.encode("utf-16-le") not in content, (word, name)
        assert word not in printed, word


def test_the_private_folder_is_for_its_owner_and_knows_the_way_back(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(
        tmp_path / "src" / "b.dcm", patient="PID4711", study="secret", series="hidden", AccessionNumber="ACC778899"
    )
    with pytest.raises(SystemExit) as ended:
        main(["pack", "--src", str(tmp_path / "src"), "--out", str(tmp_path / "out"), "--workers", "0", "--quiet"])
    assert ended.value.code == 0
    private = tmp_path / "out.private"
    assert private.stat().st_mode & 0o777 == 0o700
    names = {path.name for path in private.iterdir()}
    assert names == {"key", "plan.json", "catalog.parquet", "crosswalk.parquet", "rejects.parquet", "splits.parquet"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in private.iterdir())
    (row,) = pq.read_table(private / "crosswalk.parquet").to_pylist()
    assert row["key"] == "000000000000" and row["source"] == "b.dcm" and row["frame"] == 0
    assert (row["patient"], row["study"], row["series"], row["accession"]) == (
        "PID4711",
        uid("secret"),
        uid("hidden"),
        "ACC778899",
    )
    assert pq.read_schema(private / "rejects.parquet").names == ["source", "frame", "code", "reason"]


def test_attributes_that_may_leave_do(tmp_path: Path, write_dicom: WriteDicom) -> None:
    import radload

    write_dicom(
        tmp_path / "src" / "b.dcm",
        BodyPartExamined="CHEST",
        Manufacturer="ACME",
        ConvolutionKernel="B30f",
        WindowCenter=40,
        WindowWidth=400,
    )
    with pytest.raises(SystemExit):
        main(["pack", "--src", str(tmp_path / "src"), "--out", str(tmp_path / "out"), "--workers", "0", "--quiet"])
    with radload.open(tmp_path / "out") as dataset:
        meta = dataset[0].meta
    assert (meta["body_part"], meta["manufacturer"], meta["kernel"], meta["window_centres"], meta["window_widths"]) == (
        "CHEST",
        "ACME",
        "B30f",
        [40],
        [400],
    )
    assert np.isclose(meta["spacing"], (0.7, 0.8)).all()
