"""Clean data pass; a planted leak of each kind fails the check of its name, and that one alone, and is named by key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from audit_make import Packed, failed, read_table, same_pseudonym, set_column
from conftest_pack import WriteDicom, WriteSeries

import radload
from radload.audit import Status, audit
from radload.errors import UsageError


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-500, 500, (24, 20)).astype(np.int16)


def keys_of(root: Path, splits: set[str], sources: Callable[[str], bool]) -> list[str]:
    """Keys of samples by the source that the private folder names."""
    from radload.pack.trace import trace

    with radload.open(root) as dataset:
        rows = [str(sample.row) for sample in dataset if sample.split in splits]
    return [one.key for one in trace(root, rows) if one.key is not None and sources(one.source or "")]


def test_clean_data_are_proven(clinic: Path, packed: Packed) -> None:
    result = audit(packed(clinic, patients="tag:PatientID", labels="patient,label\nP0,a\nP4,b\n"))
    assert result.proven and not failed(result)
    assert all(check.status is Status.HOLDS and not list(check.findings) for check in result.checks)
    assert result.verdict == (
        "proven: no contradiction is in the index, no patient is in two splits, no study is in two splits, no series is in two splits, "
        "no study UID is in two splits, no series UID is in two splits, no image is in two splits, no image is under two patients, "
        "no image has two labels in set default; patients by tag:PatientID, 0 of 6 unknown"
    )
    assert [(row.name, row.samples, row.patients) for row in result.balance] == [
        ("a", (6, 0, 0), 1),
        ("b", (0, 0, 3), 1),
    ]
    assert "class 'a' of label set default has no sample in val and test" in result.notes


def test_without_the_private_folder_it_claims_less(clinic: Path, packed: Packed) -> None:
    root = packed(clinic)
    (root.parent / "shards.private").rename(root.parent / "elsewhere")
    result = audit(root)
    assert result.proven
    assert "UID" not in result.verdict.partition(";")[0]
    assert result.verdict.count("study and series UIDs were not compared (no private folder)") == 1
    assert [c.name for c in result.checks if c.status is Status.OPEN] == ["study-uid-splits", "series-uid-splits"]
    assert "no study UID is in two splits" in audit(root, root.parent / "elsewhere").verdict
    with pytest.raises(UsageError, match="private folder"):
        audit(root, root.parent)


@pytest.mark.parametrize(("level", "table"), [("patient", "patients"), ("study", "studies"), ("series", "series")])
def test_one_patient_study_or_series_in_two_splits(clinic: Path, packed: Packed, level: str, table: str) -> None:
    root = packed(clinic)
    with radload.open(root) as dataset:
        train, test = (next(s for s in dataset if s.split == split) for split in ("train", "test"))
        where = {"patient": "patient", "study": "study", "series": "series"}[level]
        name = same_pseudonym(root, table, train.meta[where], test.meta[where])
    result = audit(root)
    assert set(failed(result)) == {f"{level}-splits"}
    (finding,) = failed(result)[f"{level}-splits"].findings
    assert finding[level] == name
    assert set(finding["splits"]) == {"train", "test"}
    with radload.open(root) as dataset:
        assert [dataset[key].split for key in finding["keys"]] == ["train", "test"]
        assert all(
            dataset.index.table(table)["pseudonym"][dataset[key].meta[where]].as_py() == name for key in finding["keys"]
        )
    assert f"1 {level} in two splits" in result.verdict and not result.proven


def test_study_and_series_uids_that_a_wrong_rule_for_patients_tore_apart(
    tmp_path: Path, write_series: WriteSeries, packed: Packed
) -> None:
    for folder in ("p0", "p1", "p2"):
        write_series(tmp_path / "src" / folder, patient="P1", study="one" if folder != "p2" else "two", series=folder)
    (tmp_path / "s.csv").write_text("path,split\np0,train\np1,test\np2,val\n")
    root = packed(tmp_path / "src", patients="path:^(p.)", splits=tmp_path / "s.csv")
    result = audit(root)
    assert set(failed(result)) == {"study-uid-splits"}
    (finding,) = failed(result)["study-uid-splits"].findings
    assert finding["splits"] == {"train": 3, "test": 3}
    assert len(finding["patients"]) == 2
    assert "1 study UID in two splits" in result.verdict and "patients by path," in result.verdict


def test_identical_images_in_two_splits(clinic: Path, write_dicom: WriteDicom, packed: Packed) -> None:
    write_dicom(clinic / "x0.dcm", noise(1), patient="P0", study="xs0", series="x0", place=9)
    write_dicom(clinic / "x4.dcm", noise(1), patient="P4", study="xs4", series="x4", place=3)
    root = packed(clinic, codec="htj2k")
    result = audit(root)
    assert set(failed(result)) == {"pixels-splits", "pixels-patients"}
    for check in failed(result).values():
        (finding,) = check.findings
        assert finding["keys"] == keys_of(root, {"train", "test"}, lambda source: source in ("x0.dcm", "x4.dcm"))
        assert finding["splits"] == {"train": 1, "test": 1}
        assert len(finding["patients"]) == 2 and finding["unknown_patients"] == 0
    assert "1 image (2 samples) in two splits; 1 image (2 samples) under two patients" in result.verdict


def test_identical_images_under_two_patients_of_one_split(
    clinic: Path, write_dicom: WriteDicom, packed: Packed
) -> None:
    for patient in ("P0", "P1", "P2"):
        write_dicom(clinic / f"x{patient}.dcm", noise(2), patient=patient, study=f"xs{patient}", series=f"x{patient}")
    result = audit(packed(clinic))
    assert set(failed(result)) == {"pixels-patients"}
    (finding,) = failed(result)["pixels-patients"].findings
    assert finding["samples"] == 3 and len(finding["patients"]) == 3


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("sop,label\n{0},tumour\n{1},none\n", ["none", "tumour"]),
        ("sop,tumour,cyst,gas\n{0},1,0,\n{1},0,0,1\n", ["tumour"]),
    ],
)
def test_identical_images_with_two_labels(
    clinic: Path, write_dicom: WriteDicom, packed: Packed, table: str, said: list[str]
) -> None:
    uids = ["1.2.826.1.1", "1.2.826.1.2"]
    for number, uid in enumerate(uids):
        write_dicom(
            clinic / f"x{number}.dcm", noise(3), patient="P0", study="xs", series="x", place=number, SOPInstanceUID=uid
        )
    result = audit(packed(clinic, labels=table.format(*uids)))
    assert set(failed(result)) == {"pixels-labels:default"}
    (finding,) = failed(result)["pixels-labels:default"].findings
    assert finding["labels"] == {"default": said} and finding["samples"] == 2
    assert "1 image (2 samples) with two labels in set default" in result.verdict


def test_every_label_set_is_looked_at(clinic: Path, write_dicom: WriteDicom, packed: Packed, tmp_path: Path) -> None:
    from radload.pack.relabel import LabelOptions, add_labels

    for number in range(2):
        write_dicom(clinic / f"x{number}.dcm", noise(3), patient="P0", study="xs", series="x", place=number)
    root = packed(clinic, labels="patient,label\nP0,a\n")
    assert audit(root).proven
    (tmp_path / "v2.csv").write_text("path,label\nx0.dcm,a\nx1.dcm,b\n")
    add_labels(LabelOptions(root, tmp_path / "v2.csv", name="v2"))
    assert set(failed(audit(root))) == {"pixels-labels:v2"}


@pytest.mark.parametrize(("pixels", "aside"), [(0, True), (4, True), (5, False)])
def test_constant_and_nearly_empty_images_are_set_aside(
    clinic: Path, write_dicom: WriteDicom, packed: Packed, pixels: int, aside: bool
) -> None:
    """480 pixels: up to 4 that differ are under 1 %."""
    image = np.full((24, 20), -700, np.int16)
    image.ravel()[:pixels] = np.arange(pixels)
    for patient in ("P0", "P4"):
        write_dicom(clinic / f"x{patient}.dcm", image, patient=patient, study=f"xs{patient}", series=f"x{patient}")
    root = packed(clinic)
    result = audit(root)
    assert result.proven is aside
    assert any("set aside: 1 group of identical images" in note for note in result.notes) is aside
    assert result.details["identical_images"] == {"groups": 1, "samples": 2, "set_aside": int(aside)}
    if pixels == 4:  # without the shards nobody can tell: the finding stays
        for path in root.glob("*/*.tar"):
            path.unlink()
        blind = audit(root)
        assert set(failed(blind)) == {"pixels-splits", "pixels-patients"}
        assert any("not readable (shards missing or damaged): 1 image," in note for note in blind.notes)


def test_unknown_patients_are_counted_and_nothing_is_claimed_where_none_is_known(
    tmp_path: Path, write_series: WriteSeries, packed: Packed
) -> None:
    for number in range(3):
        write_series(tmp_path / "src" / str(number), patient="ANON", study=f"s{number}", series=f"e{number}")
    root = packed(tmp_path / "src", "a", splits=None, split="50/25/25")
    result = audit(root)
    assert next(c for c in result.checks if c.name == "patient-splits").status is Status.OPEN
    assert "no patient is in two splits" not in result.verdict
    assert "nothing is proven about patients: not one is known" in result.verdict
    write_series(tmp_path / "src" / "9", patient="P9", study="s9", series="e9")
    result = audit(packed(tmp_path / "src", "b", splits=None, split="50/25/25"))
    assert "no patient is in two splits" in result.verdict and "3 of 4 unknown" in result.verdict


def test_an_index_that_contradicts_itself(clinic: Path, packed: Packed) -> None:
    root = packed(clinic)
    before = read_table(root, "patients").column("split").to_pylist()
    set_column(root, "patients", "split", [1 - split if split < 2 else split for split in before])
    assert set(failed(audit(root))) == {"index"}
    set_column(root, "patients", "split", before)
    assert audit(root).proven
    patients = read_table(root, "studies").column("patient").to_pylist()
    set_column(root, "studies", "patient", patients[::-1])
    assert "series whose study belongs to another patient" in failed(audit(root))["index"].found


def test_samples_without_a_hash_are_counted(clinic: Path, write_dicom: WriteDicom, packed: Packed) -> None:
    for patient in ("P0", "P4"):
        write_dicom(clinic / f"x{patient}.dcm", noise(4), patient=patient, study=f"xs{patient}", series=f"x{patient}")
    root = packed(clinic)
    hashes = read_table(root, "samples").column("pixel_hash").to_pylist()
    set_column(root, "samples", "pixel_hash", [None, None, *hashes[2:]])
    result = audit(root)
    assert any(note.startswith("without a pixel hash: 2 samples") for note in result.notes)
    assert len(failed(result)["pixels-splits"].findings) == 1  # two nulls are no image in common


def test_an_audit_only_reads(clinic: Path, packed: Packed) -> None:
    root = packed(clinic)
    before = {path: path.read_bytes() for path in root.parent.rglob("*") if path.is_file()}
    audit(root)
    assert {path: path.read_bytes() for path in root.parent.rglob("*") if path.is_file()} == before
