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
from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.privacy import key_id, new_key, parse_key, printable, pseudonym

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


def pseudonyms(out: Path) -> dict[str, list[object]]:
    """Column `pseudonym` of the tables, and the division of patients."""
    tables = {
        name: pa.ipc.open_file(out / f"index/000000/{name}.arrow").read_all()
        for name in ("patients", "studies", "series")
    }
    return {name: table.column("pseudonym").to_pylist() for name, table in tables.items()}


def divisions(out: Path) -> dict[str, str]:
    rows = pq.read_table(out.with_name(f"{out.name}.private") / "splits.parquet").to_pylist()
    return {row["name"]: row["split"] for row in rows}


def test_packs_with_one_key_agree_on_every_pseudonym_and_with_another_on_none(clinic: Path, tmp_path: Path) -> None:
    """And the splits agree in all of them, whatever is packed beside a patient in between."""
    (tmp_path / "one.key").write_text("00112233445566778899aabbccddeeff\n")
    (tmp_path / "two.key").write_text("ff" * 32)
    found = {}
    for name, key in (("a", "one"), ("b", "one"), ("c", "two"), ("d", None)):
        path = None if key is None else tmp_path / f"{key}.key"
        codec = "raw" if name == "b" else "htj2k"
        pack(PackOptions(clinic, tmp_path / name, key=path, codec=codec, workers=0))
        found[name] = pseudonyms(tmp_path / name)
    assert found["a"] == found["b"] and sum(map(len, found["a"].values())) == 6 + 6 + 8
    for one, other in (("a", "c"), ("a", "d"), ("c", "d")):
        for table, values in found[one].items():
            assert not set(values) & set(found[other][table]), table
    assert (
        divisions(tmp_path / "a") == divisions(tmp_path / "b") == divisions(tmp_path / "c") == divisions(tmp_path / "d")
    )
    assert len(set(divisions(tmp_path / "a").values())) > 1
    private = tmp_path / "a.private/key"
    assert parse_key(private.read_text()) == bytes.fromhex("00112233445566778899aabbccddeeff")
    assert private.stat().st_mode & 0o777 == 0o600
    kept = [json.loads((tmp_path / name / "manifest.json").read_bytes())["key_id"] for name in "abcd"]
    assert kept[0] == kept[1] and len(set(kept)) == 3


def test_one_patient_has_one_pseudonym_in_packs_of_different_files(clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("ab" * 16)
    pack(PackOptions(clinic, tmp_path / "all", key=tmp_path / "key", workers=0))
    pack(PackOptions(clinic / "Doe_1", tmp_path / "part", key=tmp_path / "key", workers=0))
    part, everything = pseudonyms(tmp_path / "part"), pseudonyms(tmp_path / "all")
    assert all(set(part[name]) < set(everything[name]) for name in part) and len(part["series"]) == 2


@pytest.mark.parametrize("text", ["", "zz" * 16, "ab" * 15, "password", "\u00e4" * 32])
def test_a_file_that_holds_no_key_is_refused_and_not_quoted(clinic: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"--key .* holds no key") as told:
        pack(PackOptions(clinic, tmp_path / "out", key=tmp_path / "key", workers=0))
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.private").exists()
    assert not text or text not in str(told.value).replace(str(tmp_path), "")


def test_keys_are_not_mixed_and_not_put_beside_the_shards(clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("ab" * 16)
    (tmp_path / "two").write_text("cd" * 16)
    pack(PackOptions(clinic, tmp_path / "out", key=tmp_path / "one", workers=0))
    assert not pack(PackOptions(clinic, tmp_path / "out", key=tmp_path / "one", workers=0)).fresh
    assert not pack(PackOptions(clinic, tmp_path / "out", workers=0)).fresh
    with pytest.raises(UsageError, match="--key is not the key in"):
        pack(PackOptions(clinic, tmp_path / "out", key=tmp_path / "two", workers=0))
    with pytest.raises(UsageError, match="cannot be read"):
        pack(PackOptions(clinic, tmp_path / "new", key=tmp_path / "none", workers=0))
    (tmp_path / "new").mkdir()
    (tmp_path / "new/key").write_text("ab" * 16)
    with pytest.raises(UsageError, match="inside --out"):
        pack(PackOptions(clinic, tmp_path / "new", key=tmp_path / "new/key", workers=0))


@pytest.mark.parametrize("out", ["s3://bucket/shards", "gs://bucket", "https://host/x", "az://c/x"])
def test_an_out_elsewhere_needs_a_private_folder_here(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if out.startswith("s3://"):  # with a private folder it can be written: tests/remote
        with pytest.raises(UsageError, match=f"^--out {out} is not on this machine.*give a local folder by --private"):
            pack(PackOptions(clinic, Path(out), workers=0))
        with pytest.raises(
            UsageError, match=r"--private s3://bucket/private is an address, and must be on this machine"
        ):
            pack(PackOptions(clinic, Path(out), Path("s3://bucket/private"), workers=0))
    else:
        for private in (None, tmp_path / "private"):
            with pytest.raises(UsageError, match=f"^{out} (is no address that radload knows|names a whole bucket)"):
                pack(PackOptions(clinic, Path(out), private, workers=0))
    assert {path.name for path in tmp_path.iterdir()} == {"clinic"}
