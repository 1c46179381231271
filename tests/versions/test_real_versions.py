"""All real files in two steps are what they are in one; and then a patient withdraws, and a part goes to a partner."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import radload
from radload.audit.proof import audit
from radload.export import ExportOptions, export
from radload.pack import PackOptions, append, pack
from radload.versions import compact, forget

FIRST = ("nifti", "vendors", "luts_overlays", "syntaxes")
LATER = ("broken", "multiframe", "nondicom", "photometric")


def packed(out: Path) -> dict[tuple[str, int], tuple[bytes, tuple[int, ...]]]:
    """(source, frame) -> pixel hash and shape."""
    rows = pq.read_table(out.with_name(f"{out.name}.private") / "crosswalk.parquet").to_pylist()
    with radload.open(out) as ds:
        return {
            (row["source"], row["frame"]): (ds[row["key"]].meta["pixel_hash"], ds[row["key"]].shape) for row in rows
        }


def instances(out: Path) -> set[tuple[str | None, ...]]:
    rows = pq.read_table(out.with_name(f"{out.name}.private") / "crosswalk.parquet").to_pylist()
    return {(row["patient"], row["series"], row["sop"]) for row in rows}


@pytest.fixture
def source(shared_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    for name in FIRST:
        (folder / name).symlink_to(shared_data / name)
    return folder


def test_real_files_in_two_steps(shared_data: Path, source: Path, tmp_path: Path) -> None:
    options = PackOptions(source, tmp_path / "out", workers=2, attest_no_phi=True, labels_from="modality")
    pack(options)
    before = packed(tmp_path / "out")
    for name in LATER:
        (source / name).symlink_to(shared_data / name)
    added = append(options)
    after = packed(tmp_path / "out")
    pack(PackOptions(source, tmp_path / "once", workers=2, attest_no_phi=True, labels_from="modality"))
    once = packed(tmp_path / "once")
    assert {name: after[name] for name in before} == before and len(after) > len(before)
    assert {name: once[name] for name in after} == after, "the pixels of one pack"
    known = instances(tmp_path / "out")
    rows = pq.read_table(tmp_path / "once.private/crosswalk.parquet").to_pylist()
    left = [row for row in rows if (row["source"], row["frame"]) not in after]
    assert all((row["patient"], row["series"], row["sop"]) in known and row["sop"] for row in left), (
        "instances that were there"
    )
    assert added.fresh and not {"internal-error"} & set(added.rejected)
    assert not append(options).fresh

    numbers = {row["patient"] for row in rows if row["patient"] is not None}
    number = max(numbers, key=lambda name: (sum(row["patient"] == name for row in rows), name))
    (tmp_path / "list").write_text(number)
    done = forget(tmp_path / "out", tmp_path / "list")
    gone = compact(tmp_path / "out")
    assert gone.samples == done.samples > 0
    theirs = {(row["source"], row["frame"]) for row in rows if row["patient"] == number}
    assert packed(tmp_path / "out") == {name: value for name, value in after.items() if name not in theirs}
    with radload.open(tmp_path / "out") as ds:
        for sample in ds:
            assert sample.stored.shape == sample.shape
    export(
        ExportOptions(
            tmp_path / "out", tmp_path / "to", where="modality = 'MR'", new_pseudonyms=True, drop_geometry=True
        )
    )
    with radload.open(tmp_path / "to") as ds, radload.open(tmp_path / "out") as whole:
        chosen = sorted(s.meta["pixel_hash"] for s in whole if s.meta["modality"] == "MR")
        assert sorted(s.meta["pixel_hash"] for s in ds) == chosen and chosen
        assert all(sample.stored.shape == sample.shape for sample in ds)
    for one in (tmp_path / "out", tmp_path / "to"):
        found = audit(one)
        failing = {check.name for check in found.checks if check.name.endswith("splits") and len(check.findings)}
        assert failing <= {"pixels-splits"}, "some of these files are the same image under two names"
