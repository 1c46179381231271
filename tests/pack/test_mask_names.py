"""What a name says about masks: those of well-known data sets are understood, and what only sounds like a mask is an image."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.pack.mask_names import glob_pattern, named_as_mask, place_of, without_channel


@pytest.mark.parametrize(
    "source",
    [
        "BraTS20_Training_001_seg.nii.gz",
        "case-7-seg.nii",
        "patient001/patient001_frame01_gt.nii.gz",  # ACDC
        "case_00001/segmentation.nii.gz",  # KiTS
        "segmentation-12.nii",  # LiTS
        "labelsTr/liver_1.nii.gz",  # Medical Segmentation Decathlon
        "label0001.nii.gz",  # Synapse
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz",  # BIDS
        "sub-01/anat/sub-01_dseg.nii.gz",
        "masks/patient1/001.png",
        "train/masks/001.png",
        "ManualMask/leftMask/MCUCXR_0001_0.png",  # Montgomery
        "CXR_png/CHNCXR_0001_0_mask.png",
        "ISIC_0000000_Segmentation.png",
        "Mask_0001.JPG",
        "groundtruth/1.png",
        "a/annotations/1.png",
    ],
)
def test_masks_are_known_by_their_names(source: str) -> None:
    assert named_as_mask(source)


@pytest.mark.parametrize(
    "source",
    [
        "unmasked/1.png",
        "1_unmasked.png",
        "t1_brain_masked.nii.gz",  # an image without its skull
        "without_mask/1.png",
        "with_mask/1.png",  # classes
        "no-mask.png",
        "labels/pneumonia/1.png",  # folders of classes
        "label_0/1.png",
        "label1/1.png",
        "label_3_chest.png",
        "class_labels/1.png",
        "sub-01_space-T1w_desc-preproc_T1w.nii.gz",
        "dicom2nifti__ge_dti_001_ground_truth.nii.gz",  # the truth about a conversion
        "segment/1.png",
        "segovia/gtv.png",
        "masklike/1.png",
        "t1_tfl_seg_sag_p2.nii",  # a segmented acquisition
        "masks.nii/a/b/1.png",
        "imagesTr/liver_1.nii.gz",
        "1.png",
        "é.png",
    ],
)
def test_names_that_sound_like_masks_are_no_masks(source: str) -> None:
    assert not named_as_mask(source)


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        ("a/case_1_seg.nii.gz", "a/case_1.nii"),
        ("a/case_1-mask.png", "a/case_1.png"),
        ("labelsTr/liver_1.nii.gz", "imagesTr/liver_1.nii.gz"),
        ("x/labelsTs/liver_1.nii.gz", "x/imagesTs/liver_1.nii.gz"),
        ("train/masks/001.png", "train/images/001.png"),
        ("masks/7/001.png", "images/7/001.png"),
        ("case_1/segmentation.nii.gz", "case_1/imaging.nii.gz"),
        ("segmentation-12.nii", "volume-12.nii"),
        ("label/label0001.nii.gz", "img/img0001.nii.gz"),
        ("a/masks/001.png", "a/001.png"),
    ],
)
def test_a_mask_has_the_place_of_its_image(mask: str, image: str) -> None:
    assert place_of(mask, mask=True) == place_of(image, mask=False)


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        ("a/case_1_seg.nii", "b/case_1.nii"),
        ("a/case_1_seg.nii", "a/case_11.nii"),
        ("a/case_1_seg.nii", "a/case_01.nii"),
        ("a/case_1_2_seg.nii", "a/case_12.nii"),
        ("labelsTr/liver_1.nii", "imagesTs/liver_1.nii"),
        ("a/ä_seg.nii", "a/ö.nii"),
        ("a/t+_seg.nii", "a/t=.nii"),
        ("a/case_1_seg.nii", "a/case_1_t1.nii"),
    ],
)
def test_other_names_are_other_places(mask: str, image: str) -> None:
    assert place_of(mask, mask=True) != place_of(image, mask=False)


def test_the_channel_of_nnunet_is_no_part_of_the_name() -> None:
    place = without_channel(place_of("imagesTr/case_001_0000.nii.gz", mask=False))
    assert place == place_of("labelsTr/case_001.nii.gz", mask=True)
    assert without_channel(place_of("imagesTr/case_001.nii.gz", mask=False)) is None
    assert without_channel(place_of("imagesTr/0000.nii.gz", mask=False)) is None


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("**/*_seg.nii.gz", ["a_seg.nii.gz", "x/y/a_seg.nii.gz"], ["a_seg.nii", "a_seg.nii.gz/b"]),
        ("masks/*.png", ["masks/1.png"], ["masks/a/1.png", "x/masks/1.png"]),
        ("masks/**", ["masks/1.png", "masks/a/1.png"], ["mask/1.png"]),
        ("case?/[!a]*.nii", ["case1/b.nii"], ["case1/a.nii", "case12/b.nii"]),
        ("a+b (1).png", ["a+b (1).png"], ["aab (1).png"]),
        ("[x", ["[x"], ["x"]),
    ],
)
def test_globs_match_whole_paths(glob: str, yes: list[str], no: list[str]) -> None:
    pattern = glob_pattern(glob)
    assert all(pattern.fullmatch(name) for name in yes) and not any(pattern.fullmatch(name) for name in no)


@given(st.text(max_size=12))
def test_a_glob_is_a_pattern_or_a_clear_refusal(glob: str) -> None:
    try:
        pattern = glob_pattern(glob)
    except ValueError:
        return
    if not set(glob) & set("*?["):
        assert pattern.fullmatch(glob)


@given(st.text(min_size=1, max_size=20))
def test_any_name_has_a_place(name: str) -> None:
    assert place_of(name, mask=True) == place_of(name, mask=True)
    named_as_mask(name)


def test_of_the_real_files_only_segmentations_and_annotations_are_called_masks(shared_data: Path) -> None:
    """DICOM files too, although pack does not judge those by their names: it is more names to be wrong about."""
    with (shared_data / "INDEX.csv").open(newline="") as file:
        files = [(path, row["modality"]) for row in csv.DictReader(file) for path in (row["file"], row["source_path"])]
    called = [(path, modality) for path, modality in files if named_as_mask(path)]
    assert len(files) > 1500 and len(called) >= 10
    assert all(modality == "SEG" or "annotations" in path for path, modality in called)
