"""Codestreams that once ended more than their own frame, or that claim more than their file's header does."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from source_make import make_dicom

from radload.sources import Refused, read

RLE, JPEG, JPEG_LS, J2K = (f"1.2.840.10008.1.2.{tail}" for tail in ("5", "4.50", "4.80", "4.90"))


def refusal(path: Path) -> Refused:
    with pytest.raises(Refused) as caught:
        list(read(path))
    return caught.value


def file_with(path: Path, codestream: bytes, syntax: str, side: int, bits: int) -> Path:
    return make_dicom(
        path, encapsulate([codestream]), syntax, Rows=side, Columns=side, BitsAllocated=bits, BitsStored=bits,
        HighBit=bits - 1, PixelRepresentation=0,
    )  # fmt: skip


def test_a_panic_in_rust_is_a_refusal(tmp_path: Path) -> None:
    """One RLE segment is short, the other runs beyond the frame: pylibjpeg-rle panics, and its exception is no Exception."""
    first, second = bytes.fromhex("0001"), bytes.fromhex("a102fd00")
    frame = struct.pack("<16I", 2, 64, 64 + len(first), *[0] * 13) + first + second
    assert refusal(file_with(tmp_path / "a.dcm", frame, RLE, 2, 16)).code == "decode-failed"


@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS, J2K])
def test_a_codestream_of_another_size_is_not_decoded(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    encode = {JPEG: imagecodecs.jpeg8_encode, JPEG_LS: imagecodecs.jpegls_encode, J2K: imagecodecs.jpeg2k_encode}[
        syntax
    ]
    good = bytes(encode(image))
    good += b"\0" * (len(good) % 2)
    assert list(read(file_with(tmp_path / "good.dcm", good, syntax, 8, 8)))
    for name in ("jpeg8_decode", "jpegls_decode", "jpeg2k_decode"):
        monkeypatch.setattr(imagecodecs, name, lambda *_, **__: pytest.fail("a decoder saw it"))
    assert refusal(file_with(tmp_path / "bad.dcm", good, syntax, 16, 8)).code == "decode-failed"


def test_a_jpeg_2000_stream_of_ten_thousand_components_is_not_decoded(tmp_path: Path) -> None:
    stream = bytearray(imagecodecs.jpeg2k_encode(np.zeros((8, 8), np.uint8), codecformat="j2k"))
    struct.pack_into(">H", stream, stream.index(b"\xff\x51") + 38, 10_000)
    stream += b"\0" * (len(stream) % 2)
    assert refusal(file_with(tmp_path / "a.dcm", bytes(stream), J2K, 8, 8)).code == "decode-failed"
