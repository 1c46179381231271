"""--dry-run counts what a pack then does, and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest_pack import WriteSeries

import radload
from radload.cli import main
from radload.dataset.schema import SPLITS
from radload.pack import PackOptions, dry_run, pack
from radload.pack.scan_command import ScanOptions, scan_folder


@pytest.fixture
def source(clinic: Path, write_series: WriteSeries) -> Path:
    write_series(clinic / "Doe_9/mr", 5, patient="P9", study="st9", series="mr", Modality="MR")
    (clinic / "Doe_9/empty.dcm").touch()
    return clinic


def content(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"where": "modality = 'CT'", "split": "50/25/25"},
        {"slices": "max:2", "holdout": "patient = 'P1'", "labels_from": "modality"},
        {"slices": "every:2", "where": "instance <> 1", "labels_from": "folder:1"},
    ],
)
def test_it_counts_what_a_pack_then_does(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    before = content(tmp_path)
    found = dry_run(PackOptions(source, tmp_path / "out", workers=0, **options))
    assert content(tmp_path) == before
    summary = pack(PackOptions(source, tmp_path / "out", workers=0, **options))
    assert (found.files, found.chosen, found.ignored) == (summary.files, summary.packed, summary.ignored)
    assert found.rejected == summary.rejected and "empty-file" in found.rejected
    for name in SPLITS:
        patients, _, series, slices = found.splits[name]
        assert summary.splits[name] == {"samples": slices, "series": series, "patients": patients}
    assert sum(numbers[3] for numbers in found.modalities.values()) == summary.samples
    if found.classes is None:
        assert summary.classes is None
    else:
        assert {name: numbers[3] for name, numbers in found.classes.items()} == summary.classes


def test_patients_studies_series_and_slices_by_modality(source: Path, tmp_path: Path) -> None:
    found = dry_run(PackOptions(source, tmp_path / "out", workers=0, labels_from="modality"))
    assert found.modalities == found.classes == {"CT": (6, 6, 8, 24), "MR": (1, 1, 1, 5)}


def test_multi_label_classes_count_their_positives(source: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("patient,nodule,effusion\nP0,1,1\nP1,0,1\nP9,1,\n")
    found = dry_run(PackOptions(source, tmp_path / "out", workers=0, labels=table))
    assert found.classes == {"(none)": (4, 4, 4, 12), "effusion": (2, 2, 4, 12), "nodule": (2, 2, 3, 11)}


def test_a_catalog_is_used_and_left_alone(source: Path, tmp_path: Path) -> None:
    scan_folder(ScanOptions(source, tmp_path / "out.private", workers=0))
    before = content(tmp_path)
    found = dry_run(PackOptions(source, tmp_path / "out", workers=0))
    assert content(tmp_path) == before
    assert any("31 of 31 files were not read again" in note for note in found.notes)


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command(*more: str) -> int:
        arguments = ["pack", "--src", str(source), "--out", str(tmp_path / "out"), "--workers", "0", "--dry-run", *more]
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0)

    before = content(tmp_path)
    assert command("--where", "modality = 'MR'", "--frames", "first", "--drop-empty") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "MR 1 1 1 5" in said and "rejected: not-selected 24" in said and "nothing was written" in said
    assert command("--where", "'; drop table") == 2
    said = capsys.readouterr().err
    assert said.startswith("radload: --where cannot be understood") and said.count("\n") == 1
    assert content(tmp_path) == before


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with pytest.raises(radload.UsageError, match="is an empty folder"):
        dry_run(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
