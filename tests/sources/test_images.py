"""PNG and JPEG give the values that they store, and nothing where a byte of them is damaged."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from radload.sources import Header, Refused, Slice, Units, read, scan

RNG = np.random.default_rng(1)


def write(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def both(path: Path) -> tuple[Header, Slice]:
    (piece,) = read(path)
    assert isinstance(piece, Slice)
    header = scan(path, path.name)
    assert (header.rows, header.cols) == piece.stored.shape[:2]
    assert header.channels == (3 if piece.stored.ndim == 3 else 1)
    assert (header.frames, piece.attributes.units) == (1, Units.DISPLAY)
    return header, piece


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_grey_values_are_exact(tmp_path: Path, dtype: str) -> None:
    values = RNG.integers(0, np.iinfo(dtype).max + 1, (7, 9)).astype(dtype)
    _, piece = both(write(tmp_path / "a.png", Image.fromarray(values)))
    assert piece.stored.dtype == np.dtype(dtype)
    assert np.array_equal(piece.stored, values)
    assert (piece.exact, piece.lossy, piece.bits_stored) == (True, False, 8 * np.dtype(dtype).itemsize)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("opaque", [True, False])
def test_alpha_is_dropped_and_said(tmp_path: Path, dtype: str, opaque: bool) -> None:
    for channels in (2, 4):
        values = RNG.integers(0, np.iinfo(dtype).max + 1, (5, 6, channels)).astype(dtype)
        if opaque:
            values[..., -1] = np.iinfo(dtype).max
        path = tmp_path / "a.png"
        path.write_bytes(imagecodecs.png_encode(values))
        _, piece = both(path)
        assert np.array_equal(piece.stored, values[..., 0] if channels == 2 else values[..., :3])
        assert piece.exact is opaque


def test_colour_of_16_bits_is_not_cut_to_8(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (5, 6, 3)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    header, piece = both(tmp_path / "a.png")
    assert np.array_equal(piece.stored, values)
    assert header.bits == 16


def test_a_palette_stays_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4))
    image = image.convert("P")
    image.putpalette([value for index in range(16) for value in (index, 2 * index, 3 * index)])
    _, piece = both(write(tmp_path / "a.png", image))
    assert piece.photometric == "PALETTE COLOR"
    assert piece.palette is not None
    assert piece.palette[piece.stored[3, 3]].tolist() == [15, 30, 45]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_small_depths_keep_their_values(tmp_path: Path, depth: int) -> None:
    per_byte, top = 8 // depth, 2**depth
    row = [value % top for value in range(2 * per_byte)]
    packed = bytes(
        sum(value << (8 - depth * (place + 1)) for place, value in enumerate(row[start : start + per_byte]))
        for start in (0, per_byte)
    )

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", len(row), 1, depth, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" + packed))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "a.png").write_bytes(data)
    _, piece = both(tmp_path / "a.png")
    assert (piece.stored.tolist(), piece.bits_stored, piece.stored.dtype) == ([row], depth, np.dtype("u1"))


def test_jpeg_is_lossy_and_its_exif_ignored(tmp_path: Path) -> None:
    values = np.tile(np.arange(0, 240, 4, dtype=np.uint8), (30, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated, says EXIF
    _, piece = both(write(tmp_path / "a.jpg", Image.fromarray(values), quality=95, exif=exif))
    assert piece.lossy
    assert np.abs(piece.stored.astype(int) - values).mean() < 2
    both(write(tmp_path / "b.jpg", Image.fromarray(np.stack([values] * 3, axis=-1))))
    with pytest.raises(Refused, match="unsupported-colour"):
        scan(write(tmp_path / "c.jpg", Image.new("CMYK", (8, 8))), "c")


def test_every_flipped_byte_of_a_png_is_noticed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (6, 6)).astype(np.uint8)).save(buffer, "png")
    data, path = buffer.getvalue(), tmp_path / "a.png"
    for position in range(8, len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        with pytest.raises(Refused, match=r"bad-checksum|truncated|bad-header|too-large"):
            list(read(path))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, Image.fromarray(RNG.integers(0, 256, (64, 64)).astype(np.uint8)))
    data = path.read_bytes()
    for length in (10, 40, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:length])
        with pytest.raises(Refused, match=r"truncated|decode-failed|bad-header"):
            list(read(path))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for side in (60000, 70000):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
        with pytest.raises(Refused, match="too-large"):
            list(read(tmp_path / "a.png"))
