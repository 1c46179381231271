"""The catalog: every file a row, every header field a column and back, unchanged files not read twice, a killed scan goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import catalog_make
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, WriteSeries, write_png

import radload
from radload.cli import main
from radload.pack import PackOptions, pack
from radload.pack import catalog as catalog_module
from radload.pack.catalog import CATALOG, JOURNAL, scan_catalog, scan_without_writing
from radload.pack.catalog_rows import scan_rows
from radload.pack.catalog_schema import encode
from radload.pack.codes import PACK_CODES
from radload.pack.scan import InputFile, Reject, ScanJob, scan_file
from radload.pack.scan_command import ScanOptions, scan_folder
from radload.pack.walk import walk
from radload.pack.worker import Beat
from radload.sources import (
    CODES,
    Header,
    PartOf,
    SeriesAttributes,
)


def table(private: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(private / CATALOG).to_pylist()
    return found


def scan(source: Path, private: Path, workers: int = 0) -> list[dict[str, Any]]:
    private.mkdir(exist_ok=True)
    scan_catalog(source, walk(source), 2, workers, private)
    return table(private)


def test_what_a_scan_says_about_a_file(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(
        tmp_path / "src/a.dcm",
        StudyDate="20190507",
        SeriesDate="2019.05.08",
        PatientBirthDate="19690507",
        PatientSex="F",
        StudyDescription="Müller knee",
        SeriesDescription="sag",
        ProtocolName="prot",
        StationName="st1",
        InstitutionName="inst",
        BurnedInAnnotation="NO",
        SliceThickness=2.5,
        SpecificCharacterSet="ISO_IR 192",
        place=3,
    )
    write_dicom(tmp_path / "src/b.dcm", PatientAge="018M", StudyDate="20191399", PatientBirthDate="")
    one, two = scan(tmp_path / "src", tmp_path / "private")
    assert [one[name] for name in ("study_date", "series_date", "patient_age", "patient_sex")] == [
        date(2019, 5, 7),
        date(2019, 5, 8),
        pytest.approx(50, abs=0.01),
        "F",
    ]
    names = ("study_description", "series_description", "protocol", "station", "institution", "burned_in")
    assert [one[name] for name in names] == ["Müller knee", "sag", "prot", "st1", "inst", "NO"]
    assert (one["spacing_row"], one["spacing_col"], one["slice_thickness"]) == (0.7, 0.8, 2.5)
    assert (one["position_min"], one["positions"], one["transfer_syntax"]) == (7.5, [7.5], "1.2.840.10008.1.2.1")
    assert (one["row"], one["size"]) == (0, (tmp_path / "src/a.dcm").stat().st_size)
    assert (two["patient_age"], two["study_date"]) == (1.5, None)


def test_every_file_is_one_row_in_order_of_name(tmp_path: Path, write_series: WriteSeries) -> None:
    source = tmp_path / "src"
    for name in ("b", "b.c", "b-c", "ä"):
        write_series(source / name, series=name)
    (source / "b.txt").write_text("no image")
    (source / "empty.dcm").touch()
    (source / "gone").symlink_to(source / "nowhere")
    (source / "loop").symlink_to(source)
    (source / os.fsdecode(b"\xff.dcm")).write_bytes((source / "b/000.dcm").read_bytes())
    found = list(walk(source))
    assert [file.source for file in found] == sorted((file.source for file in found), key=os.fsencode)
    for workers in (0, 2):
        rows = scan(source, tmp_path / f"private{workers}", workers)
        assert [row["row"] for row in rows] == list(range(len(found)))
        assert [row["source"] for row in rows][:-1] == [file.source for file in found][:-1]
        assert rows[-1]["source"] == "\\xff.dcm"
        assert Counter((row["status"], row["code"]) for row in rows) == {
            ("image", None): 13,
            ("ignored", None): 1,
            ("rejected", "empty-file"): 1,
            ("rejected", "unreadable"): 1,
        }
    private = tmp_path / "private2"
    assert [path.name for path in private.iterdir()] == [CATALOG]
    assert (private / CATALOG).stat().st_mode & 0o777 == 0o600


def reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read from here on."""
    names: list[str] = []

    def count(job: ScanJob, source: str) -> Any:
        names.append(source)
        return scan_file(job, source)

    monkeypatch.setattr("radload.pack.catalog_rows.scan_file", count)
    return names


def test_unchanged_files_are_not_read_again(clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = scan(clinic, tmp_path / "private")
    written = (tmp_path / "private" / CATALOG).stat().st_mtime_ns
    names = reading(monkeypatch)
    assert scan(clinic, tmp_path / "private") == before and names == []
    assert (tmp_path / "private" / CATALOG).stat().st_mtime_ns == written
    os.utime(clinic / "Doe_3/a/001.dcm", ns=(0, 0))  # as some archives leave it
    (clinic / "Doe_4/a/000.dcm").unlink()
    (clinic / "Doe_0/new.txt").write_text("new")
    after = scan(clinic, tmp_path / "private")
    assert names == ["Doe_0/new.txt", "Doe_3/a/001.dcm"]
    assert scan(clinic, tmp_path / "private") == after and len(names) == 2
    assert after == scan(clinic, tmp_path / "fresh")


@pytest.mark.parametrize("what", ["axis", "root", "code", "damage"])
def test_a_catalog_of_something_else_is_not_used(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before = scan(clinic, tmp_path / "private")
    axis, root = 2, clinic
    if what == "axis":
        axis = 1
    elif what == "root":
        root = clinic.rename(tmp_path / "moved")
    elif what == "code":
        monkeypatch.setattr(catalog_module, "version", lambda name: "another")
    else:
        content = (tmp_path / "private" / CATALOG).read_bytes()
        (tmp_path / "private" / CATALOG).write_bytes(content[:-20])
    found = scan_catalog(root, walk(root), axis, 0, tmp_path / "private")
    assert (found.files, found.reused) == (len(before), 0) and table(tmp_path / "private") == before


def test_the_halves_of_a_pair_are_looked_at_together_again(shared_data: Path, tmp_path: Path) -> None:
    header = next(path for path in sorted(shared_data.rglob("*.hdr")) if path.with_suffix(".img").is_file())
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.hdr").write_bytes(header.read_bytes())
    (row,) = scan(source, tmp_path / "private")
    assert (row["status"], row["code"]) == ("rejected", "missing-part")
    (source / "a.img").write_bytes(header.with_suffix(".img").read_bytes())
    rows = scan(source, tmp_path / "private")
    assert [(row["status"], row["code"], row["part_of"]) for row in rows] == [
        ("image", None, None),
        ("part", None, "a.hdr"),
    ]
    (source / "a.hdr").unlink()
    (row,) = scan(source, tmp_path / "private")
    assert (row["status"], row["part_of"]) == ("ignored", None)


def test_a_part_that_no_header_uses_is_rejected_as_its_header_is() -> None:
    outcomes: dict[str, Any] = {
        "bad.hdr": Reject("bad.hdr", None, "bad-header", "damaged"),
        "bad.img": PartOf("bad.hdr"),
        "lost.img": PartOf("lost.hdr"),
        "ok.hdr": Header("ok.hdr", "nifti", 1, 1, 1, 8, 1, SeriesAttributes(), parts=("ok.img",)),
        "ok.img": PartOf("ok.hdr"),
    }
    batch = encode([InputFile(name, 1, 1) for name in outcomes], list(outcomes.values()))
    (found,) = catalog_module._resolved(lambda: iter([batch]))
    assert [(row["status"], row["code"]) for row in found.to_pylist()] == [
        ("rejected", "bad-header"),
        ("rejected", "bad-header"),
        ("rejected", "missing-part"),
        ("image", None),
        ("part", None),
    ]


def test_a_killed_scan_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 twice, while a file is read without end; what lies in the journal is not read again, and the end is the same."""
    source, private = tmp_path / "src", tmp_path / "private"
    pixels = np.zeros((4, 4), np.uint8)
    for number in range(900):
        write_png(source / f"{number:04d}.png", pixels)
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom radload.pack import catalog_rows\n"
        "catalog_rows.BLOCK, catalog_rows._SEGMENT = 50, 200\nreal = catalog_rows.scan_file\n"
        "def slow(*job):\n    if sys.argv[3] in str(job): time.sleep(3600)\n    return real(*job)\ncatalog_rows.scan_file = slow\n"
        "from radload.pack.catalog import scan_catalog\nfrom radload.pack.walk import walk\n"
        "scan_catalog(Path(sys.argv[1]), walk(Path(sys.argv[1])), 2, 0, Path(sys.argv[2]))\n"
    )
    private.mkdir()
    for wanted, endless in ((3, "0170.png"), (8, "0430.png")):
        process = subprocess.Popen([sys.executable, "-c", script, str(source), str(private), endless])
        wait_until(lambda wanted=wanted: len(list(private.glob(f"{JOURNAL}/*/*.parquet"))) >= wanted, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (private / CATALOG).exists() and len(list((private / JOURNAL).iterdir())) == 2
    (broken, *_) = sorted((private / JOURNAL).glob("0000/*.parquet"))
    broken.write_bytes(broken.read_bytes()[:100])  # as a failing disk might leave it
    names = reading(monkeypatch)
    rows = scan(source, private)
    assert 0 < len(names) < 900 - 3 * 50, len(names)
    monkeypatch.undo()
    assert rows == scan(source, tmp_path / "whole") and len(rows) == 900
    assert [path.name for path in private.iterdir()] == [CATALOG]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    end = time.monotonic() + 300
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"it ended before it could be stopped: {process.returncode}")
        time.sleep(0.002)


def test_a_dry_scan_uses_a_catalog_and_changes_nothing(clinic: Path, tmp_path: Path) -> None:
    rows = scan(clinic, tmp_path / "private")
    os.utime(clinic / "Doe_3/a/001.dcm", ns=(1, 1))
    before = (tmp_path / "private" / CATALOG).read_bytes()
    found = scan_without_writing(clinic, walk(clinic), 2, 0, tmp_path / "private")
    assert (found.files, found.reused) == (25, 24)
    assert found.data.to_table().to_pylist()[12:] == [
        {**row, "modified": 1} if row["source"] == "Doe_3/a/001.dcm" else row for row in rows[12:]
    ]
    assert (tmp_path / "private" / CATALOG).read_bytes() == before and not (tmp_path / "private" / JOURNAL).exists()


def test_a_file_that_ends_its_worker_is_a_row_and_is_read_again(clinic: Path, tmp_path: Path) -> None:
    source = clinic / "Doe_2/a/001.dcm"
    reject = Reject("Doe_2/a/001.dcm", None, "decoder-crashed", "ended")

    def deadly(job: ScanJob, name: str) -> Any:
        return reject if name == reject.source else scan_file(job, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("radload.pack.catalog_rows.scan_file", deadly)
        rows = scan(clinic, tmp_path / "private")
    assert [row["source"] for row in rows if row["code"] == "decoder-crashed"] == [
        source.relative_to(clinic).as_posix()
    ]
    assert not [row for row in scan(clinic, tmp_path / "private") if row["code"]]


def deadly_scan_rows(job: ScanJob, beat: Beat) -> Any:
    """In a worker: reading Doe_2/a/001.dcm ends the process, as a crash in a parser would."""

    def deadly(job: ScanJob, name: str) -> Any:
        if name == "Doe_2/a/001.dcm":
            os.kill(os.getpid(), signal.SIGKILL)
        return scan_file(job, name)

    with mock.patch("radload.pack.catalog_rows.scan_file", deadly):
        return scan_rows(job, beat)


def test_a_file_that_kills_its_worker_costs_itself(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radload.pack.catalog_rows.scan_rows", deadly_scan_rows)
    rows = scan(clinic, tmp_path / "private", workers=2)
    bad = [(row["source"], row["code"]) for row in rows if row["status"] == "rejected"]
    assert bad == [("Doe_2/a/001.dcm", "decoder-crashed")] and len(rows) == 25


def test_pack_uses_the_catalog_of_a_scan_and_says_so(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pack(PackOptions(clinic, tmp_path / "plain", workers=0))
    scan_folder(ScanOptions(clinic, tmp_path / "out.private", workers=0))
    names = reading(monkeypatch)
    summary = pack(PackOptions(clinic, tmp_path / "out", workers=0))
    assert names == [] and "25 of 25 files were not read again" in summary.notes[-1]
    assert not any("read again" in note for note in plain.notes)
    with radload.open(tmp_path / "out") as one, radload.open(tmp_path / "plain") as two:
        assert one.manifest.fingerprint == two.manifest.fingerprint and one.manifest.notes == two.manifest.notes


def test_a_pack_that_fails_keeps_a_catalog_that_was_there_and_no_other(clinic: Path, tmp_path: Path) -> None:
    table_of_splits = tmp_path / "splits.csv"
    table_of_splits.write_text("path,split\nDoe_0/a,train\nDoe_0/b,test\n")
    options = PackOptions(clinic, tmp_path / "out", workers=0, splits=table_of_splits)
    with pytest.raises(radload.UsageError, match="two splits"):
        pack(options)
    assert not (tmp_path / "out.private").exists()
    scan_folder(ScanOptions(clinic, tmp_path / "out.private", workers=0))
    with pytest.raises(radload.UsageError, match="two splits"):
        pack(options)
    assert [path.name for path in (tmp_path / "out.private").iterdir()] == [CATALOG] and not (tmp_path / "out").exists()


def test_a_pack_that_is_stopped_while_it_scans_goes_on(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radload.pack.catalog_rows.BLOCK", 4)

    def interrupted(job: ScanJob, source: str) -> Any:
        if source.startswith("Doe_4"):
            raise KeyboardInterrupt
        return scan_file(job, source)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="run the same command again"):
        patch.setattr("radload.pack.catalog_rows.scan_file", interrupted)
        pack(PackOptions(clinic, tmp_path / "out", workers=0))
    assert not (tmp_path / "out").exists() and (tmp_path / "out.private" / JOURNAL).is_dir()
    names = reading(monkeypatch)
    assert pack(PackOptions(clinic, tmp_path / "out", workers=0)).samples == 24
    assert 0 < len(names) < 25
    assert not (tmp_path / "out.private" / JOURNAL).exists()


def test_shards_and_jobs_hold_no_private_detail(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "src/a.dcm", StudyDescription="MARKER-1", StudyDate="19870203", InstitutionName="MARKER-2")
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert b"MARKER" not in content and b"19870203" not in content and b"1987-02-03" not in content, path
    (row,) = table(tmp_path / "out.private")
    assert row["study_description"] == "MARKER-1"


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_the_command_says_what_it_found(clinic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    private = tmp_path / "p"
    assert command("scan", "--src", clinic, "--private", private, "--workers", 0) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "image 24 ignored 1 all 25" in said and "CT 24 24" in said and "read again" not in said
    assert private.stat().st_mode & 0o777 == 0o700
    assert command("scan", "--src", clinic, "--private", private, "--workers", 0) == 0
    assert "25 files were known" in " ".join(capsys.readouterr().out.split())
    assert command("scan", "--src", clinic, "--private", private, "--workers", 0, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_scan_and_pack_share_a_private_folder_unless_told_otherwise(
    clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("scan", "--src", clinic.name, "--workers", 0) == 0
    capsys.readouterr()
    assert command("pack", "--src", clinic.name, "--out", "shards", "--workers", 0) == 0
    assert "25 of 25 files were not read again" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--src", "none"), "there is no folder none"),
        (("--src", "clinic", "--private", "clinic/p"), "lies inside --src"),
        (("--src", "clinic", "--private", "clinic/readme.txt/x"), "lies inside --src"),
        (("--src", "clinic", "--private", "full"), "holds other things"),
        (("--src", "clinic", "--private", "file"), "is a file"),
        (("--src", "empty"), "is an empty folder"),
        (("--src", "clinic", "--axis", "7"), "--axis 7 is unknown"),
        (("--src", "clinic", "--workers", "-1"), "is no number of processes"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    clinic: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert command("scan", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("radload: ") and sentence in said and said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_two_scans_do_not_write_to_one_folder(clinic: Path, tmp_path: Path) -> None:
    with catalog_module._lock(tmp_path), pytest.raises(radload.UsageError, match="another radload scan is writing"):
        scan_catalog(clinic, walk(clinic), 2, 0, tmp_path)


def test_codes_of_all_real_files_are_documented(shared_data: Path, tmp_path: Path) -> None:
    rows = scan(shared_data, tmp_path / "private", workers=2)
    assert len(rows) == sum(path.is_file() for path in shared_data.rglob("*"))
    assert {row["code"] for row in rows} - {None} <= set(CODES) | set(PACK_CODES)
    assert {row["status"] for row in rows} == {"image", "part", "rejected", "ignored"}


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    """With blocks, segments and row groups of a sixteenth: 120,000 further files cost less than 120 bytes each: less than a name alone."""

    def run(count: int) -> dict[str, Any]:
        script = [sys.executable, catalog_make.__file__, str(count), str(tmp_path / str(count)), "16"]
        said = subprocess.run(script, capture_output=True, text=True, check=True).stdout
        found: dict[str, Any] = json.loads(said)
        return found

    small, large = run(20_000), run(140_000)
    for step in ("write_mib", "update_mib"):
        assert (large[step] - small[step]) * 2**20 / 120_000 < 120, (step, small, large)
    assert large["selected"] == 7 * small["selected"] > 0
