"""Rules 1 to 4, 9 and 10: bits of every encoding come out as the integers that were meant, frame by frame."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders import RLELosslessEncoder
from source_make import make_dicom

from radload.sources import Refused, Slice, read, scan

RLE = "1.2.840.10008.1.2.5"
JPEG_LOSSLESS, JPEG_LOSSLESS_1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_2000, HTJ2K = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"
RANDOM = np.random.default_rng(0)


def module(values: NDArray[Any], stored: int, signed: bool, **more: Any) -> dict[str, Any]:
    """Image Pixel attributes for encapsulated frames of `values`' shape."""
    bits = values.dtype.itemsize * 8
    return {
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "BitsAllocated": bits,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(signed),
        **more,
    }


def slices(path: Path) -> list[Slice]:
    pieces = list(read(path))
    assert all(isinstance(piece, Slice) for piece in pieces), pieces
    return [piece for piece in pieces if isinstance(piece, Slice)]


def rle(values: NDArray[Any]) -> bytes:
    data: bytes = RLELosslessEncoder.encode(
        values.tobytes(),
        rows=values.shape[0],
        columns=values.shape[1],
        samples_per_pixel=1,
        bits_allocated=values.dtype.itemsize * 8,
        bits_stored=values.dtype.itemsize * 8,
        pixel_representation=0,
        number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
        encoding_plugin="pydicom",
    )
    return data


def deflate(values: NDArray[Any]) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(values.tobytes()) + packer.flush()


ENCODERS: dict[str, Callable[[NDArray[Any]], bytes]] = {
    RLE: rle,
    JPEG_LOSSLESS: lambda values: imagecodecs.ljpeg_encode(values, bitspersample=values.dtype.itemsize * 8),
    JPEG_LOSSLESS_1: lambda values: imagecodecs.ljpeg_encode(values, bitspersample=values.dtype.itemsize * 8),
    JPEG_LS: imagecodecs.jpegls_encode,
    JPEG_2000: lambda values: imagecodecs.jpeg2k_encode(values, codecformat="j2k", reversible=True, level=0),
    HTJ2K: lambda values: imagecodecs.htj2k_encode(values, reversible=True),
    HTJ2K_RPCL: lambda values: imagecodecs.htj2k_encode(values, reversible=True, tlm=True, tilepart=1),
    DEFLATED_FRAME: deflate,
}


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("signed", [False, True])
def test_rules_2_and_3_bits_above_bits_stored_mean_nothing(tmp_path: Path, syntax: str, signed: bool) -> None:
    """Rules 2 and 3: 12 bits in 16-bit words whose other bits hold an old overlay; two's complement is of Bits Stored."""
    low = -2048 if signed else 0
    values = RANDOM.integers(low, low + 4096, (9, 8))
    words = ((values & 0xFFF) | (RANDOM.integers(0, 16, values.shape) << 12)).astype(np.uint16)
    data = encapsulate([ENCODERS[syntax](words)])
    (piece,) = slices(make_dicom(tmp_path / "a.dcm", data, syntax, **module(words, 12, signed)))
    assert piece.stored.dtype == np.dtype("i2" if signed else "u2")
    np.testing.assert_array_equal(piece.stored, values)
    assert not piece.lossy


@pytest.mark.parametrize("syntax", [RLE, DEFLATED_FRAME])
def test_rule_2_high_bit_of_byte_oriented_encodings(tmp_path: Path, syntax: str) -> None:
    """Rule 2: old files put 12 bits into the upper end of the word; RLE and deflate carry words as they are."""
    values = RANDOM.integers(0, 4096, (6, 8))
    words = ((values << 4) | RANDOM.integers(0, 16, values.shape)).astype(np.uint16)
    attributes = {**module(words, 12, False), "HighBit": 15}
    (piece,) = slices(make_dicom(tmp_path / "a.dcm", encapsulate([ENCODERS[syntax](words)]), syntax, **attributes))
    np.testing.assert_array_equal(piece.stored, values)


@pytest.mark.parametrize(
    ("stream", "signed", "stored"),
    [("i2", False, 16), ("u2", True, 16), ("i2", True, 12), ("u2", True, 12), ("u1", False, 16), ("u1", False, 12)],
)
def test_rule_4_signs_and_precisions_of_a_codestream_that_differ_from_the_header(
    tmp_path: Path, stream: str, signed: bool, stored: int
) -> None:
    """Rule 4: the header's Pixel Representation and Bits Stored say how the stream's bits are read."""
    limits = np.iinfo(stream)
    values = RANDOM.integers(limits.min, limits.max + 1, (9, 8)).astype(stream)
    if stored == 12 and stream != "u1":
        values >>= 4
    data = ENCODERS[JPEG_2000](values)
    attributes = module(values.astype("u2"), stored, signed)
    (piece,) = slices(make_dicom(tmp_path / "a.dcm", encapsulate([data]), JPEG_2000, **attributes))
    words = values.astype(np.int64) & ((1 << stored) - 1)
    expected = np.where(words >> (stored - 1), words - (1 << stored), words) if signed else words
    np.testing.assert_array_equal(piece.stored, expected)


@pytest.mark.parametrize(
    ("table", "fragments"), [("basic", 1), ("basic", 3), ("none", 1), ("none", 3), ("extended", 1)]
)  # the extended table is for one fragment per frame (PS3.5 A.4)
def test_rule_9_frames_are_told_apart(tmp_path: Path, table: str, fragments: int) -> None:
    """Rule 9: by the Basic or the Extended Offset Table, or without one by counting fragments or by end markers."""
    values = RANDOM.integers(0, 4096, (4, 9, 8)).astype(np.uint16)
    frames = [ENCODERS[JPEG_2000](frame) for frame in values]
    more: dict[str, Any] = {"NumberOfFrames": 4}
    if table == "extended":
        data, offsets, lengths = encapsulate_extended(frames)
        more |= {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    else:
        data = encapsulate(frames, fragments_per_frame=fragments, has_bot=table == "basic")
    pieces = slices(make_dicom(tmp_path / "a.dcm", data, JPEG_2000, **module(values[0], 16, False, **more)))
    np.testing.assert_array_equal([piece.stored for piece in pieces], values)


@pytest.mark.parametrize("frames", [None, "", "0", "2 ", " 2"])
def test_rule_9_number_of_frames_in_every_writing(tmp_path: Path, frames: str | None) -> None:
    """Rule 9: absent, empty and 0 mean one frame; spaces mean nothing."""
    values = RANDOM.integers(0, 99, (2, 3, 4)).astype(np.uint16)
    path = make_dicom(tmp_path / "a.dcm", values, NumberOfFrames=("LO", "7" if not frames else frames.strip()))
    text = (frames or "").encode()
    if frames is None:
        path = make_dicom(tmp_path / "a.dcm", values, NumberOfFrames=None)
    else:
        old = path.read_bytes()
        at = old.index(b"\x28\x00\x08\x00LO")
        text += b" " * (len(text) % 2)
        path.write_bytes(old[:at] + b"\x28\x00\x08\x00IS" + len(text).to_bytes(2, "little") + text + old[at + 10 :])
    count = 2 if frames and "2" in frames else 1
    assert scan(path, "a").frames == count
    np.testing.assert_array_equal([piece.stored for piece in slices(path)], values[:count])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 9), cols=st.integers(1, 9), frames=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_rule_10_one_bit_frames_need_no_whole_bytes(
    tmp_path: Path, rows: int, cols: int, frames: int, seed: int
) -> None:
    """Rule 10: frames of one bit follow one another within a byte; deflated ones begin at one (PS3.5 A.4)."""
    values = np.random.default_rng(seed).integers(0, 2, (frames, rows, cols)).astype(np.uint8)
    attributes = {
        "NumberOfFrames": frames, "Rows": rows, "Columns": cols, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0,
        "PixelRepresentation": 0,
    }  # fmt: skip
    path = make_dicom(tmp_path / "a.dcm", np.packbits(values.ravel(), bitorder="little").tobytes(), **attributes)
    np.testing.assert_array_equal([piece.stored for piece in slices(path)], values)
    data = encapsulate([deflate(np.packbits(frame.ravel(), bitorder="little")) for frame in values])
    path = make_dicom(tmp_path / "b.dcm", data, DEFLATED_FRAME, **attributes)
    np.testing.assert_array_equal([piece.stored for piece in slices(path)], values)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", DEFLATED_FRAME]
)
def test_rule_10_integers_of_every_width(tmp_path: Path, dtype: str, syntax: str) -> None:
    """Rule 10: one, two and four bytes, signed or not, implicit, explicit, deflated as a file and by frame."""
    limits = np.iinfo(dtype)
    values = RANDOM.integers(limits.min, limits.max, (2, 5, 3), dtype=dtype, endpoint=True)
    pixels: Any = values
    attributes: dict[str, Any] = {}
    if syntax == DEFLATED_FRAME:
        attributes = module(values[0], limits.bits, limits.min < 0, NumberOfFrames=2)
        pixels = encapsulate([deflate(frame) for frame in values])
    pieces = slices(make_dicom(tmp_path / "a.dcm", pixels, syntax, **attributes))
    assert pieces[0].stored.dtype == np.dtype(dtype)
    np.testing.assert_array_equal([piece.stored for piece in pieces], values)


@pytest.mark.parametrize(
    ("dtype", "vr"), [("u1", "OB"), ("u1", "OW"), ("i1", "OW"), ("i2", "OW"), ("u2", "OW"), ("u4", "OW")]
)
def test_rule_10_big_endian_words(tmp_path: Path, dtype: str, vr: str) -> None:
    """Rule 10: retired Explicit VR Big Endian; 8-bit pixels in 16-bit words change places in pairs, also over a frame's end."""
    limits = np.iinfo(dtype)
    values = RANDOM.integers(limits.min, limits.max, (3, 3, 3), dtype=dtype, endpoint=True)
    path = make_dicom(tmp_path / "a.dcm", values, "1.2.840.10008.1.2.2")
    data = values.astype(values.dtype.newbyteorder(">")).tobytes()
    if values.itemsize == 1 and vr == "OW":
        data = np.frombuffer(data + b"\0" * (len(data) % 2), "u2").byteswap().tobytes()
    old = path.read_bytes()
    at = old.index(b"\x7f\xe0\x00\x10OW")
    data += b"\0" * (len(data) % 2)
    path.write_bytes(old[: at + 4] + vr.encode() + b"\0\0" + len(data).to_bytes(4, "big") + data)
    np.testing.assert_array_equal([piece.stored for piece in slices(path)], values)


@pytest.mark.parametrize("cut", [0.0, 0.5])
def test_a_damaged_deflated_frame_is_refused(tmp_path: Path, cut: float) -> None:
    """A deflated frame that is cut or no deflate stream costs itself; one that would grow without end is stopped."""
    values = RANDOM.integers(0, 4096, (16, 16)).astype(np.uint16)
    whole = deflate(values)
    for bad, code in (
        (whole[: int(len(whole) * cut)] + b"\0" * 4, r"truncated|decode-failed"),
        (b"\xff" * 40, "decode-failed"),
    ):
        path = make_dicom(tmp_path / "a.dcm", encapsulate([bad]), DEFLATED_FRAME, **module(values, 16, False))
        with pytest.raises(Refused, match=code):
            list(read(path))
    bomb = encapsulate([deflate(np.zeros(1 << 24, np.uint8))])
    (piece,) = slices(make_dicom(tmp_path / "b.dcm", bomb, DEFLATED_FRAME, **module(values, 16, False)))
    assert piece.stored.nbytes == values.nbytes


@pytest.mark.parametrize(("implicit", "syntax"), [(True, "1.2.840.10008.1.2"), (False, "1.2.840.10008.1.2.1")])
def test_rule_1_without_meta_information(tmp_path: Path, implicit: bool, syntax: str) -> None:
    """Rule 1: a bare data set says itself whether its VRs are explicit; a compressed one without a syntax is refused."""
    values = RANDOM.integers(0, 99, (3, 4)).astype(np.uint16)
    whole = make_dicom(tmp_path / "a.dcm", values, syntax).read_bytes()
    bare = tmp_path / "b.dcm"
    bare.write_bytes(whole[whole.index(b"\x08\x00\x08\x00") :])
    np.testing.assert_array_equal(slices(bare)[0].stored, values)
    packed = make_dicom(
        tmp_path / "c.dcm", encapsulate([ENCODERS[JPEG_LS](values)]), JPEG_LS, **module(values, 16, False)
    ).read_bytes()
    bare.write_bytes(packed[packed.index(b"\x08\x00\x08\x00") :])
    with pytest.raises(Refused, match="bad-header"):
        list(read(bare))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.110"])
def test_rule_1_unknown_syntaxes_are_named(tmp_path: Path, syntax: str) -> None:
    """Rule 1: no decoder is guessed for a syntax that none reads (video, retired JPEG, JPEG XL)."""
    values = RANDOM.integers(0, 99, (3, 4)).astype(np.uint16)
    path = make_dicom(tmp_path / "a.dcm", encapsulate([b"\0" * 40]), syntax, **module(values, 16, False))
    with pytest.raises(Refused, match=f"unsupported-transfer-syntax: .*{syntax}"):
        scan(path, "a")
