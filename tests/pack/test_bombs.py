"""A few bytes that claim a machine are refused at their header, or decoded within the memory that a worker may take."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import nibabel
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from source_make import make_dicom
from watch import MEMORY, Probe, memory_watch, probe

from radload.pack import PackOptions, pack
from radload.pack.executor import run_jobs
from radload.sources import Refused, dicom_file, scan

DEFLATED, RLE, JPEG, JPEG_LS, J2K = (f"1.2.840.10008.1.2{tail}" for tail in (".1.99", ".5", ".4.50", ".4.80", ".4.90"))
SMALL = np.zeros((8, 8), np.uint8)
SMALL_LIMIT = 400 << 20  # bytes: the interpreter, the libraries, and little else


def png(path: Path, rows: int, cols: int) -> None:
    header = struct.pack(">IIBBBBB", cols, rows, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (1 << 20), 9)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    )


def nifti(path: Path, shape: tuple[int, ...], voxels: int) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header["dim"][: len(shape) + 1] = len(shape), *shape
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with gzip.open(path, "wb", 9) as file:
        file.write(header.binaryblock + b"\0" * 4)
        for _ in range(voxels >> 20):
            file.write(b"\0" * (1 << 20))


def compressed(path: Path, codestream: bytes, syntax: str, side: int, **attributes: int) -> None:
    make_dicom(
        path, encapsulate([codestream + b"\0" * (len(codestream) % 2)]), syntax, Rows=side, Columns=side, BitsAllocated=8,
        BitsStored=8, HighBit=7, PixelRepresentation=0, **attributes,
    )  # fmt: skip


def sized_jpeg(codestream: bytes, marker: bytes) -> bytes:
    """The stream with 65,000 rows and columns in its frame header."""
    place = codestream.index(marker) + 5
    return codestream[:place] + struct.pack(">HH", 65_000, 65_000) + codestream[place + 4 :]


def sized_j2k(codestream: bytes) -> bytes:
    """The stream with 65,000 rows and columns, in one tile."""
    place = codestream.index(b"\xff\x51") + 6
    return (
        codestream[:place] + struct.pack(">8I", 65_000, 65_000, 0, 0, 65_000, 65_000, 0, 0) + codestream[place + 32 :]
    )


def deflated(path: Path, mebibytes: int) -> None:
    """So many MiB of zeros as the pixels of a deflated file of a thousandth of the size."""
    make_dicom(path, SMALL, DEFLATED)
    whole = path.read_bytes()
    start = 144 + int.from_bytes(whole[140:144], "little")  # (0002,0000) says how long the group is
    body = zlib.decompress(whole[start:], wbits=-zlib.MAX_WBITS)
    pixels = body.index(b"\xe0\x7f\x10\0") + 8
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    head = deflater.compress(body[:pixels] + struct.pack("<I", mebibytes << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)
    block = deflater.compress(b"\0" * (1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)  # may be repeated
    path.write_bytes(whole[:start] + head + block * mebibytes + deflater.flush())


JPEG_BOMB = sized_jpeg(imagecodecs.jpeg8_encode(SMALL), b"\xff\xc0")
LS_BOMB = sized_jpeg(imagecodecs.jpegls_encode(SMALL), b"\xff\xf7")
J2K_BOMB = sized_j2k(imagecodecs.jpeg2k_encode(SMALL, codecformat="j2k"))
BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a.png": (lambda path: png(path, 60_000, 60_000), "too-large"),
    "b.png": (lambda path: png(path, 9_000, 9_000), "decode-failed"),  # small enough to be tried
    "c.dcm": (lambda path: compressed(path, JPEG_BOMB, JPEG, 8), "decode-failed"),
    "d.dcm": (lambda path: compressed(path, JPEG_BOMB, JPEG, 65_000), "too-large"),
    "e.dcm": (lambda path: compressed(path, LS_BOMB, JPEG_LS, 8), "decode-failed"),
    "f.dcm": (lambda path: compressed(path, J2K_BOMB, J2K, 8), "decode-failed"),
    "g.dcm": (lambda path: compressed(path, J2K_BOMB, J2K, 65_000), "too-large"),
    "h.dcm": (lambda path: compressed(path, struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0", RLE, 65_000), "too-large"),
    "i.dcm": (lambda path: make_dicom(path, SMALL, NumberOfFrames=1_000_000_000), "bad-header"),
    "j.dcm": (lambda path: make_dicom(path, SMALL, NumberOfFrames=1_000_000), "bad-header"),
    "k.dcm": (lambda path: compressed(path, b"\0\0", RLE, 8, NumberOfFrames=1_000_000), "bad-header"),
    "l.nii.gz": (lambda path: nifti(path, (2, 2, 30_000, 30_000), 0), "too-large"),
    "m.nii.gz": (lambda path: nifti(path, (30_000, 30_000, 3), 0), "too-large"),
    "n.nii.gz": (lambda path: nifti(path, (512, 512, 3000, 7), 100 << 20), "truncated"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_it_is_refused_in_little_time_and_memory(tmp_path: Path, name: str) -> None:
    make, code = BOMBS[name]
    make(tmp_path / name)
    assert (tmp_path / name).stat().st_size < 4 << 20
    ((_, found),) = run_jobs(probe, [tmp_path / name], 1)
    assert isinstance(found, Probe) and found.code == code
    assert found.peak < SMALL_LIMIT and found.seconds < 10


def test_a_deflated_file_grows_to_its_limit_and_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deflated(tmp_path / "a.dcm", 40)
    monkeypatch.setattr(dicom_file, "MAX_INFLATED", 41 << 20)
    assert scan(tmp_path / "a.dcm", "a").rows == 8
    monkeypatch.setattr(dicom_file, "MAX_INFLATED", 39 << 20)
    with pytest.raises(Refused, match="too-large"):
        scan(tmp_path / "a.dcm", "a")


@pytest.mark.soak
def test_a_deflated_file_of_two_gibibytes_takes_one(tmp_path: Path) -> None:
    deflated(tmp_path / "a.dcm", 2040)
    assert (tmp_path / "a.dcm").stat().st_size < 4 << 20
    ((_, found),) = run_jobs(probe, [tmp_path / "a.dcm"], 1)
    assert isinstance(found, Probe) and found.code == "too-large"
    assert found.peak < MEMORY * 3 // 4


@pytest.mark.soak
def test_the_largest_frame_is_packed_within_the_memory_of_a_worker(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 16, (10_000, 10_000), dtype=np.uint16)
    (tmp_path / "src").mkdir()
    make_dicom(tmp_path / "src/a.dcm", values)
    with memory_watch() as peak:
        summary = pack(PackOptions(tmp_path / "src", tmp_path / "out", split="100/0/0", workers=1))
    assert summary.packed == 1
    assert values.nbytes < peak[0] < MEMORY
