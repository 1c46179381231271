"""Every version that append, forget, compact, repairs and export make is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest_pack import WriteDicom
from verify_make import SHARD, flip, make, opened, options

import radload
from radload.cli import main
from radload.dataset.manifest import generations, read_manifest
from radload.export import ExportOptions, export
from radload.pack import append
from radload.verify import drop, verify
from radload.verify.every import verify_all
from radload.versions import compact, forget


def all_whole(data: Path) -> int:
    """Verify all versions that may be opened; returns their number."""
    known = generations(data, read_manifest(data))
    for version in known:
        report = verify(data, workers=0, version=version)
        assert report.whole and report.generation == version, report.problems
    return len(known)


def test_every_version_is_whole(tmp_path: Path, write_dicom: WriteDicom) -> None:
    data = make(tmp_path, write_dicom)
    for place in range(3):
        write_dicom(tmp_path / f"src/new/{place}.dcm", patient="N", study="n", series="n", place=place, KVP=90)
    append(options(tmp_path / "src", data))
    assert all_whole(data) == 2 and len(opened(data).records) == 25
    flip(data / SHARD, int(opened(data).records[1]["offset"]) + 190)
    drop(data, verify(data, workers=0))
    assert verify(data, workers=0).whole and not verify(data, workers=0, version=0).whole
    every = list(verify_all(data, workers=0))
    assert [(report.generation, report.whole) for report, _ in every] == [(2, True), (1, False), (0, True)]
    assert [known > 0 for _, known in every] == [False, True, True], (
        "version 0 has the damaged shard of version 1: it is said once"
    )
    assert sum(report.shards for report, _ in every) == len(set(data.glob("*/*.tar"))), "each shard is read once"
    (tmp_path / "who").write_text("P0\n")
    forget(data, tmp_path / "who")
    assert all_whole(data) == 1
    compact(data)
    assert all_whole(data) == 1
    with radload.open(data) as found:
        assert 15 < len(found) < 24
    export(ExportOptions(data, tmp_path / "partner", new_pseudonyms=True, drop_geometry=True))
    assert all_whole(tmp_path / "partner") == 1
    shutil.rmtree(tmp_path / "src")


def test_all_versions_by_the_command(
    tmp_path: Path, write_dicom: WriteDicom, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make(tmp_path, write_dicom)
    write_dicom(tmp_path / "src/new/0.dcm", patient="N", study="n", series="n", KVP=90)
    append(options(tmp_path / "src", data))
    older = data / "index/000000/records.bin"
    content = bytearray(older.read_bytes())
    content[40] ^= 1
    older.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(data), "--version", "all", "--workers", "0"])
    said = capsys.readouterr().out.splitlines()
    assert ended.value.code == 1 and [line.partition(":")[0] for line in said] == [
        "version 1",
        "version 0",
        "version 0",
    ]
    assert "whole: every byte of" in said[0] and "records.bin" in said[1] and "problems in the index" in said[2]
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(data), "--version", "all", "--repair", "drop"])
    assert ended.value.code == 2
