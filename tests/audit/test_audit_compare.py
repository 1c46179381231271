"""Two data sets: an image or a patient in both is found and named; what cannot be compared is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from audit_make import Packed, failed
from conftest_pack import WriteDicom, WriteSeries

import radload
from radload.audit import Status, compare


@pytest.fixture
def downstream(tmp_path: Path, write_series: WriteSeries) -> Path:
    """Another source: two patients of its own."""
    for patient in ("Q0", "Q1"):
        write_series(tmp_path / "down" / patient, patient=patient, study=f"t{patient}", series=f"d{patient}")
    return tmp_path / "down"


def share_key(source: Path, target: Path) -> None:
    """The second pack takes the pseudonym key of the first."""
    target.mkdir(mode=0o700)
    shutil.copy(source / "key", target / "key")


def pack_both(packed: Packed, clinic: Path, downstream: Path, one_key: bool) -> tuple[Path, Path]:
    first = packed(clinic, "a")
    if one_key:
        share_key(first.with_name("a.private"), first.with_name("b.private"))
    return first, packed(downstream, "b", splits=None, split="0/0/100")


@pytest.mark.parametrize("one_key", [True, False])
def test_nothing_in_common(clinic: Path, downstream: Path, packed: Packed, one_key: bool) -> None:
    result = compare(pack_both(packed, clinic, downstream, one_key))
    how = "by pseudonym" if one_key else "by name in the private folders"
    assert result.proven
    assert result.verdict.startswith(
        f"proven: no image is in both data sets, no patient is in both data sets ({how}); data set A: patients by "
    )
    assert "0 of 6 unknown; data set B: patients by" in result.verdict


@pytest.mark.parametrize("one_key", [True, False])
def test_a_patient_in_both(
    clinic: Path, downstream: Path, packed: Packed, write_series: WriteSeries, one_key: bool
) -> None:
    write_series(downstream / "x", patient=" P3 ", study="other study", series="other series")
    roots = pack_both(packed, clinic, downstream, one_key)
    result = compare(roots)
    assert set(failed(result)) == {"shared-patients"}
    (finding,) = failed(result)["shared-patients"].findings
    for name, root in zip(("a", "b"), roots, strict=True):
        with radload.open(root) as dataset:
            table = dataset.index.table("patients").to_pydict()
            row = table["pseudonym"].index(finding[name])
            assert {s.split for s in dataset if s.meta["patient"] == row} == {"val" if name == "a" else "test"}
    assert (finding["a"] == finding["b"]) is one_key
    assert "1 patient in both data sets" in result.verdict


def test_patients_that_cannot_be_compared(clinic: Path, downstream: Path, packed: Packed) -> None:
    roots = pack_both(packed, clinic, downstream, one_key=False)
    moved = roots[1].with_name("b.private").rename(roots[1].with_name("kept"))
    result = compare(roots)
    check = next(check for check in result.checks if check.name == "shared-patients")
    assert check.status is Status.OPEN and result.proven
    assert "no patient" not in result.verdict
    assert "patients cannot be compared: the data sets have different pseudonym keys" in result.verdict
    assert "no patient is in both" in compare(roots, [roots[0].with_name("a.private"), moved]).verdict


def test_an_image_in_both(clinic: Path, downstream: Path, packed: Packed, write_dicom: WriteDicom) -> None:
    image = np.random.default_rng(5).integers(0, 900, (24, 20)).astype(np.int16)
    empty = np.full((24, 20), 7, np.int16)
    for number, pixels in enumerate((image, empty)):
        write_dicom(clinic / f"x{number}.dcm", pixels, patient="P4", study="xs", series="x", place=number)
        write_dicom(downstream / f"y{number}.dcm", pixels, patient="Q0", study="ys", series="y", place=number)
    write_dicom(clinic / "twice.dcm", image, patient="P4", study="xs", series="x2", place=0)
    roots = pack_both(packed, clinic, downstream, one_key=True)
    result = compare(roots)
    assert set(failed(result)) == {"shared-pixels"}
    (finding,) = failed(result)["shared-pixels"].findings
    assert finding["samples"] == 3
    for name, root, count in zip(("a", "b"), roots, (2, 1), strict=True):
        assert finding[name]["splits"] == {"test": count}
        with radload.open(root) as dataset:
            assert len(finding[name]["keys"]) == count
            assert all(np.array_equal(dataset[key].stored, image) for key in finding[name]["keys"])
    assert "1 image (3 samples) in both data sets" in result.verdict
    assert "set aside: 1 shared image, constant or nearly empty" in result.notes


def test_a_data_set_shares_everything_with_itself(clinic: Path, packed: Packed) -> None:
    root = packed(clinic)
    checks = failed(compare((root, root)))
    assert len(checks["shared-pixels"].findings) == 24
    assert len(checks["shared-patients"].findings) == 6
