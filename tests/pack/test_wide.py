"""What does not fit 16 bits: raw keeps it, scale changes it by no more than it says (promise 1)."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import radload
from radload.pack import PackOptions, pack
from radload.pack.colour import Picture, to_picture
from radload.pack.wide import to_sixteen_bits
from radload.sources import Lut, Slice, read

FLOATS = st.floats(-(2.0**99), 2.0**99, width=32)


def scaled(image: Slice) -> tuple[Slice, Picture, float | None]:
    result = to_sixteen_bits(image, to_picture(image, "auto"), "scale")
    return result.image, result.picture, result.max_error


def modality(image: Slice, picture: Picture) -> NDArray[np.float64]:
    return picture.values.astype(np.float64) * image.slope + image.intercept


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        hnp.arrays(np.int32, (5, 4), elements=st.integers(-(2**31), 2**31 - 1)),
        hnp.arrays(np.uint32, (5, 4), elements=st.integers(0, 2**32 - 1)),
        hnp.arrays(np.int64, (5, 4), elements=st.integers(-(2**50), 2**50)),
        hnp.arrays(np.float32, (5, 4), elements=FLOATS),
        hnp.arrays(np.float64, (5, 4), elements=st.floats(-1e9, 1e9)),
    ),
    st.sampled_from([(1.0, 0.0), (2.5, -1024.0), (-0.3, 7.0), (1e-4, 0.0), (0.0, 5.0)]),
    st.sampled_from([None, (-1000, 1000), (-(2**31), -1)]),
)
def test_the_error_is_what_is_recorded_and_about_half_a_step(
    stored: NDArray[Any], rescale: tuple[float, float], padding: tuple[int, int] | None
) -> None:
    source = Slice(0, stored, slope=rescale[0], intercept=rescale[1], padding=padding)
    image, picture, recorded = scaled(source)
    assert recorded is not None
    if picture.exact:
        np.testing.assert_array_equal(picture.values, stored)
        assert recorded == 0.0 and (image.slope, image.intercept) == rescale
        return
    assert picture.values.dtype == np.uint16
    content = np.ones(stored.shape, bool) if picture.padding is None else picture.values != 0
    error = np.abs(modality(image, picture) - source.modality())[content]
    assert error.max() == recorded
    values = source.modality()[content]
    rounding = 16 * np.spacing(np.abs(source.modality()).max() + np.abs(image.intercept))
    assert recorded <= np.ptp(values) / 65_534 * 0.5 * (1 + 1e-9) + rounding
    if picture.padding is not None and padding is not None:
        np.testing.assert_array_equal(content, (stored < padding[0]) | (stored > padding[1]))


def test_whole_numbers_that_fit_lose_nothing() -> None:
    stored = np.array([[-1000.0, 3.0], [64_535.0, 0.0]], np.float32)
    image, picture, error = scaled(Slice(0, stored, slope=2.0, intercept=-5.0))
    assert error == 0.0 and not picture.exact
    np.testing.assert_array_equal(modality(image, picture), stored * 2.0 - 5.0)
    far = np.array([[2**40, 2**40 + 7]], np.int64)
    image, picture, error = scaled(Slice(0, far))
    assert error == 0.0
    np.testing.assert_array_equal(modality(image, picture), far)


def test_one_value_is_kept() -> None:
    image, picture, error = scaled(Slice(0, np.full((3, 3), 0.25, np.float32), slope=4.0))
    assert error == 0.0 and (modality(image, picture) == 1.0).all()


@pytest.mark.parametrize(
    "image",
    [
        Slice(0, np.array([[1.5, np.nan]], np.float32)),
        Slice(0, np.array([[1.5, -np.inf]], np.float64)),
        Slice(0, np.array([[-1.7e308, 1.7e308]], np.float64)),
        Slice(0, np.array([[0, 5e-324]], np.float64)),
        Slice(0, np.array([[0, 70_000]], np.int32), modality_lut=Lut(0, np.arange(3.0))),
        Slice(0, np.array([[0, 65_535]], np.int32)),
        Slice(0, np.array([[-32_768, 32_767]], np.int16)),
    ],
)
def test_what_no_scale_holds_or_what_fits_anyway_stays(image: Slice) -> None:
    after, picture, error = scaled(image)
    assert after is image and picture.values is image.stored and picture.exact and error == 0.0


def test_the_error_of_converted_colour_is_not_known() -> None:
    stored = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    result = to_sixteen_bits(image := Slice(0, stored, photometric="RGB"), to_picture(image, "gray"), "raw")
    assert result.max_error is None and not result.picture.exact


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
def test_a_pack_records_the_error_and_keeps_to_it(tmp_path: Path, write_dicom: WriteDicom, codec: str) -> None:
    """Promise 1: what had to change says so, and by how much."""
    random = np.random.default_rng(0)
    wide = random.integers(0, 2**32, (9, 8), np.uint32)
    write_dicom(tmp_path / "src/wide.dcm", wide, series="wide", RescaleSlope=0.001)
    narrow = write_dicom(tmp_path / "src/narrow.dcm", series="narrow")
    options = {"workers": 0, "split": "100/0/0", "codec": codec}
    pack(PackOptions(tmp_path / "src", tmp_path / "out", wide="scale", **options))  # type: ignore[arg-type]
    with radload.open(tmp_path / "out") as dataset:
        metas = {sample.shape: sample.meta for sample in dataset}
        samples = {sample.shape: sample for sample in dataset}
    meta, sample = metas[9, 8], samples[9, 8]
    assert (meta["dtype"], meta["codec"], meta["exact"]) == ("uint16", codec, False)
    value = sample.stored.astype(np.float64) * meta["slope"] + meta["intercept"]
    error = np.abs(value - (wide * 0.001 - 1000.0)).max()
    assert 0 < error == meta["max_error"] < 2**32 * 0.001 / 65_535
    assert (metas[24, 20]["max_error"], metas[24, 20]["exact"]) == (0.0, True)
    np.testing.assert_array_equal(samples[24, 20].stored, narrow)
    with tarfile.open(tmp_path / "out" / meta["shard"]) as tar:
        text = tar.extractfile(f"{sample.key}.json")
        assert text is not None and json.load(text)["max_error"] == meta["max_error"]
    with pytest.raises(radload.UsageError, match="different: --wide"):
        pack(PackOptions(tmp_path / "src", tmp_path / "out", **options))  # type: ignore[arg-type]
    with pytest.raises(radload.UsageError, match="--wide float is unknown"):
        pack(PackOptions(tmp_path / "src", tmp_path / "no", wide="float"))


def test_real_float_and_wide_files_keep_to_their_error(shared_data: Path, tmp_path: Path) -> None:
    """All of the NIfTI folder: every scaled slice differs from its file by what its row says."""
    pack(PackOptions(shared_data / "nifti", tmp_path / "out", wide="scale", workers=2))
    rows = pq.read_table(tmp_path / "out.private/crosswalk.parquet").to_pylist()
    wanted: dict[str, dict[int, Any]] = {}
    tried = 0
    with radload.open(tmp_path / "out") as dataset:
        for sample, row in zip(dataset, rows, strict=True):
            if sample.meta["exact"] or sample.meta["channels"] == 3 or sample.meta["max_error"] is None:
                continue
            if row["source"] not in wanted:
                pieces = read(shared_data / "nifti" / row["source"])
                wanted[row["source"]] = {piece.frame: piece for piece in pieces if isinstance(piece, Slice)}
            value = sample.stored.astype(np.float64) * sample.meta["slope"] + sample.meta["intercept"]
            error = np.abs(value - wanted[row["source"]][row["frame"]].modality()).max()
            assert error == sample.meta["max_error"], row["source"]
            tried += 1
    assert tried > 20
