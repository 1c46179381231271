"""Every version that append, forget, compact, repairs and export make is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from conftest_pack import WriteDicom
from verify_make import SHARD, flip, make, opened, options

import radload
from radload.dataset.manifest import generations, read_manifest
from radload.export import ExportOptions, export
from radload.pack import append
from radload.verify import drop, verify
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
