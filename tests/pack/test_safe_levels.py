"""Which resolution levels may stand in for an image, from the file to the record: a level is a mean of stored values, and 0 where
such a mean says nothing or cannot be held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from conftest_pack import WriteDicom, write_png
from numpy.typing import NDArray
from pydicom.dataset import Dataset

import radload
from radload.codecs import htj2k
from radload.codecs.wavelet import iterate_levels
from radload.loading.decode import level_bytes
from radload.pack import PackOptions, pack

RNG = np.random.default_rng(11)
SHAPE = (64, 80)
BODY = RNG.integers(0, 1800, SHAPE).astype(np.int16)


def packed(tmp_path: Path, **options: Any) -> radload.Dataset:
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0, split="100/0/0", attest_no_phi=True, **options))
    return radload.open(tmp_path / "out")


def with_rim(value: int) -> NDArray[np.int16]:
    image = BODY.copy()
    image[:6] = value
    return image


def lut(values: NDArray[np.integer], words: str) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(values), 0, 16]
    item.LUTData = values.astype("<u2").tobytes()
    setattr(item, *{"modality": ("ModalityLUTType", "US"), "voi": ("LUTExplanation", "curve")}[words])
    return item


def wide(kind: str) -> NDArray[np.uint16]:
    """Above a range of 22,000: smooth, or of single pixels at both ends, whose low-pass leaves 16 bits."""
    i, j = np.indices(SHAPE)
    return ((i + j) * 450 if kind == "smooth" else RNG.integers(0, 2, SHAPE) * 65_535).astype(np.uint16)


NO_RESCALE = {"RescaleSlope": None, "RescaleIntercept": None}
CASES: dict[str, tuple[NDArray[Any], dict[str, Any], int]] = {
    "plain": (BODY, {}, 5),
    "padding below": (with_rim(-2000), {"PixelPaddingValue": -2000}, 5),
    "padding above": (with_rim(3000), {"PixelPaddingValue": 3000}, 0),
    "padding among the values": (with_rim(500), {"PixelPaddingValue": 500}, 0),
    "padding declared, not there": (BODY, {"PixelPaddingValue": 3000}, 5),
    "a range of padding above": (with_rim(3005), {"PixelPaddingValue": 3000, "PixelPaddingRangeLimit": 3010}, 0),
    "modality LUT": (
        BODY.astype(np.uint16), NO_RESCALE | {"ModalityLUTSequence": [lut(np.arange(1800) ** 2 % 4000, "modality")]}, 0,
    ),
    "VOI LUT": (BODY.astype(np.uint16), {"VOILUTSequence": [lut(np.arange(1800), "voi")]}, 5),
    "inverted": (BODY, {"PhotometricInterpretation": "MONOCHROME1"}, 5),
    "wide and smooth": (wide("smooth"), {}, 5),
    "wide, and its levels would wrap": (wide("extremes"), {}, 0),
    "RGB": (RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8), NO_RESCALE, 5),
    "a narrow strip": (BODY[:5], {}, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_dicom(tmp_path: Path, write_dicom: WriteDicom, name: str) -> None:
    """The record's number, and what lies in the shard at each level that it allows: the low-pass of the file's own values."""
    pixels, elements, safe = CASES[name]
    write_dicom(tmp_path / "src/a.dcm", pixels, **({"BurnedInAnnotation": "NO"} | elements))
    with packed(tmp_path) as dataset:
        (sample,) = dataset
        record = dataset.index.records[0]
        np.testing.assert_array_equal(sample.stored, pixels)
        assert int(record["safe_levels"]) == safe
        for level, truth in enumerate(iterate_levels(pixels.astype(np.int32), safe), 1):
            coded = htj2k.decode(level_bytes(dataset.shards, record, level), level, shape=pixels.shape)
            np.testing.assert_array_equal(coded.astype(np.int64) - int(record["bias"]), truth)


def test_a_palette_is_applied_before_levels_are_made(tmp_path: Path, write_dicom: WriteDicom) -> None:
    """No shard holds indices: what is averaged is colour, in which neighbours of an index need not be alike."""
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint8)
    colours: dict[str, Any] = {}
    for name, values in zip(("Red", "Green", "Blue"), table, strict=True):
        colours[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        colours[f"{name}PaletteColorLookupTableData"] = values.tobytes()
    indices = RNG.integers(0, 256, SHAPE).astype(np.uint8)
    write_dicom(
        tmp_path / "src/a.dcm", indices, PhotometricInterpretation="PALETTE COLOR", BurnedInAnnotation="NO", **NO_RESCALE, **colours,
    )  # fmt: skip
    with packed(tmp_path) as dataset:
        (sample,) = dataset
        np.testing.assert_array_equal(sample.stored, table.T[indices])
        record = dataset.index.records[0]
        assert int(record["safe_levels"]) == 5
        truth = next(iterate_levels(table.T[indices].astype(np.int32), 1))
        coded = htj2k.decode(level_bytes(dataset.shards, record, 1), 1, shape=sample.shape)
        np.testing.assert_array_equal(coded.astype(np.int64) - int(record["bias"]), truth)


def test_label_maps_that_are_packed_as_images_are_decoded_in_full(tmp_path: Path) -> None:
    """By their few values or by their name: the mean of liver (1) and kidney (3) is no spleen (2)."""
    source = tmp_path / "src"
    source.mkdir()
    labels = RNG.integers(0, 4, (*SHAPE, 3)).astype(np.uint8)
    for name, values in (("few", labels), ("scan", RNG.integers(0, 900, labels.shape).astype(np.int16))):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), source / f"{name}.nii")  # type: ignore[no-untyped-call]
    write_png(source / "knee_mask.png", RNG.integers(0, 256, SHAPE).astype(np.uint8))
    write_png(source / "knee.png", RNG.integers(0, 256, SHAPE).astype(np.uint8))
    with packed(tmp_path, include=("looks-like-mask",)) as dataset:
        assert len(dataset) == 8
        assert sorted(sample.meta["safe_levels"] for sample in dataset) == [0] * 4 + [5] * 4
        assert all(s.meta["safe_levels"] == 0 for s in dataset if len(np.unique(s.stored)) <= 4)


def test_raw_has_no_levels(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "src/a.dcm", BODY)
    with packed(tmp_path, codec="raw") as dataset:
        assert int(dataset.index.records[0]["safe_levels"]) == 0
