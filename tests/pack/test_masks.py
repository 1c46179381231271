"""Masks are no images: what looks like one is left out with its reason, what is paired keeps its image, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radload.errors import UsageError
from radload.pack.catalog import scan_without_writing
from radload.pack.mask_names import glob_pattern
from radload.pack.masks import Masks, looks_like_mask, mask_patterns, take_masks
from radload.pack.scan import Catalog, InputFile
from radload.pack.walk import walk
from radload.sources import Header, Segmentation, SegmentationType, SeriesAttributes


def header(source: str, form: str = "nifti", rows: int = 64, cols: int = 64, frames: int = 3, **more: Any) -> Header:
    return Header(source, form, rows, cols, 1, 8, frames, SeriesAttributes(), **more)


def segmentation(
    source: str, images: tuple[tuple[tuple[str, int | None], ...], ...], rows: int = 64, **more: Any
) -> Header:
    said = Segmentation(
        SegmentationType.BINARY,
        1,
        (1,) * len(images),
        images,
        more.pop("instances", frozenset()),
        more.pop("series_of", frozenset()),
        frozenset((1,)),
        (),
    )
    return header(source, "dicom", rows, frames=len(images), segmentation=said, **more)


def slices(series: str, count: int = 3, **more: Any) -> list[Header]:
    return [
        header(f"{series}/{i}.dcm", "dicom", frames=1, series=series, sop=f"{series}-{i}", positions=(2.0 * i,),
               normal=(0.0, 0.0, 1.0), **more)
        for i in range(count)
    ]  # fmt: skip


def take(*headers: Header, globs: tuple[str, ...] = (), allow: bool = False) -> tuple[list[str], Masks, dict[str, str]]:
    """(sources of the images, masks, rejected source -> code); checks that every file is exactly one of them."""
    catalog, masks = take_masks(
        Catalog(headers, (), 0, np.arange(len(headers))), [glob_pattern(glob) for glob in globs], allow=allow
    )
    images = [one.source for one in catalog.headers]
    rejected = {reject.source: reject.code for reject in catalog.rejects}
    paired = [one.source for one in masks.headers]
    parts = {part for one in headers for part in one.parts}
    assert sorted((*images, *paired, *(set(rejected) - parts))) == sorted(one.source for one in headers)
    assert masks.first == len(images)
    rows = {one.source: masks.first + i for i, one in enumerate(masks.headers)}
    for own in (*masks.paired.values(), *masks.segments.values()):
        assert rows[own.header.source] == own.row
    return images, masks, rejected


def test_what_is_called_a_mask_is_no_image() -> None:
    images, _, rejected = take(header("1.nii"), header("1_seg.nii"), header("masks/1.png", "image"))
    assert images == ["1.nii"]
    assert rejected == {"1_seg.nii": "looks-like-mask", "masks/1.png": "looks-like-mask"}


def test_dicom_images_are_not_judged_by_their_names() -> None:
    images, _, rejected = take(header("masks/1_seg.dcm", "dicom"))
    assert images == ["masks/1_seg.dcm"] and not rejected


@pytest.mark.parametrize(
    ("values", "size", "mask"),
    [
        ((0, 1, 2), 64, True),
        ((0, 255), 64, True),
        ((0, 1, 2, 4), 64, True),
        ((0,), 64, False),  # nothing is in it: an image of nothing, or a mask of nothing
        ((), 64, False),  # more values than few, or nobody looked
        ((1, 2), 64, False),  # no background
        ((0, 4095), 64, False),  # no label: full scale
        ((0, 1), 30, False),  # too small to tell
    ],
)
def test_few_small_whole_numbers_look_like_labels(values: tuple[int, ...], size: int, mask: bool) -> None:
    assert (looks_like_mask(header("lungs.nii", rows=size, cols=size, few_values=values)) is not None) == mask


def test_what_the_user_names_is_paired_with_its_image_and_the_rest_is_refused() -> None:
    images, masks, rejected = take(
        header("a/1.nii"), header("a/1_seg.nii"), header("a/2.nii"), header("a/2_label.nii"), header("a/3_seg.nii"),
        globs=("**/*_seg.nii",),
    )  # fmt: skip
    assert images == ["a/1.nii", "a/2.nii"]
    assert {row: mask.header.source for row, mask in masks.paired.items()} == {0: "a/1_seg.nii"}
    assert rejected == {"a/2_label.nii": "looks-like-mask", "a/3_seg.nii": "mask-without-image"}


def test_a_named_mask_of_any_name_is_a_mask() -> None:
    images, masks, _ = take(header("images/1.png", "image"), header("masks/1.png", "image"), globs=("masks/*",))
    assert images == ["images/1.png"] and masks.paired[0].header.source == "masks/1.png"


def test_masks_of_decathlon_and_nnunet_find_their_images() -> None:
    _, masks, rejected = take(
        header("imagesTr/liver_1.nii.gz"), header("imagesTr/lung_1_0000.nii.gz"),
        header("labelsTr/liver_1.nii.gz"), header("labelsTr/lung_1.nii.gz"), globs=("labelsTr/*",),
    )  # fmt: skip
    assert [masks.paired[row].header.source for row in (0, 1)] == ["labelsTr/liver_1.nii.gz", "labelsTr/lung_1.nii.gz"]
    assert not rejected


def test_the_image_beside_the_mask_comes_before_one_in_a_mirrored_folder() -> None:
    _, masks, rejected = take(
        header("images/1.nii"), header("masks/1.nii"), header("masks/1_seg.nii"), globs=("masks/1_seg.nii",)
    )
    assert rejected == {"masks/1.nii": "looks-like-mask"} and list(masks.paired) == [0]
    images, masks, rejected = take(header("1.nii"), header("images/1.nii"), header("1_seg.nii"), globs=("1_seg.nii",))
    assert images[next(iter(masks.paired))] == "1.nii" and not rejected


@pytest.mark.parametrize(
    ("files", "globs", "rejected"),
    [
        # two masks for one image
        (["1.nii", "1_seg.nii", "1_mask.nii"], ("1_*",), {"1_seg.nii": "mask-ambiguous", "1_mask.nii": "mask-ambiguous"}),
        # two images for one mask
        (["1.nii", "1.nii.gz", "1_seg.nii"], ("*_seg.nii",), {"1_seg.nii": "mask-ambiguous"}),
        # the channels of one patient
        (["a_0000.nii", "a_0001.nii", "a_seg.nii"], ("*_seg.nii",), {"a_seg.nii": "mask-ambiguous"}),
    ],
)  # fmt: skip
def test_what_fits_twice_is_not_guessed(files: list[str], globs: tuple[str, ...], rejected: dict[str, str]) -> None:
    _, masks, found = take(*(header(file) for file in files), globs=globs)
    assert found == rejected and not masks.headers


@pytest.mark.parametrize("other", [{"rows": 63}, {"cols": 65}, {"frames": 4}])
def test_a_mask_of_another_grid_is_refused(other: dict[str, int]) -> None:
    _, masks, rejected = take(header("1.nii"), header("1_seg.nii", **other), globs=("*_seg.nii",))
    assert rejected == {"1_seg.nii": "mask-grid-differs"} and not masks.paired


def test_formats_are_not_mixed() -> None:
    _, _, rejected = take(header("1.nii"), header("1_seg.png", "image"), globs=("*_seg.png",))
    assert rejected == {"1_seg.png": "mask-without-image"}


def test_both_halves_of_a_rejected_pair_are_rejected() -> None:
    _, _, rejected = take(header("1.nii"), header("2_seg.hdr", parts=("2_seg.img",)))
    assert rejected == {"2_seg.hdr": "looks-like-mask", "2_seg.img": "looks-like-mask"}


def test_what_looks_like_a_mask_may_be_allowed() -> None:
    seg = segmentation("s.dcm", ((("elsewhere", None),),))
    images, masks, rejected = take(
        header("1_seg.nii"), seg, header("2.nii"), header("2_mask.nii"), allow=True, globs=("2_mask.nii",)
    )
    assert images == ["1_seg.nii", "2.nii", "s.dcm"] and not rejected
    assert masks.paired[1].header.source == "2_mask.nii"


def test_globs_that_match_nothing_are_said() -> None:
    files = [InputFile("a/1_seg.nii", 1, 1)]
    assert len(mask_patterns(("**/*_seg.nii", "a/*"), files)) == 2
    with pytest.raises(UsageError, match="matches none of the 1 files"):
        mask_patterns(("*_seg.nii",), files)
    with pytest.raises(UsageError, match="is no glob"):
        mask_patterns(("[z-a]",), files)


def test_a_segmentation_belongs_to_the_images_that_it_refers_to() -> None:
    seg = segmentation("seg.dcm", ((("s-0", None),), (("s-2", None), ("elsewhere", None))))
    images, masks, rejected = take(*slices("s"), seg, *slices("t"))
    assert len(images) == 6 and not rejected
    assert {row: one.frames for row, one in masks.segments.items()} == {0: {0: (0,)}, 2: {0: (1,)}}


def test_a_segmentation_without_its_images_looks_like_a_mask() -> None:
    images, masks, rejected = take(*slices("s"), segmentation("seg.dcm", ((("elsewhere", None),),)))
    assert len(images) == 3 and rejected == {"seg.dcm": "looks-like-mask"} and not masks.segments


def test_frames_of_enhanced_images_are_counted_from_one_in_the_file_and_from_zero_here() -> None:
    image = header("e.dcm", "dicom", frames=4, series="e", sop="e-0")
    _, masks, _ = take(image, segmentation("seg.dcm", ((("e-0", 2),), (("e-0", 0),), (("e-0", 9),))))
    assert masks.segments[0].frames == {0: (1,), 2: (0,)}


def test_where_frames_name_no_image_series_and_position_decide() -> None:
    place: dict[str, Any] = {"positions": (4.0, 2.01, 3.0), "normal": (0.0, 0.0, 1.0)}
    seg = segmentation("seg.dcm", ((), (), ()), series_of=frozenset(("s",)), **place)
    _, masks, rejected = take(*slices("s"), *slices("t"), seg)
    assert {row: one.frames for row, one in masks.segments.items()} == {1: {0: (1,)}, 2: {0: (0,)}} and not rejected
    listed = segmentation("seg.dcm", ((), (), ()), instances=frozenset(("s-2",)), **place)
    _, masks, _ = take(*slices("s"), listed)
    assert list(masks.segments) == [2]
    tilted = segmentation(
        "seg.dcm", ((), (), ()), series_of=frozenset(("s",)), **{**place, "normal": (0.0, 0.1, 0.995)}
    )
    assert take(*slices("s"), tilted)[2] == {"seg.dcm": "looks-like-mask"}


def test_a_frame_that_names_all_images_lies_on_the_one_in_its_plane() -> None:
    """As some writers do: without a position, nothing tells which one is meant."""
    every = tuple((f"s-{i}", None) for i in range(3))
    seg = segmentation("seg.dcm", (every, every), positions=(4.0, 0.0), normal=(0.0, 0.0, 1.0))
    _, masks, _ = take(*slices("s"), seg)
    assert {row: one.frames for row, one in masks.segments.items()} == {0: {0: (1,)}, 2: {0: (0,)}}
    assert take(*slices("s"), segmentation("seg.dcm", (every, every)))[2] == {"seg.dcm": "looks-like-mask"}


def test_two_files_of_one_instance_have_the_same_mask() -> None:
    twice = [*slices("s"), *(replace(one, source=f"copy/{one.source}") for one in slices("s"))]
    _, masks, rejected = take(*twice, segmentation("seg.dcm", ((("s-1", None),),)))
    assert set(masks.segments) == {1, 4} and not rejected


def test_a_segmentation_of_another_size_is_refused() -> None:
    _, _, rejected = take(*slices("s"), segmentation("seg.dcm", ((("s-0", None),),), rows=32))
    assert rejected == {"seg.dcm": "mask-grid-differs"}


def test_two_segmentations_of_a_series_are_ambiguous_until_one_is_named() -> None:
    """With both, what one leaves as background would be a segment of the other."""
    first, second = segmentation("1.dcm", ((("s-0", None),),)), segmentation("2.dcm", ((("s-2", None),),))
    _, masks, rejected = take(*slices("s"), first, second)
    assert rejected == {"1.dcm": "mask-ambiguous", "2.dcm": "mask-ambiguous"} and not masks.headers
    _, masks, rejected = take(*slices("s"), first, second, globs=("2.dcm",))
    assert rejected == {"1.dcm": "mask-ambiguous"} and [one.source for one in masks.headers] == ["2.dcm"]
    _, masks, rejected = take(*slices("s"), first, second, globs=("[12].dcm",))
    assert len(rejected) == 2


def test_names_in_the_folder_of_real_files_raise_no_false_alarm(shared_data: Path) -> None:
    """727 files, 16 of them DICOM segmentations: one NIfTI file is a label map, and it is found by its values."""
    files = list(walk(shared_data))
    catalog = scan_without_writing(shared_data, files, 2, 0, shared_data / "none").read(files)
    found = [one.source for one in catalog.headers if looks_like_mask(one) is not None]
    assert found == ["nifti/cornerstone3D__lungs.nii.gz"]
    assert sum(one.format != "dicom" for one in catalog.headers) > 30
