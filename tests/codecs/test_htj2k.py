"""Promise: every integer image comes back exactly, `safe_levels` is truthful, and damage never passes for an image."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.codecs import htj2k
from radload.codecs.checksum import crc32c
from radload.codecs.wavelet import iterate_levels
from radload.dataset.schema import Codec
from radload.errors import CorruptSample


@st.composite
def images(draw: st.DrawFn) -> NDArray[np.generic]:
    """Integer images of every stored dtype, 1 x 1 to 130 x 70, with the extreme values of their range in them."""
    dtype: np.dtype[Any] = np.dtype(
        draw(st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", ">u2", ">i2"]))
    )
    limits = np.iinfo(dtype)
    reach = 2**31 - 1 - 65_535
    lowest, highest = max(limits.min, -reach), min(limits.max, reach)
    low = draw(st.one_of(st.just(lowest), st.integers(lowest, highest)))
    high = draw(st.one_of(st.just(min(highest, low + 65_535)), st.integers(low, min(highest, low + 65_535))))
    shape: tuple[int, ...] = draw(st.tuples(st.integers(1, 130), st.integers(1, 70)))
    if draw(st.booleans()) and dtype in (np.uint8, np.uint16):
        shape = (*shape, 3)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "extremes", "steps"]))
    if kind == "noise":
        values = rng.integers(low, high, shape, endpoint=True)
    elif kind == "extremes":
        values = np.where(rng.random(shape) < 0.5, low, high)
    else:
        values = np.where(np.indices(shape).sum(0) // 7 % 2 == 0, low, high)
    return values.astype(dtype)


@given(images(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_round_trip_is_exact(image: NDArray[np.generic], fortran: bool) -> None:
    image = np.asfortranarray(image) if fortran else image
    encoded = htj2k.encode(image)
    assert encoded.codec is Codec.HTJ2K
    native = image.dtype.newbyteorder("=")
    stored = htj2k.decode_stored(encoded.data, encoded.bias, native, image.shape)
    assert stored.dtype == native
    np.testing.assert_array_equal(stored, image)
    room = np.full(image.shape, 7, np.uint16)
    again = htj2k.decode_stored(encoded.data, encoded.bias, native, image.shape, room)
    assert again.dtype == native and np.shares_memory(again, room) == (native.itemsize == 2)
    np.testing.assert_array_equal(again, image)


@given(images())
@settings(max_examples=60, deadline=None)
def test_safe_levels_hold_the_true_low_pass(image: NDArray[np.generic]) -> None:
    encoded = htj2k.encode(image)
    coded = (image.astype(np.int64) + encoded.bias).astype(np.int32)
    for k, truth in enumerate(iterate_levels(coded, encoded.safe_levels), 1):
        np.testing.assert_array_equal(htj2k.decode(encoded.data[: encoded.level_end[k - 1]], k), truth)
        assert 2**k <= min(image.shape[:2])


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_a_full_range_image_gets_no_level_that_wraps(shape: tuple[int, ...]) -> None:
    image = (np.random.default_rng(0).integers(0, 2, shape) * 65_535).astype(np.uint16)
    encoded = htj2k.encode(image)
    np.testing.assert_array_equal(htj2k.decode_stored(encoded.data, encoded.bias, "u2", shape), image)
    truth = next(iterate_levels((image.astype(np.int64) + encoded.bias).astype(np.int32), 1))
    assert truth.min() < 0 or truth.max() > 65_535
    assert encoded.safe_levels == 0


def test_a_wide_but_smooth_image_keeps_its_levels() -> None:
    ramp = np.add.outer(np.arange(256), np.arange(256)) * 120  # 0..61,200
    encoded = htj2k.encode(ramp.astype(np.uint16))
    assert encoded.safe_levels == 5


@pytest.mark.parametrize(
    ("shape", "safe"), [((1, 1), 0), ((1, 500), 0), ((2, 2), 1), ((3, 3), 1), ((31, 900), 4), ((32, 32), 5)]
)
def test_a_level_is_safe_only_while_a_pixel_is_a_block(shape: tuple[int, int], safe: int) -> None:
    encoded = htj2k.encode(np.zeros(shape, np.uint8))
    assert (encoded.levels, encoded.safe_levels) == (5, safe)
    assert len(encoded.level_end) == 5 and len(encoded.level_crc) == 6


def test_averaging_and_padding_decide_safety() -> None:
    image = np.random.default_rng(0).integers(0, 1000, (64, 64)).astype(np.int16)
    below, above, among = image.copy(), image.copy(), image.copy()
    below[:5], above[:5], among[:5] = -2000, 3000, 500
    assert htj2k.encode(image).safe_levels == 5
    assert htj2k.encode(image, averaging=False).safe_levels == 0
    assert htj2k.encode(below, padding=(-2000, -2000)).safe_levels == 5
    assert htj2k.encode(above, padding=(3000, 3100)).safe_levels == 0
    assert htj2k.encode(among, padding=(500, 500)).safe_levels == 0
    assert htj2k.encode(image, padding=(3000, 3000)).safe_levels == 5  # declared, but no pixel has it
    assert htj2k.encode(image.astype(np.uint16), padding=(-70_000, -70_000)).safe_levels == 5  # outside the dtype
    assert htj2k.encode(np.full((64, 64), 7, np.uint8), padding=(7, 7)).safe_levels == 5  # nothing but padding


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), bool),
        np.array([[0, 65_536]]),
        np.array([[2**40]]),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
    ids=lambda a: f"{a.dtype}-{a.shape}",
)
def test_what_cannot_be_held_is_refused(bad: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        htj2k.encode(bad)


@pytest.fixture(scope="module")
def sample() -> htj2k.Encoded:
    return htj2k.encode(np.random.default_rng(3).integers(-1024, 3000, (61, 47)).astype(np.int16))


def test_checksums_are_those_of_the_prefixes(sample: htj2k.Encoded) -> None:
    prefixes = [sample.data, *(sample.data[:end] for end in sample.level_end)]
    assert sample.level_crc == tuple(crc32c(p) for p in prefixes)
    assert list(sample.level_end) == sorted(sample.level_end, reverse=True)


def test_every_flipped_byte_of_a_level_is_caught(sample: htj2k.Encoded) -> None:
    prefix = sample.data[: sample.level_end[2]]
    for position in range(len(prefix)):
        damaged = bytearray(prefix)
        damaged[position] ^= 0x10
        assert crc32c(damaged) != sample.level_crc[3]


def test_decoding_into_a_given_array(sample: htj2k.Encoded) -> None:
    out = np.empty((31, 24), np.uint16)
    prefix = memoryview(sample.data)[: sample.level_end[0]]
    assert htj2k.decode(prefix, 1, out) is out
    np.testing.assert_array_equal(out, imagecodecs.htj2k_decode(sample.data, skipres=1))
    assert htj2k.decode(memoryview(bytearray(sample.data)), shape=(61, 47)).shape == (61, 47)
    wide = np.empty((31, 48), np.uint16)[:, ::2]
    refused: list[Any] = [np.empty((31, 25), np.uint16), np.empty((31, 24), np.int16), wide]
    for bad in refused:
        with pytest.raises(ValueError, match="out is"):
            htj2k.decode(prefix, 1, bad)


def test_wrong_shape_bias_or_dtype_is_corrupt(sample: htj2k.Encoded) -> None:
    with pytest.raises(CorruptSample, match="index says"):
        htj2k.decode(sample.data, shape=(61, 48))
    with pytest.raises(CorruptSample, match="do not fit uint8"):
        htj2k.decode_stored(sample.data, sample.bias, "u1", (61, 47))
    with pytest.raises(CorruptSample, match="do not fit uint16"):
        htj2k.decode_stored(sample.data, sample.bias, "u2", (61, 47))  # it has values below 0
    with pytest.raises(CorruptSample, match="do not fit int16"):
        htj2k.decode_stored(sample.data, sample.bias - 60_000, "i2", (61, 47))


def test_what_the_decoder_refuses_is_corrupt(sample: htj2k.Encoded) -> None:
    damaged = bytearray(sample.data)
    start = damaged.index(b"\xff\x5c") + 4
    damaged[start : start + 17] = bytes(17)  # QCD without guard bits and exponents: well-formed, undecodable
    with pytest.raises(CorruptSample, match="cannot be decoded"):
        htj2k.decode(bytes(damaged))
