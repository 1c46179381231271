"""Rules 6 to 8: every colour model, arranged in whatever way, ends as three full channels, or as indices with their palette."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from source_make import make_dicom

from radload.pack.colour import to_picture
from radload.sources import Refused, Slice, read, scan

RANDOM = np.random.default_rng(0)
RLE, JPEG, JPEG_2000, JPEG_LS = (
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.80",
)
DEFLATED_FRAME = "1.2.840.10008.1.2.8.1"


def colour(shape: tuple[int, int], bits: int, photometric: str, planar: int = 0, **more: Any) -> dict[str, Any]:
    allocated = 8 * -(-bits // 8)
    return {
        "Rows": shape[0],
        "Columns": shape[1],
        "SamplesPerPixel": 3,
        "PlanarConfiguration": planar,
        "PhotometricInterpretation": photometric,
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        **more,
    }


def only(path: Path) -> Slice:
    (piece,) = read(path)
    assert isinstance(piece, Slice)
    return piece


@pytest.mark.parametrize("bits", [8, 12, 16, 32])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_rule_6_planes_without_compression(tmp_path: Path, bits: int, planar: int, photometric: str) -> None:
    """Rule 6: RGBRGB and RRGGBB, of every width."""
    values = RANDOM.integers(0, 1 << bits, (3, 5, 3)).astype(f"u{-(-bits // 8)}")
    arranged = values.transpose(2, 0, 1) if planar else values
    data = arranged.astype(values.dtype.newbyteorder("<")).tobytes()
    piece = only(make_dicom(tmp_path / "a.dcm", data, **colour((3, 5), bits, photometric, planar)))
    np.testing.assert_array_equal(piece.stored, values)
    assert piece.photometric == photometric


def _rle(values: NDArray[np.uint8]) -> bytes:
    data: bytes = RLELosslessEncoder.encode(
        values.tobytes(), rows=values.shape[0], columns=values.shape[1], samples_per_pixel=3, bits_allocated=8,
        bits_stored=8, pixel_representation=0, number_of_frames=1, photometric_interpretation="RGB",
        planar_configuration=0, encoding_plugin="pydicom",
    )  # fmt: skip
    return data


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [RLE, JPEG_LS, JPEG_2000])
def test_rule_6_planar_configuration_of_codestreams_means_nothing(tmp_path: Path, syntax: str, planar: int) -> None:
    """Rule 6: a codestream has its own arrangement, whatever the tag says (PS3.5 8.2)."""
    values = RANDOM.integers(0, 256, (6, 5, 3)).astype(np.uint8)
    encode: Any = {
        RLE: _rle,
        JPEG_LS: imagecodecs.jpegls_encode,
        JPEG_2000: lambda v: imagecodecs.jpeg2k_encode(v, codecformat="j2k", reversible=True, level=0, mct=True),
    }[syntax]
    path = make_dicom(
        tmp_path / "a.dcm", encapsulate([encode(values)]), syntax, **colour((6, 5), 8, "RGB", planar)
    )  # fmt: skip
    np.testing.assert_array_equal(only(path).stored, values)


def test_rule_6_deflated_frames_keep_the_tag(tmp_path: Path) -> None:
    """Rule 6: Deflated Image Frame Compression packs native bytes: there the tag means what it says."""
    import zlib

    values = RANDOM.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    for planar in (0, 1):
        packer = zlib.compressobj(wbits=-15)
        arranged = values.transpose(2, 0, 1) if planar else values
        frame = packer.compress(arranged.tobytes()) + packer.flush()
        path = make_dicom(tmp_path / "a.dcm", encapsulate([frame]), DEFLATED_FRAME, **colour((4, 5), 8, "RGB", planar))
        np.testing.assert_array_equal(only(path).stored, values)


@pytest.mark.parametrize(("name", "expected"), [("YBR_FULL_422", "YBR_FULL"), ("YBR_PARTIAL_422", "YBR_PARTIAL")])
def test_rule_7_shared_chroma_without_compression(tmp_path: Path, name: str, expected: str) -> None:
    """Rule 7: native 4:2:2 is Y Y Cb Cr; each pair of pixels has its chroma. A file that says so and holds all is believed its length."""
    y = RANDOM.integers(0, 256, (4, 6)).astype(np.uint8)
    cb, cr = RANDOM.integers(0, 256, (2, 4, 3)).astype(np.uint8)
    words = np.stack([y[:, 0::2], y[:, 1::2], cb, cr], axis=-1)
    piece = only(make_dicom(tmp_path / "a.dcm", words.tobytes(), **colour((4, 6), 8, name)))
    whole = np.stack([y, cb.repeat(2, axis=1), cr.repeat(2, axis=1)], axis=-1)
    assert piece.photometric == expected
    np.testing.assert_array_equal(piece.stored, whole)
    full = only(make_dicom(tmp_path / "b.dcm", whole.tobytes(), **colour((4, 6), 8, name)))
    assert full.photometric == expected
    np.testing.assert_array_equal(full.stored, whole)


def test_rule_7_partial_420_is_for_codestreams(tmp_path: Path) -> None:
    """Rule 7: YBR_PARTIAL_420 has no native arrangement; with all its chroma in place it is read."""
    values = RANDOM.integers(16, 236, (4, 6, 3)).astype(np.uint8)
    piece = only(make_dicom(tmp_path / "a.dcm", values.tobytes(), **colour((4, 6), 8, "YBR_PARTIAL_420")))
    assert piece.photometric == "YBR_PARTIAL"
    np.testing.assert_array_equal(piece.stored, values)
    with pytest.raises(Refused, match="unsupported-colour"):
        scan(make_dicom(tmp_path / "b.dcm", bytes(36), **colour((4, 6), 8, "YBR_PARTIAL_420")), "b")


@pytest.mark.parametrize("bits", [8, 12])
def test_rule_7_partial_range_becomes_rgb(bits: int) -> None:
    """Rule 7: black is 16, white 235 of 8 bits (PS3.3 C.7.6.3.1.2); the equations of the standard and back."""
    rgb = RANDOM.integers(0, 1 << bits, (40, 50, 3)).astype(np.float64)
    rgb[0, :2] = [[0, 0, 0], [(1 << bits) - 1] * 3]
    forward = np.array([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])
    unit, top = (1 << bits) / 256, (1 << bits) - 1
    ybr = np.rint((rgb / top) @ (forward.T * 255 * unit) + np.array([16.0, 128.0, 128.0]) * unit)
    image = Slice(0, ybr.astype(np.uint16), photometric="YBR_PARTIAL", bits_stored=bits)
    picture = to_picture(image, "keep")
    assert (picture.photometric, picture.exact) == ("RGB", False)
    assert np.abs(picture.values.astype(np.float64) - rgb).max() <= 3  # rounded to whole steps of 219 and 224 levels
    assert picture.values[0, 0].max() <= 1 and picture.values[0, 1].min() >= top - 1


@pytest.mark.parametrize("name", ["YBR_PARTIAL_422", "YBR_PARTIAL_420"])
def test_rule_7_partial_range_in_a_jpeg(tmp_path: Path, name: str) -> None:
    """Rule 7: a JPEG that names no colour space has the header's; one that is JFIF has full range, as JFIF says."""
    rgb = np.zeros((16, 16, 3), dtype=np.uint8)
    rgb[:] = (200, 50, 30)
    data = imagecodecs.jpeg8_encode(rgb, level=98, colorspace="RGB", subsampling="422")
    path = make_dicom(tmp_path / "a.dcm", encapsulate([data]), JPEG, **colour((16, 16), 8, name))
    assert only(path).photometric == "YBR_FULL"
    length = int.from_bytes(data[4:6], "big")
    assert data[2:4] == b"\xff\xe0"
    bare = data[:2] + data[4 + length :]  # without its APP0
    path = make_dicom(tmp_path / "b.dcm", encapsulate([bare]), JPEG, **colour((16, 16), 8, name))
    piece = only(path)
    assert piece.photometric == "YBR_PARTIAL"
    assert np.abs(piece.stored[8, 8].astype(int) - (93, 93, 204)).max() <= 2


@pytest.mark.parametrize("name", ["YBR_RCT", "YBR_ICT"])
def test_rule_7_colour_transforms_of_jpeg_2000_are_undone(tmp_path: Path, name: str) -> None:
    """Rule 7: RCT and ICT belong to the codestream, whose decoder returns RGB."""
    values = np.cumsum(RANDOM.integers(0, 3, (32, 32, 3)), axis=0).astype(np.uint8)
    reversible = name == "YBR_RCT"
    data = imagecodecs.jpeg2k_encode(
        values, codecformat="j2k", reversible=reversible, level=0 if reversible else 60, mct=True
    )
    syntax = JPEG_2000 if reversible else "1.2.840.10008.1.2.4.91"
    piece = only(make_dicom(tmp_path / "a.dcm", encapsulate([data]), syntax, **colour((32, 32), 8, name)))
    assert (piece.photometric, piece.lossy) == ("RGB", not reversible)
    assert np.abs(piece.stored.astype(int) - values).max() <= (0 if reversible else 4)


@pytest.mark.parametrize("name", ["HSV", "ARGB", "CMYK"])
def test_rule_7_retired_models_are_refused(tmp_path: Path, name: str) -> None:
    """Rule 7: what no equation of the standard turns into RGB is refused by name of the trouble."""
    with pytest.raises(Refused, match="unsupported-colour"):
        scan(make_dicom(tmp_path / "a.dcm", bytes(72), **colour((4, 6), 8, name)), "a")


def palette(entries: NDArray[Any], first: int, bits: int, signed: bool = False, padded: bool = False) -> dict[str, Any]:
    """Palette elements: (entries, 3)."""
    count = len(entries) if len(entries) < 65536 else 0
    attributes: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, column in zip(("Red", "Green", "Blue"), entries.T, strict=True):
        vr = "SS" if signed else "US"
        attributes[f"{name}PaletteColorLookupTableDescriptor"] = (vr, [count, first, bits])
        width = "<u1" if bits == 8 and not padded else "<u2"
        data = column.astype(width).tobytes()
        attributes[f"{name}PaletteColorLookupTableData"] = ("OW", data + b"\0" * (len(data) % 2))
    return attributes


@pytest.mark.parametrize(
    ("dtype", "first", "count", "bits", "padded"),
    [
        ("u1", 0, 256, 8, False),
        ("u1", 0, 256, 8, True),  # 8-bit entries in 16-bit words
        ("u1", 10, 7, 8, False),  # an odd number of bytes
        ("u2", 0, 65536, 16, False),  # 65,536 entries are written as 0
        ("i2", -100, 200, 16, False),
        ("i2", -3, 65000, 16, False),
    ],
)
def test_rule_8_palettes(tmp_path: Path, dtype: str, first: int, count: int, bits: int, padded: bool) -> None:
    """Rule 8: entries 0 means 65,536; the first value mapped may be negative; 8-bit tables may be padded; indices stay in the slice."""
    entries = RANDOM.integers(0, 1 << bits, (count, 3))
    values = np.arange(first - 2, first + 10).clip(np.iinfo(dtype).min).reshape(3, 4).astype(dtype)
    attributes = palette(entries, first, bits, signed=first < 0, padded=padded)
    piece = only(make_dicom(tmp_path / "a.dcm", values, **attributes))
    assert (piece.photometric, piece.palette_first, piece.palette_bits) == ("PALETTE COLOR", first, bits)
    np.testing.assert_array_equal(piece.stored, values)
    np.testing.assert_array_equal(piece.palette, entries)
    picture = to_picture(piece, "keep")
    np.testing.assert_array_equal(picture.values, entries[np.clip(values.astype(int) - first, 0, count - 1)])


def test_rule_8_signed_pixels_under_an_unsigned_descriptor(tmp_path: Path) -> None:
    """Rule 8: the first value mapped is signed where the pixels are, whatever VR the writer chose."""
    values = np.arange(-4, 8, dtype=np.int16).reshape(3, 4)
    attributes = palette(RANDOM.integers(0, 256, (20, 3)), 65536 - 4, 16)
    assert only(make_dicom(tmp_path / "a.dcm", values, **attributes)).palette_first == -4


def test_rule_8_a_supplemental_palette_leaves_grey(shared_data: Path) -> None:
    """Rule 8: MONOCHROME2 with palette tables (US, PET, perfusion CT) stays what it was measured as."""
    piece = next(iter(read(shared_data / "multiframe/pydicom-data__eCT_Supplemental.dcm")))
    assert isinstance(piece, Slice)
    assert (piece.photometric, piece.palette, piece.stored.ndim) == ("MONOCHROME2", None, 2)


def test_rule_8_grey_with_tables_is_grey(tmp_path: Path) -> None:
    """Rule 8: the same without the real file."""
    attributes = palette(RANDOM.integers(0, 256, (256, 3)), 0, 16) | {"PhotometricInterpretation": "MONOCHROME2"}
    piece = only(make_dicom(tmp_path / "a.dcm", np.arange(12, dtype=np.uint16).reshape(3, 4), **attributes))
    assert (piece.photometric, piece.palette, piece.slope) == ("MONOCHROME2", None, 1.0)
