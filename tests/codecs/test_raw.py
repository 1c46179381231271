"""Promise: a raw member is a plain `.npy` 1.0 file of any stored dtype, read without copy, and never as a pickle."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from radload.codecs import raw
from radload.codecs.checksum import crc32c
from radload.dataset.schema import STORED_DTYPES, Codec
from radload.errors import CorruptSample

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)), st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))
)


@given(st.data(), st.sampled_from(STORED_DTYPES), st.sampled_from("<>"), st.booleans())
@settings(max_examples=150, deadline=None)
def test_round_trip_for_numpy_and_for_us(data: st.DataObject, code: str, order: str, fortran: bool) -> None:
    image = data.draw(hnp.arrays(np.dtype(order + code), SHAPES))
    image = np.asfortranarray(image) if fortran else image
    encoded = raw.encode(image)
    assert (encoded.codec, encoded.bias, encoded.levels, encoded.safe_levels) == (Codec.RAW, 0, 0, 0)
    assert encoded.level_end == () and encoded.level_crc == (crc32c(encoded.data),)
    for stored in (raw.decode(encoded.data), np.load(io.BytesIO(encoded.data), allow_pickle=False)):
        assert stored.shape == image.shape and stored.dtype == np.dtype("<" + code)
        assert stored.tobytes() == image.astype("<" + code).tobytes()  # bit for bit, NaN included
    known = raw.decode_as(encoded.data, image.shape, code)
    assert known is not None and known.shape == image.shape and known.tobytes() == stored.tobytes()


def test_our_file_is_numpys_file() -> None:
    image = np.arange(35, dtype=np.int16).reshape(5, 7)
    expected = io.BytesIO()
    np.lib.format.write_array(expected, image, version=(1, 0))
    np.testing.assert_array_equal(raw.decode(expected.getvalue()), image)
    np.testing.assert_array_equal(np.load(io.BytesIO(raw.encode(image).data)), image)


def test_nothing_is_copied() -> None:
    data = bytearray(raw.encode(np.zeros((3, 4), np.uint16)).data)
    stored = raw.decode(data)
    data[-2:] = b"\x05\x00"
    assert stored[2, 3] == 5
    assert not raw.decode(bytes(data)).flags.writeable


def _npy(array: NDArray[np.generic], **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True, **options)
    return file.getvalue()


GOOD = raw.encode(np.zeros((3, 4), np.uint16)).data
ODD = {
    "empty": b"",
    "garbage": b"\x80\x04K\x01." * 40,
    "one byte short": GOOD[:-1],
    "one byte more": GOOD + b"\0",
    "header only": GOOD[:128],
    "cut in the header": GOOD[:60],
    "format 2.0": _npy(np.zeros((3, 4), np.uint16), version=(2, 0)),
    "objects": _npy(np.array([[{}]], dtype=object)),
    "big-endian": _npy(np.zeros((3, 4), ">u2")),
    "Fortran order": _npy(np.zeros((3, 4), np.uint16, order="F")),
    "complex": _npy(np.zeros((3, 4), np.complex64)),
    "half": _npy(np.zeros((3, 4), np.float16)),
    "bool": _npy(np.zeros((3, 4), bool)),
    "structured": _npy(np.zeros((3, 4), [("a", "u1")])),
    "one dimension": _npy(np.zeros(4, np.uint16)),
    "two channels": _npy(np.zeros((3, 4, 2), np.uint16)),
    "no pixels": _npy(np.zeros((0, 4), np.uint16)),
    "too wide": _npy(np.zeros((1, 65_536), np.uint8)),
    "code in the header": GOOD.replace(b"False", b"exit("),
}


@pytest.mark.parametrize("name", ODD)
def test_anything_odd_is_corrupt(name: str) -> None:
    with pytest.raises(CorruptSample, match="damaged"):
        raw.decode(ODD[name])


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=5))
def test_damaged_headers_raise_corrupt_sample_and_nothing_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for position, value in changes:
        data[position] = value
    try:
        stored = raw.decode(data)
    except CorruptSample:
        return
    assert stored.nbytes == 24


@pytest.mark.parametrize("bad", [np.zeros((4, 4), bool), np.zeros((4, 4), np.complex64), np.zeros((4, 4), np.float16)])
def test_other_dtypes_are_refused(bad: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        raw.encode(bad)


def test_what_is_not_as_it_should_be_is_not_decoded() -> None:
    data = raw.encode(np.arange(35, dtype=np.int16).reshape(5, 7)).data
    assert raw.decode_as(data, (5, 7), "i2") is not None
    for other in (data[:-1], data + b"\0", b"\x94" + data[1:], data[:64], b""):
        assert raw.decode_as(other, (5, 7), "i2") is None
    for shape, code in (((7, 5), "i2"), ((5, 7), "u2"), ((5, 7), "f4"), ((5, 14), "u1"), ((0, 7), "i2")):
        assert raw.decode_as(data, shape, code) is None
