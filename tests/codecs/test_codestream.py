"""Promise: a cut stream decodes, in any JPEG 2000 decoder, to the reduced image; it needs its prefix and no byte more;
and what is not one of our streams raises CorruptSample and nothing else."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.codecs import htj2k
from radload.codecs.codestream import cut, layout, level_shape
from radload.codecs.encoded import Encoded
from radload.codecs.wavelet import iterate_levels
from radload.errors import CorruptSample

# Widths of 65,365 (FF55) and heights of 65,280 (FF00) put marker bytes into SIZ.
SIZES = [
    (1, 1),
    (1, 2),
    (1, 97),
    (89, 1),
    (2, 3),
    (3, 3),
    (31, 33),
    (64, 64),
    (65, 63),
    (127, 211),
    (256, 65_365 // 256),
]
LONG = [(1, 65_365), (65_280, 1), (1, 65_535), (65_365, 2)]


def encode(shape: tuple[int, ...], seed: int = 0) -> tuple[NDArray[np.uint16], Encoded]:
    """A smooth image with noise of 12 bits, and its stream."""
    i, j = np.indices(shape[:2])
    wave = 1500 * np.sin(i / 9) * np.cos(j / 13) + 2000
    noise = np.random.default_rng(seed).normal(0, 60, shape)
    image = (wave[..., None] if len(shape) == 3 else wave) + noise
    image = image.clip(0, 4095).astype(np.uint16)
    return image, htj2k.encode(image)


def prefix(encoded: Encoded, level: int) -> bytes:
    return encoded.data[: encoded.level_end[level - 1]] if level else encoded.data


@pytest.mark.parametrize(
    "shape", [*SIZES, *LONG, (2000, 1501), (1, 1, 3), (3, 5, 3), (64, 3, 3), (119, 87, 3)], ids=str
)
def test_cut_streams_equal_reduced_decodes(shape: tuple[int, ...]) -> None:
    _, encoded = encode(shape)
    for level in range(6):
        expected = imagecodecs.htj2k_decode(encoded.data, skipres=level, planar=False)
        assert expected.shape == level_shape(shape, level)
        np.testing.assert_array_equal(
            imagecodecs.htj2k_decode(cut(prefix(encoded, level), level), planar=False), expected
        )
        np.testing.assert_array_equal(htj2k.decode(prefix(encoded, level), level, shape=shape), expected)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (65, 64), (131, 97), (40, 50, 3)], ids=str)
def test_openjpeg_decodes_cut_streams_to_the_same(shape: tuple[int, ...]) -> None:
    _, encoded = encode(shape)
    for level in range(6):
        stream = cut(prefix(encoded, level), level)
        np.testing.assert_array_equal(
            np.asarray(imagecodecs.jpeg2k_decode(stream)).reshape(level_shape(shape, level)),
            imagecodecs.htj2k_decode(encoded.data, skipres=level, planar=False),
        )


@given(shape=st.tuples(st.integers(1, 140), st.integers(1, 140)), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_cut_streams_of_any_size(shape: tuple[int, int], seed: int) -> None:
    _, encoded = encode(shape, seed)
    for level in range(6):
        decoded = htj2k.decode(prefix(encoded, level), level)
        np.testing.assert_array_equal(decoded, imagecodecs.htj2k_decode(encoded.data, skipres=level))


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    low=st.integers(0, 65_535),
    span=st.integers(0, 65_535),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_cut_streams_of_any_range(shape: tuple[int, int], low: int, span: int, seed: int) -> None:
    """Noise over any part of 16 bits: whatever wraps wraps alike, and what is called safe is the true low-pass."""
    rng = np.random.default_rng(seed)
    image = rng.integers(low, min(low + span, 65_535), shape, endpoint=True).astype(np.uint16)
    encoded = htj2k.encode(image)
    truth = list(iterate_levels((image.astype(np.int64) + encoded.bias).astype(np.int32), 5))
    for level in range(6):
        decoded = htj2k.decode(prefix(encoded, level), level, shape=shape)
        np.testing.assert_array_equal(decoded, imagecodecs.htj2k_decode(encoded.data, skipres=level))
        if 0 < level <= encoded.safe_levels:
            np.testing.assert_array_equal(decoded, truth[level - 1])


def test_a_level_needs_its_prefix_and_nothing_else() -> None:
    _, encoded = encode((131, 97))
    for level in range(1, 6):
        needed = prefix(encoded, level)
        stream = cut(needed, level)
        rest = np.random.default_rng(level).bytes(len(encoded.data) - len(needed))
        assert cut(encoded.data, level) == cut(needed + rest, level) == stream
        with pytest.raises(CorruptSample, match="needs"):
            cut(needed[:-1], level)
    assert cut(encoded.data, 0) == encoded.data
    for wrong in (encoded.data[:-1], encoded.data + b"\0", encoded.data[: encoded.level_end[0]]):
        with pytest.raises(CorruptSample):
            cut(wrong, 0)


def test_a_cut_stream_is_an_ordinary_one() -> None:
    """One tile, no TLM, the smaller size in SIZ, the lower number of levels in COD, EOC at the end."""
    _, encoded = encode((131, 97))
    stream = cut(prefix(encoded, 2), 2)
    assert stream[:2] == b"\xff\x4f" and stream[-2:] == b"\xff\xd9"
    header = stream[: stream.index(b"\xff\x90\x00\x0a")]
    assert b"\xff\x55\x00" not in header
    assert int.from_bytes(header[8:12], "big") == 25 and int.from_bytes(header[12:16], "big") == 33
    assert header[header.index(b"\xff\x52") + 9] == 3
    position, parts = len(header), []
    while stream[position : position + 2] == b"\xff\x90":  # tile-parts lie end to end and number themselves
        length, index, count = struct.unpack_from(">IBB", stream, position + 6)
        parts.append((index, count))
        position += length
    assert parts == [(index, 4) for index in range(4)] and stream[position:] == b"\xff\xd9"


def test_layout_is_what_encode_recorded() -> None:
    _, encoded = encode((40, 50, 3))
    found = layout(encoded.data)
    assert (found.shape, found.levels, found.level_end) == ((40, 50, 3), 5, encoded.level_end)


def test_level_shapes() -> None:
    assert [level_shape((512, 5), k) for k in range(4)] == [(512, 5), (256, 3), (128, 2), (64, 1)]
    assert level_shape((33, 1, 3), 5) == (2, 1, 3)


@pytest.mark.parametrize("level", [6, 40])
def test_a_level_that_the_stream_has_not_is_refused(level: int) -> None:
    _, encoded = encode((64, 64))
    with pytest.raises(CorruptSample, match="5 resolution levels"):
        cut(encoded.data, level)
    with pytest.raises(ValueError, match="negative"):
        cut(encoded.data, -1)


GREY = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) % 251
OTHERS = {
    "empty": b"",
    "one byte": b"\xff",
    "text": b"not an image at all" * 20,
    "zeros": bytes(4000),
    "SOC only": b"\xff\x4f\xff\x51",
    "png": imagecodecs.png_encode(GREY),
    "jpeg 2000": imagecodecs.jpeg2k_encode(GREY, codecformat="j2k", reversible=True),
    "jp2": imagecodecs.jpeg2k_encode(GREY, codecformat="jp2", reversible=True),
    "no tile-parts": imagecodecs.htj2k_encode(GREY, tlm=True),
    "no TLM": imagecodecs.htj2k_encode(GREY, tilepart=1),
    "8 bit": imagecodecs.htj2k_encode(GREY.astype(np.uint8), tlm=True, tilepart=1),
    "signed": imagecodecs.htj2k_encode(GREY.astype(np.int16), tlm=True, tilepart=1),
    "lossy": imagecodecs.htj2k_encode(GREY, tlm=True, tilepart=1, reversible=False),
    "tiles": imagecodecs.htj2k_encode(GREY, tlm=True, tilepart=1, tile=(32, 32)),
    "two components": imagecodecs.htj2k_encode(np.stack([GREY] * 2, -1), tlm=True, tilepart=1, planar=False),
    "six levels": imagecodecs.htj2k_encode(GREY, tlm=True, tilepart=1, resolutions=6),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("level", [0, 2])
def test_other_streams_are_refused(name: str, level: int) -> None:
    with pytest.raises(CorruptSample, match="damaged"):
        cut(OTHERS[name], level)


BASES = [encode(shape)[1] for shape in [(1, 1), (70, 50), (33, 20, 3)]]


@given(
    base=st.sampled_from(BASES),
    level=st.integers(0, 5),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6),
    length=st.one_of(st.none(), st.integers(0, 400)),
    insert=st.one_of(st.none(), st.tuples(st.integers(0, 200), st.binary(max_size=20))),
)
@settings(max_examples=600, deadline=None)
def test_damaged_headers_raise_corrupt_sample_and_nothing_else(
    base: Encoded,
    level: int,
    changes: list[tuple[int, int]],
    length: int | None,
    insert: tuple[int, bytes] | None,
) -> None:
    data = bytearray(prefix(base, level))
    for position, value in changes:
        data[position % len(data)] = value
    if insert is not None:
        data[insert[0] : insert[0]] = insert[1]
    del data[len(data) if length is None else length :]
    try:
        stream = cut(bytes(data), level)
    except CorruptSample as error:
        assert "codestream" in str(error)
    else:  # what passes is a stream of the level's size that ends as one
        assert stream.startswith(b"\xff\x4f\xff\x51") and stream.endswith(b"\xff\xd9")


@given(st.binary(max_size=400), st.integers(0, 5))
def test_garbage_raises_corrupt_sample(data: bytes, level: int) -> None:
    for content in (data, BASES[1].data[:115] + data, b"\xff\x4f\xff\x51\x00\x29" + data):
        with pytest.raises(CorruptSample):
            cut(content, level)


def test_every_byte_that_the_format_fixes_is_checked() -> None:
    """SOC, SIZ, CAP but for Ccap, COD, QCD but for its exponents, all of TLM and the first SOT; one flip at a time."""
    data = BASES[1].data
    cod, qcd, tlm = (data.index(marker) for marker in (b"\xff\x52", b"\xff\x5c", b"\xff\x55"))
    fixed = [*range(53), *range(cod, cod + 14), *range(qcd, qcd + 4), *range(tlm, tlm + 42 + 12)]
    for position in fixed:
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        with pytest.raises(CorruptSample):
            cut(bytes(damaged), 0)
