"""Promise: whatever the codec asked for, the stored values come back exactly, and real slices show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from radload.codecs import EXTENSIONS, CodecName, crc32c, decode_mask, decode_stored, encode
from radload.dataset.schema import STORED_DTYPES, Codec
from radload.errors import CorruptSample


@given(st.data(), st.sampled_from(STORED_DTYPES), st.sampled_from(["htj2k", "raw"]))
@settings(max_examples=150, deadline=None)
def test_round_trip_of_every_dtype(data: st.DataObject, code: str, codec: CodecName) -> None:
    image = data.draw(hnp.arrays(np.dtype(code), hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
    encoded = encode(image, codec)
    if codec == "raw" or code.startswith("f"):
        assert encoded.codec is Codec.RAW
    elif np.dtype(code).itemsize <= 2:
        assert encoded.codec is Codec.HTJ2K
    stored = decode_stored(encoded.data, encoded.codec, bias=encoded.bias, dtype=code, shape=image.shape)
    assert stored.dtype == image.dtype and stored.tobytes() == image.tobytes()
    assert encoded.level_crc[0] == crc32c(encoded.data)
    assert len(encoded.level_end) == encoded.levels == len(encoded.level_crc) - 1


@pytest.mark.parametrize(
    ("image", "codec"),
    [
        (np.array([[0, 65_535]], np.int32), Codec.HTJ2K),
        (np.array([[0, 65_536]], np.int32), Codec.RAW),
        (np.array([[2**62, 2**62 + 1]], np.int64), Codec.RAW),  # a small range, but no 32-bit bias reaches it
        (np.array([[2**64 - 1]], np.uint64), Codec.RAW),
        (np.zeros((4, 5, 3), np.uint8), Codec.HTJ2K),
        (np.zeros((4, 5), np.float64), Codec.RAW),
    ],
)
def test_what_htj2k_cannot_hold_becomes_raw(image: NDArray[np.generic], codec: Codec) -> None:
    encoded = encode(image)
    assert encoded.codec is codec
    stored = decode_stored(encoded.data, codec, bias=encoded.bias, dtype=image.dtype, shape=image.shape)
    np.testing.assert_array_equal(stored, image)


def test_a_raw_member_of_another_shape_or_dtype_is_corrupt() -> None:
    encoded = encode(np.zeros((3, 4), np.int16), "raw")
    for dtype, shape in (("u2", (3, 4)), ("i2", (4, 3))):
        with pytest.raises(CorruptSample, match="index says"):
            decode_stored(encoded.data, Codec.RAW, bias=0, dtype=dtype, shape=shape)


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="no codec"):
        encode(np.zeros((3, 4), np.int16), "png")  # type: ignore[arg-type]


def test_every_codec_has_an_extension() -> None:
    assert {EXTENSIONS[codec] for codec in Codec} == {"npy", "j2c"}


@pytest.mark.parametrize(
    "series", ["ct_chest_lidc0314", "mr_brain_t2_adi", "mr_brain_t1_adi", "pt_wholebody_qinhn0024"]
)
@pytest.mark.parametrize("codec", ["htj2k", "raw"])
def test_real_slices(shared_data: Path, series: str, codec: CodecName) -> None:
    files = sorted((shared_data / "series" / series).rglob("*"))
    for path in [p for p in files if p.is_file()][::25]:
        image = pydicom.dcmread(path).pixel_array
        encoded = encode(image, codec)
        stored = decode_stored(encoded.data, encoded.codec, bias=encoded.bias, dtype=image.dtype, shape=image.shape)
        np.testing.assert_array_equal(stored, image)
        assert encoded.safe_levels == (5 if codec == "htj2k" else 0)


def test_masks_are_of_the_samples_size_and_of_whole_numbers() -> None:
    for dtype in (np.uint8, np.uint16):
        labels = np.arange(20, dtype=dtype).reshape(4, 5)
        np.testing.assert_array_equal(decode_mask(encode(labels, "raw").data, (4, 5)), labels, strict=True)
        with pytest.raises(CorruptSample, match=r"\(4, 5\) where the sample is \(5, 4\)"):
            decode_mask(encode(labels, "raw").data, (5, 4))
    with pytest.raises(CorruptSample, match="the mask holds int16"):
        decode_mask(encode(np.zeros((4, 5), np.int16), "raw").data, (4, 5))
