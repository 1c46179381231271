"""From a key, a row or a reject back to the file, for whoever has the private folder, and for nobody else."""

from __future__ import annotations

import csv
import shutil
import stat
from pathlib import Path

import numpy as np
import pydicom
import pytest
from conftest_pack import WriteDicom

import radload
from radload.cli import main
from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.trace import read_keys, trace, write_csv


@pytest.fixture
def shards(clinic: Path, tmp_path: Path, write_dicom: WriteDicom) -> Path:
    write_dicom(clinic / "Doe_9" / "cut.dcm", patient="P9", study="st9", series="s9", AccessionNumber="A9")
    content = (clinic / "Doe_9" / "cut.dcm").read_bytes()
    (clinic / "Doe_9" / "cut.dcm").write_bytes(content[:-100])
    write_dicom(clinic / "Doe_8" / "named.dcm", patient="P8", study="st8", series="s8", AccessionNumber="A8")
    pack(PackOptions(clinic, tmp_path / "shards", workers=0))
    return tmp_path / "shards"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_every_sample_is_traced_to_the_file_that_holds_its_pixels(shards: Path, clinic: Path) -> None:
    with radload.open(shards) as dataset:
        samples = list(dataset)
        by_row = trace(shards, [str(sample.row) for sample in samples])
        by_key = trace(shards, [sample.key for sample in samples])
        for sample, one, other in zip(samples, by_row, by_key, strict=True):
            file = pydicom.dcmread(clinic / str(one.source))
            assert np.array_equal(file.pixel_array, sample.stored)
            assert (one.key, one.frame, one.code, one.reason) == (sample.key, 0, None, None)
            assert (one.patient, one.study, one.series) == (
                file.PatientID,
                file.StudyInstanceUID,
                file.SeriesInstanceUID,
            )
            assert (one.sop, one.accession) == (file.SOPInstanceUID, file.get("AccessionNumber"))
            assert (one.asked, other.asked) == (str(sample.row), sample.key)
            assert one.source == other.source


def test_rejects_by_row_and_by_source(shards: Path) -> None:
    (one,) = trace(shards, ["reject:0"])
    assert (one.source, one.frame, one.key, one.row) == ("Doe_9/cut.dcm", None, None, 0)
    assert one.code == "truncated" and one.reason
    (same,) = trace(shards, [], sources="*/cut.*")
    assert (same.asked, same.source, same.row, same.code) == ("*/cut.*", one.source, 0, one.code)
    found = trace(shards, [], sources="Doe_[89]/*")
    assert [(one.source, one.code) for one in found] == [("Doe_8/named.dcm", None), ("Doe_9/cut.dcm", "truncated")]
    assert [one.source for one in trace(shards, ["reject:0", "0"], sources="Doe_8/*")][::2] == [
        "Doe_9/cut.dcm",
        "Doe_8/named.dcm",
    ]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("25", "there is no row 25"),
        ("999999999999", "key 999999999999 is not in"),
        ("reject:1", "there is no reject:1: rejects.parquet has 1 rows"),
        ("Doe_0", "'Doe_0' is no sample"),
        ("-1", "'-1' is no sample"),
        ("0000000000001", "is no sample"),
    ],
)
def test_what_is_not_there_is_said(shards: Path, target: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        trace(shards, [target])


def test_keys_and_rejects_need_no_shards_but_rows_do(shards: Path, tmp_path: Path) -> None:
    with radload.open(shards) as dataset:
        key = dataset[0].key
    shutil.rmtree(shards)
    assert trace(shards, [key])[0].key == key
    assert trace(tmp_path, [key, "reject:0"], private=tmp_path / "shards.private")[1].code == "truncated"
    with pytest.raises(UsageError, match="there is no folder"):
        trace(shards, ["0"])


def test_without_the_private_folder_there_is_one_sentence(
    shards: Path, clinic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(PackOptions(clinic, tmp_path / "other", workers=0))
    with pytest.raises(UsageError, match="another pseudonym key"):
        trace(shards, ["0"], private=tmp_path / "other.private")
    shutil.rmtree(tmp_path / "shards.private")
    assert run("trace", "0", "--shards", shards) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and "shards.private is not there or may not be read" in captured.err
    assert not captured.out


def test_command_prints_or_writes_a_private_csv(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with radload.open(shards) as dataset:
        keys = [dataset[row].key for row in (3, 1, 3)]
    (tmp_path / "keys.txt").write_text("\n".join(keys) + "\n\n")
    (tmp_path / "keys.csv").write_text("score,key\n" + "".join(f"0.5,{key}\n" for key in keys))
    assert run("trace", "2", "--keys", tmp_path / "keys.txt", "--shards", shards) == 0
    out = capsys.readouterr().out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("asked:")] == ["2", *keys]
    assert out.count("patient:   P") == 4
    assert run("trace", "--keys", tmp_path / "keys.csv", "--shards", shards, "--csv", tmp_path / "found.csv") == 0
    assert not capsys.readouterr().out
    assert stat.S_IMODE((tmp_path / "found.csv").stat().st_mode) == 0o600
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == keys
    assert [row["source"] for row in rows] == [one.source for one in trace(shards, keys)]
    assert run("trace", "0", "--shards", shards, "--csv", shards / "found.csv") == 2
    assert "inside the shards" in capsys.readouterr().err
    assert run("trace", "--shards", shards) == 2
    assert run("trace", "--shards", shards, "--source", "nothing*") == 2


def test_files_of_keys_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("key\n")
    for name in ("empty.csv", "none.csv"):
        with pytest.raises(UsageError, match="--keys"):
            read_keys(tmp_path / name)
    with pytest.raises(UsageError, match="--csv"):
        write_csv(tmp_path / "none" / "x.csv", [], tmp_path / "shards")
