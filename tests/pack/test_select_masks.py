"""A mask goes with its image, whatever --where, --slices, --frames and --drop-empty leave of it; every file is accounted for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom
from numpy.typing import NDArray
from segmentation_make import write_segmentation

import radload
from radload.pack import PackOptions, PackSummary, dry_run, pack
from radload.pack.masks import PairedMask
from radload.pack.plan import FileJob, SegmentsJob, SeriesJob, ShardJob
from radload.pack.stacks import Geometry
from radload.sources import Header, SeriesAttributes

RANDOM = np.random.default_rng(11)
FRAMES = 6


def run(source: Path, out: Path, **options: Any) -> PackSummary:
    return pack(PackOptions(source, out, **{"workers": 0, "split": "100/0/0", **options}))


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out.with_name(out.name + ".private") / f"{table}.parquet").to_pylist()
    return found


def masks_of(out: Path) -> dict[tuple[str, int], tuple[str | None, NDArray[Any] | None]]:
    """(source, frame) -> (source of the mask, mask) of every sample."""
    with radload.open(out) as dataset:
        return {
            (row["source"], row["frame"]): (row["mask_source"], dataset[row["key"]].mask)
            for row in rows(out, "crosswalk")
        }


def rejected(out: Path) -> dict[str, str]:
    return {row["source"]: row["code"] for row in rows(out, "rejects")}


def write_nifti(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2, 3, 1])), path)  # type: ignore[no-untyped-call]


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    """Volumes a to d of 9 x 8 to 9 x 11 voxels a slice, each with a mask; those of d are a .hdr/.img pair."""
    masks = {}
    for number, name in enumerate("abcd"):
        shape = (8 + number, 9, FRAMES)
        masks[name] = RANDOM.integers(0, 5, shape).astype(np.uint8)
        write_nifti(tmp_path / f"src/{name}.nii.gz", RANDOM.integers(-900, 900, shape).astype(np.int16))
        if name != "d":
            write_nifti(tmp_path / f"src/{name}_seg.nii.gz", masks[name])
    pair = nibabel.Nifti1Pair(masks["d"], np.diag([1.0, 2, 3, 1]))  # type: ignore[no-untyped-call]
    nibabel.save(pair, tmp_path / "src/d_seg.img")
    (tmp_path / "src/d.nii.gz").rename(tmp_path / "src/d.nii.gz.tmp")
    values = RANDOM.integers(-900, 900, (11, 9, FRAMES)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Pair(values, np.diag([1.0, 2, 3, 1])), tmp_path / "src/d.img")  # type: ignore[no-untyped-call]
    (tmp_path / "src/d.nii.gz.tmp").unlink()
    return tmp_path / "src", masks


GLOBS = ("*_seg.*",)


def check(out: Path, masks: dict[str, NDArray[Any]], images: str, frames: list[int]) -> None:
    """The samples are `frames` of `images`, each with its own mask."""
    found = masks_of(out)
    assert sorted(found) == sorted((source, frame) for source in sources(images) for frame in frames)
    for (source, frame), (mask_source, mask) in found.items():
        assert mask_source is not None and mask_source.startswith(f"{source[0]}_seg.")
        np.testing.assert_array_equal(mask, masks[source[0]][:, :, frame].T)


def sources(images: str) -> list[str]:
    return [f"{name}.hdr" if name == "d" else f"{name}.nii.gz" for name in images]


@pytest.mark.parametrize("images", ["abcd", "d", "bd", "ac", "c"])
def test_a_mask_stays_with_its_image(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]], images: str
) -> None:
    """Rows of images and of masks move when --where leaves some out; masks of those are not selected, both halves of a pair."""
    source, masks = volumes
    where = f"source in ({', '.join(repr(name) for name in sources(images))})"
    options: dict[str, Any] = {"masks": GLOBS, "where": where}
    counted = dry_run(PackOptions(source, tmp_path / "out", workers=0, **options))
    summary = run(source, tmp_path / "out", **options)
    check(tmp_path / "out", masks, images, list(range(FRAMES)))
    left = [name for name in "abcd" if name not in images]
    assert set(rejected(tmp_path / "out").values()) <= {"not-selected"}
    assert (
        len(rejected(tmp_path / "out"))
        == summary.rejected.get("not-selected", 0)
        == sum(4 if name == "d" else 2 for name in left)
    )
    assert (summary.files, summary.ignored, summary.masks) == (10, 0, len(images))
    assert (counted.files, counted.chosen, counted.rejected) == (10, summary.packed, summary.rejected)
    assert counted.masks == summary.masks


def test_masks_of_labels_are_not_asked(tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]]) -> None:
    """A condition that is true for no mask, but for images."""
    source, masks = volumes
    run(source, tmp_path / "out", masks=GLOBS, where="bits = 16")
    check(tmp_path / "out", masks, "abcd", list(range(FRAMES)))


def test_a_mask_that_fits_two_images_fits_two_whichever_is_selected(tmp_path: Path) -> None:
    for name in ("a_0000", "a_0001"):
        write_nifti(tmp_path / f"src/{name}.nii.gz", RANDOM.integers(0, 900, (5, 5, 2)).astype(np.int16))
    write_nifti(tmp_path / "src/a_seg.nii.gz", np.ones((5, 5, 2), np.uint8))
    options: dict[str, Any] = {"masks": GLOBS, "where": "source = 'a_0000.nii.gz'"}
    assert run(tmp_path / "src", tmp_path / "out", **options).masks == 0
    assert rejected(tmp_path / "out") == {"a_0001.nii.gz": "not-selected", "a_seg.nii.gz": "mask-ambiguous"}


@pytest.mark.parametrize("rule", ["every:2", "central:3"])
def test_thinned_slices_keep_their_planes_of_the_mask(
    tmp_path: Path, volumes: tuple[Path, dict[str, NDArray[Any]]], rule: str
) -> None:
    source, masks = volumes
    summary = run(source, tmp_path / "out", masks=GLOBS, slices=rule)
    found = masks_of(tmp_path / "out")
    assert len(found) == 12 and (summary.masks, summary.rejected) == (4, {})
    for (name, frame), (_, mask) in found.items():
        np.testing.assert_array_equal(mask, masks[name[0]][:, :, frame].T)


def test_a_thinned_mask_whose_chosen_planes_are_bad_is_one_reject(tmp_path: Path) -> None:
    write_nifti(tmp_path / "src/a.nii.gz", RANDOM.integers(0, 900, (5, 5, FRAMES)).astype(np.int16))
    labels = np.ones((5, 5, FRAMES), np.float32)
    labels[0, 0] = 0.5
    write_nifti(tmp_path / "src/a_seg.nii.gz", labels)
    run(tmp_path / "src", tmp_path / "out", masks=GLOBS, slices="max:2")
    assert [(row["source"], row["frame"], row["code"]) for row in rows(tmp_path / "out", "rejects")] == [
        ("a_seg.nii.gz", None, "mask-values")
    ]


def test_empty_slices_cost_their_planes_and_a_mask_of_empty_slices_itself(tmp_path: Path) -> None:
    values = RANDOM.integers(0, 900, (9, 9, 4)).astype(np.int16)
    values[:, :, 1] = 7
    masks = RANDOM.integers(0, 5, (9, 9, 4)).astype(np.uint8)
    for name, image in (("a", values), ("b", np.zeros_like(values))):
        write_nifti(tmp_path / f"src/{name}.nii.gz", image)
        write_nifti(tmp_path / f"src/{name}_seg.nii.gz", masks)
    summary = run(tmp_path / "src", tmp_path / "out", masks=GLOBS, drop_empty=True)
    found = masks_of(tmp_path / "out")
    assert {frame for _, frame in found} == {0, 2, 3}
    for (_, frame), (_, mask) in found.items():
        np.testing.assert_array_equal(mask, masks[:, :, frame].T)
    assert summary.rejected == {"empty": 1, "mask-without-image": 1} and summary.frames_rejected == 1


@pytest.fixture
def segmented(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """Two CT series of five slices, each with a segmentation: frame f of it has segment f + 1, on slice 4 - f."""
    source = tmp_path / "src"
    for series in "ab":
        images = [source / f"{series}/{place}.dcm" for place in range(5)]
        for place, path in enumerate(images):
            pixels = RANDOM.integers(0, 900, (8, 7)).astype(np.int16)
            write_dicom(path, pixels, series=series, patient=f"P{series}", study=f"st{series}", place=place)
        frames = [(path, number, np.ones((8, 7), np.uint8)) for number, path in enumerate(reversed(images), 1)]
        write_segmentation(source / f"{series}_seg.dcm", frames)
    return source


def test_a_segmentation_goes_with_its_series(tmp_path: Path, segmented: Path) -> None:
    """`modality = 'CT'` is not true for a segmentation, which is SEG."""
    summary = run(segmented, tmp_path / "out", where="modality = 'CT' and patient = 'Pb'")
    assert (summary.samples, summary.masks, summary.rejected) == (5, 1, {"not-selected": 6})
    assert rejected(tmp_path / "out")["a_seg.dcm"] == "not-selected"
    for (source, _), (mask_source, mask) in masks_of(tmp_path / "out").items():
        assert mask_source == "b_seg.dcm" and mask is not None and np.unique(mask).tolist() == [5 - int(source[2])]


@pytest.mark.parametrize(
    "options",
    [{"slices": "every:2"}, {"where": "instance in (1, 3, 5)"}, {"slices": "max:3", "where": "instance <> 2"}],
)
def test_frames_of_a_segmentation_lie_on_the_slices_that_are_left(
    tmp_path: Path, segmented: Path, options: dict[str, str]
) -> None:
    summary = run(segmented, tmp_path / "out", **options)
    found = masks_of(tmp_path / "out")
    assert summary.masks == 2 and summary.rejected == {"not-selected": 10 - len(found)}
    assert Counter(source[0] for source, _ in found) == {"a": 3, "b": 3}
    for (source, _), (_, mask) in found.items():
        assert mask is not None and np.unique(mask).tolist() == [5 - int(source[2])]


def test_a_segmentation_of_slices_that_are_all_left_out_is_not_selected(
    tmp_path: Path, write_dicom: WriteDicom
) -> None:
    images = [tmp_path / f"src/{place}.dcm" for place in range(5)]
    for place, path in enumerate(images):
        write_dicom(path, RANDOM.integers(0, 900, (8, 7)).astype(np.int16), place=place)
    write_segmentation(tmp_path / "src/seg.dcm", [(images[1], 1, np.ones((8, 7), np.uint8))])
    summary = run(tmp_path / "src", tmp_path / "out", slices="max:1")
    assert (summary.masks, summary.rejected) == (0, {"not-selected": 5}) and summary.samples == 1
    assert rejected(tmp_path / "out")["seg.dcm"] == "not-selected"


def test_what_is_no_training_image_keeps_its_code_whatever_the_condition(
    tmp_path: Path, write_dicom: WriteDicom
) -> None:
    write_dicom(tmp_path / "src/a.dcm", place=0)
    write_dicom(tmp_path / "src/b.dcm", place=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    run(tmp_path / "src", tmp_path / "out", where="modality = 'CT'")
    assert rejected(tmp_path / "out") == {"b.dcm": "localizer"}
    run(tmp_path / "src", tmp_path / "two", where="list_contains(image_type, 'LOCALIZER')", include=("localizer",))
    assert rejected(tmp_path / "two") == {"a.dcm": "not-selected"}


def test_gaps_are_those_of_the_whole_series(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for place in (0, 1, 2, 3, 5, 6, 7, 8, 8):
        path = tmp_path / f"src/{len(list(tmp_path.rglob('*.dcm')))}.dcm"
        write_dicom(path, place=place)
    run(tmp_path / "src", tmp_path / "all")
    run(tmp_path / "src", tmp_path / "out", slices="every:4")
    names = ("gaps", "duplicates", "irregular", "stacks", "slice_spacing")
    found = []
    for name in ("all", "out"):
        (row,) = pa.ipc.open_file(tmp_path / name / "index/000000/series.arrow").read_all().to_pylist()
        found.append([row[name] for name in names])
    assert found == [[1, 1, 0.0, 1, 2.5], [1, 1, 0.0, 1, 10.0]]  # steps of the chosen: 12.5 and 7.5


def test_a_job_is_another_one_with_another_mask_or_with_drop_empty() -> None:
    """So that a shard that was finished before is not taken for it."""
    header = Header("a", "nifti", 4, 4, 1, 8, 2, SeriesAttributes())
    file = FileJob(0, header, (0, 1), PairedMask(7, replace(header, source="m")))
    geometry = Geometry(None, 0, 0, None, 0, 0, None)
    series = SeriesJob(0, 2, (file,), 0, 0, "p", geometry, SegmentsJob(8, header, ((0,), (1,))))
    job = ShardJob("train/000000.tar", 0, (series,), Path("r"), Path("o"), "raw", "auto", 2)
    others = [
        replace(job, drop_empty=True),
        *(
            replace(job, series=(one,))
            for one in (
                replace(series, files=(replace(file, mask=None),)),
                replace(series, files=(replace(file, mask=PairedMask(8, header)),)),
                replace(series, segments=None),
                replace(series, segments=SegmentsJob(8, header, ((1,), (0,)))),
            )
        ),
    ]
    assert len({one.digest for one in (job, *others)}) == 6 and replace(job).digest == job.digest
