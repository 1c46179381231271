"""The RadImageNet tree packs as shipped: classes and splits from its lists, modality from its folders, patients said to be unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest_pack import write_png

import radload
from radload.pack import PackOptions, pack

FILES = {
    "CT/lung/normal/lung001.png": ("train", "CT_lung_normal"),
    "CT/lung/normal/lung002.png": ("val", "CT_lung_normal"),
    "MR/knee/acl_tear/knee001.png": ("train", "MR_knee_acl_tear"),
    "US/gb/usn001.png": ("test", "US_gb"),
}


def write_tree(root: Path, prefix: str) -> None:
    random = np.random.default_rng(0)
    for name in FILES:
        write_png(root / "radiology_ai" / name, random.integers(0, 256, (8, 9), np.uint8))
    for split in ("train", "val", "test"):
        lines = [f"{prefix}{name},{label}" for name, (own, label) in FILES.items() if own == split]
        (root / f"RadiologyAI_{split}.csv").write_text("\n".join(["filename,label", *lines]))


@pytest.mark.parametrize("prefix", ["", "radiology_ai/"])
def test_lists_give_classes_and_splits(tmp_path: Path, prefix: str) -> None:
    write_tree(tmp_path / "src", prefix)
    summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, attest_no_phi=True))
    assert (summary.packed, summary.ignored, summary.rejected) == (4, 3, {})
    assert summary.classes == {"CT_lung_normal": 2, "MR_knee_acl_tear": 1, "US_gb": 1}
    with radload.open(tmp_path / "out") as dataset:
        assert sorted(
            (sample.split, sample.label, sample.meta["modality"], sample.meta["units"]) for sample in dataset
        ) == sorted((split, label, label[:2], "DISPLAY") for split, label in FILES.values())
        assert dataset.manifest.unknown_patients == 4 and dataset.manifest.split_rule["given_patients"] == 4


def test_the_user_s_own_labels_and_splits_come_first(tmp_path: Path) -> None:
    write_tree(tmp_path / "src", "")
    (tmp_path / "splits.csv").write_text("path,split\nradiology_ai,train\n")
    summary = pack(
        PackOptions(
            tmp_path / "src",
            tmp_path / "out",
            workers=0,
            attest_no_phi=True,
            labels_from="folder:2",
            splits=tmp_path / "splits.csv",
        )
    )
    assert summary.classes == {"CT": 2, "MR": 1, "US": 1} and summary.splits["train"]["samples"] == 4


def test_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "src", "elsewhere/")
    with pytest.raises(radload.UsageError, match="name none of its 4 images"):
        pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, attest_no_phi=True))
    write_tree(tmp_path / "src", "")
    (tmp_path / "src/RadiologyAI_val.csv").write_text("filename,label\nCT/lung/normal/lung001.png,CT_lung_normal\n")
    with pytest.raises(
        radload.UsageError,
        match=r"RadiologyAI_\w+\.csv, line 2, puts an image into a second split",
    ):
        pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, attest_no_phi=True))


def test_folders_of_a_clinic_are_no_modality(tmp_path: Path) -> None:
    write_png(tmp_path / "src/Doe_CT/a/x.png", np.zeros((4, 4), np.uint8))
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, attest_no_phi=True))
    with radload.open(tmp_path / "out") as dataset:
        assert dataset[0].meta["modality"] == "" and dataset.labels is None
