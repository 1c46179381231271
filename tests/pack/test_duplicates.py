"""Patients who share an image are divided as one: directly, through others, whatever the encoding; empty images link nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest_pack import WriteDicom
from hypothesis import given
from hypothesis import strategies as st

import radload
from radload.audit import Status, audit
from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.duplicates import commonest_share, link_patients
from radload.pack.patients import Patient

HASHES = st.lists(st.tuples(st.integers(0, 12), st.lists(st.integers(0, 15), max_size=3)), max_size=30)


@given(HASHES)
def test_groups_are_the_connected_parts(files: list[tuple[int, list[int]]]) -> None:
    """Against the plain definition: whoever shares an image is in one group, and so is whoever shares one with the group."""
    patients = [Patient(f"p{who:02}", None) for who, _ in files]
    found = link_patients(patients, [[bytes([image]) for image in images] for _, images in files])
    groups = {f"p{who:02}": {f"p{who:02}"} for who, _ in files}
    for _ in range(len(groups)):
        for one, images in files:
            for other, others in files:
                if set(images) & set(others):
                    together = groups[f"p{one:02}"] | groups[f"p{other:02}"]
                    for identity in together:
                        groups[identity] = together
    expected = {identity: min(group) for identity, group in groups.items() if len(group) > 1}
    assert found == expected
    assert link_patients(patients[::-1], [[bytes([i]) for i in images] for _, images in files[::-1]]) == expected


def test_the_commonest_value_of_colour_is_that_of_all_channels_at_once() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    image[0, 0, 1] = 9
    assert commonest_share(image) == 0.95 and commonest_share(np.full((3, 3), np.nan, np.float32)) == 1


@pytest.fixture
def source(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """40 patients; patient 2k and 2k + 1 share a slice, and all have an empty one."""
    rng = np.random.default_rng(5)
    root = tmp_path / "src"
    for k in range(20):
        shared = rng.integers(0, 4000, (16, 16)).astype(np.int16)
        for who in (2 * k, 2 * k + 1):
            own = rng.integers(0, 4000, (16, 16)).astype(np.int16)
            for place, pixels in enumerate((shared, own, np.zeros((16, 16), np.int16))):
                write_dicom(
                    root / f"{who}/{place}.dcm",
                    pixels,
                    PatientID=f"P{who}",
                    StudyInstanceUID=f"1.2.{who}",
                    SeriesInstanceUID=f"1.2.{who}.1",
                )
    return root


def failing(root: Path) -> set[str]:
    """Names of the claims that an audit contradicts."""
    return {check.name for check in audit(root).checks if check.status is Status.FAILS}


@pytest.mark.parametrize("workers", [0, 2])
def test_no_image_is_in_two_splits(source: Path, tmp_path: Path, workers: int) -> None:
    pack(PackOptions(source, tmp_path / "plain", split="50/25/25", workers=workers))
    assert "pixels-splits" in failing(tmp_path / "plain")
    summary = pack(PackOptions(source, tmp_path / "linked", split="50/25/25", workers=workers, link_duplicates=True))
    assert any("40 patients share images with others: they stand in 20 groups" in note for note in summary.notes)
    assert failing(tmp_path / "linked") == {"pixels-patients"}, "that is still said"
    with radload.open(tmp_path / "linked") as data:
        assert data.manifest.split_rule["linked_patients"] == 40
        splits: dict[bytes, set[str]] = {}
        hashes = data.index.table("samples").column("pixel_hash").to_pylist()
        for sample, digest in zip(data, hashes, strict=True):
            if sample.meta["maximum"] > 0:
                splits.setdefault(digest, set()).add(sample.split)
        assert all(len(found) == 1 for found in splits.values()) and len(splits) == 60
        assert data.manifest.patients == 40, "linked patients stay who they are"
        assert {name: part["patients"] for name, part in data.manifest.splits.items()} == {
            "train": 20,
            "val": 10,
            "test": 10,
        }


def test_given_splits_that_tear_a_group_are_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("patient,split\nP0,train\nP1,test\n")
    with pytest.raises(UsageError, match="1 groups of patients share images and are given two splits"):
        pack(PackOptions(source, tmp_path / "out", splits=tmp_path / "splits.csv", workers=0, link_duplicates=True))
    (tmp_path / "splits.csv").write_text("patient,split\nP0,test\n")
    pack(PackOptions(source, tmp_path / "out", splits=tmp_path / "splits.csv", workers=0, link_duplicates=True))
    with radload.open(tmp_path / "out") as data:
        rows = data.index.table("patients").to_pylist()
        assert sum(row["split"] == 2 for row in rows) >= 2
