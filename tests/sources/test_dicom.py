"""A DICOM file's stored bits, and every number that gives them meaning, come out as the standard says, also where common readers differ."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from source_golden import GOLDEN, path_of
from source_make import item, make_dicom

from radload.sources import Refused, Slice, Units, read, scan

RAMP = np.arange(12, dtype=np.int16).reshape(3, 4)
AXIAL = [1, 0, 0, 0, 1, 0]


def only(path: Path) -> Slice:
    (piece,) = read(path)
    assert isinstance(piece, Slice)
    return piece


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    allocated=st.sampled_from([8, 16, 32]),
    signed=st.booleans(),
    spare=st.integers(0, 7),
    shift=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_bits_stored_are_taken_whatever_stands_around_them(
    tmp_path: Path, allocated: int, signed: bool, spare: int, shift: bool, seed: int
) -> None:
    """Rules 2 and 3: Bits Stored that end at High Bit, sign-extended from there, of every width."""
    rng = np.random.default_rng(seed)
    stored = allocated - spare
    low = -(1 << (stored - 1)) if signed else 0
    values = rng.integers(low, low + (1 << stored), size=(5, 3), dtype=np.int64)
    up = spare if shift else 0  # HighBit != BitsStored - 1, as old files have it
    garbage = rng.integers(0, 1 << allocated, size=values.shape, dtype=np.int64) & ~(((1 << stored) - 1) << up)
    words = (((values & ((1 << stored) - 1)) << up) | garbage).astype(f"u{allocated // 8}")
    path = make_dicom(
        tmp_path / "a.dcm", words, BitsStored=stored, HighBit=stored - 1 + up, PixelRepresentation=int(signed)
    )
    piece = only(path)
    assert piece.stored.dtype == np.dtype(f"{'i' if signed else 'u'}{allocated // 8}")
    assert np.array_equal(piece.stored, values)
    assert piece.stored.flags.writeable


@pytest.mark.parametrize("value", ["0,5", "nan", "inf"])
def test_a_rescale_that_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    path = make_dicom(tmp_path / "a.dcm", RAMP, RescaleIntercept=-1024)
    assert only(path).intercept == -1024
    path.write_bytes(path.read_bytes().replace(b"-1024.0 ", value.ljust(8).encode()))
    with pytest.raises(Refused, match="bad-header"):
        list(read(path))


@pytest.mark.parametrize(
    ("dtype", "stored", "padding", "limit", "expected"),
    [
        ("i2", 16, ("US", 63536), None, (-2000, -2000)),  # a signed value written with an unsigned VR
        ("u2", 16, ("US", 63536), None, (63536, 63536)),
        ("i2", 12, ("US", 0x800), None, (-2048, -2048)),
        ("i2", 16, ("SS", -2000), ("SS", -1500), (-2000, -1500)),
        ("u2", 12, ("US", 4095), ("US", 4000), (4000, 4095)),
    ],
)
def test_padding_is_in_stored_units(
    tmp_path: Path,
    dtype: str,
    stored: int,
    padding: tuple[str, int],
    limit: tuple[str, int] | None,
    expected: tuple[int, int],
) -> None:
    """Rule 5: stored units, signed as the pixels are, whatever VR the file gives; the range is inclusive."""
    extra = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    path = make_dicom(
        tmp_path / "a.dcm",
        RAMP.astype(dtype),
        BitsStored=stored,
        HighBit=stored - 1,
        PixelPaddingValue=padding,
        **extra,
    )
    assert only(path).padding == expected


@pytest.mark.parametrize(
    ("photometric", "shape", "expected"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),  # said twice, meant once
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", None, False),
    ],
)
def test_inversion_happens_once(tmp_path: Path, photometric: str, shape: str | None, expected: bool) -> None:
    """Rule 26: MONOCHROME1 and a Presentation LUT Shape of INVERSE say the same thing."""
    extra = {} if shape is None else {"PresentationLUTShape": shape}
    assert only(make_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation=photometric, **extra)).invert is expected


def test_a_modality_table_of_65536_entries_from_a_negative_value_on(tmp_path: Path) -> None:
    """Rule 13: 0 entries mean 65,536; the first value mapped is signed where its input is."""
    entries = np.arange(65536, dtype=np.uint16)
    table = item(LUTDescriptor=("US", [0, 65534, 16]), LUTData=("OW", entries.tobytes()))
    path = make_dicom(tmp_path / "a.dcm", RAMP - 3, ModalityLUTSequence=[table])
    piece = only(path)
    assert piece.modality_lut is not None
    assert (piece.modality_lut.first, len(piece.modality_lut.values)) == (-2, 65536)
    assert piece.modality()[0].tolist() == [0, 0, 1, 2]  # -3 and -2 meet the first entry


@pytest.mark.parametrize(
    ("attributes", "units"),
    [
        ({"RescaleType": "HU", "RescaleSlope": 1, "ImageType": ["DERIVED"]}, Units.HU),
        ({"RescaleSlope": 1}, Units.HU),
        ({"RescaleSlope": 1, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Units.UNSPECIFIED),
        ({"RescaleType": "US", "RescaleSlope": 1}, Units.UNSPECIFIED),
        ({"RescaleSlope": 1, "ImageType": ["DERIVED", "SECONDARY"]}, Units.UNSPECIFIED),
        ({}, Units.UNSPECIFIED),
        ({"Modality": "MR", "RescaleType": "HU", "RescaleSlope": 1}, Units.UNSPECIFIED),
        ({"Modality": "PT", "Units": "BQML"}, Units.BQML),
        ({"Modality": "OT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "BitsStored": 8, "HighBit": 7}, Units.DISPLAY),
    ],
)
def test_units(tmp_path: Path, attributes: dict[str, object], units: Units) -> None:
    """Rule 16: Hounsfield units only where the file says so, or for an original CT image that is no localizer."""
    path = make_dicom(tmp_path / "a.dcm", RAMP, **attributes)
    assert scan(path, "a").attributes.units is units
    assert only(path).attributes.units is units


def test_the_header_holds_identities_size_and_place(tmp_path: Path) -> None:
    path = make_dicom(
        tmp_path / "a.dcm",
        RAMP,
        IssuerOfPatientID="H",
        AccessionNumber="",
        InstanceNumber=7,
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        ImagePositionPatient=[12.5, 3, 4],
        PixelSpacing=[0.5, 0.75],
        EchoTime=2.5,
        ConvolutionKernel="B30f",
    )
    header = scan(path, "x/a.dcm")
    assert (header.source, header.format, header.rows, header.cols, header.channels, header.bits) == (
        "x/a.dcm",
        "dicom",
        3,
        4,
        1,
        16,
    )
    assert (header.patient, header.issuer, header.study, header.series, header.sop) == (
        "P1",
        "H",
        "1.2.3",
        "1.2.5",
        "1.2.3.4",
    )
    assert (header.accession, header.instance, header.frames) == (None, 7, 1)
    assert header.normal == (-1.0, 0.0, 0.0)
    assert header.positions == (-12.5,)
    assert (header.attributes.echo_time, header.attributes.kernel) == (2.5, "B30f")
    piece = only(path)
    assert (piece.spacing, piece.spacing_source, piece.position) == ((0.5, 0.75), "pixel", (12.5, 3.0, 4.0))


def test_functional_groups_of_a_frame_win(tmp_path: Path) -> None:
    """Rule 15: a frame's macro, else the shared one, else the main data set."""
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=2, RescaleIntercept=0, RescaleType="US")],
        PixelMeasuresSequence=[item(PixelSpacing=[1, 2])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
    )
    frames = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, 10 * k])],
            FrameVOILUTSequence=[item(WindowCenter=k, WindowWidth=10)],
            MRDiffusionSequence=[item(DiffusionBValue=float(500 * k))],
            **(
                {"PixelValueTransformationSequence": [item(RescaleSlope=7, RescaleIntercept=1, RescaleType="US")]}
                if k == 1
                else {}
            ),
        )
        for k in range(3)
    ]
    path = make_dicom(
        tmp_path / "a.dcm",
        np.stack([RAMP, RAMP + 1, RAMP + 2]),
        RescaleSlope=100,
        RescaleIntercept=0,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    pieces = [piece for piece in read(path) if isinstance(piece, Slice)]
    assert [piece.slope for piece in pieces] == [2, 7, 2]
    assert [piece.centres for piece in pieces] == [(0,), (1,), (2,)]
    assert [piece.spacing for piece in pieces] == [(1, 2)] * 3
    assert [piece.attributes.b_value for piece in pieces] == [0, 500, 1000]
    header = scan(path, "a")
    assert (header.positions, header.normal) == ((0.0, 10.0, 20.0), (0.0, 0.0, 1.0))
    assert header.attributes.b_value is None  # not one for all frames


def test_a_multi_frame_file_that_is_cut_keeps_its_whole_frames(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", np.stack([RAMP, RAMP + 1, RAMP + 2]))
    path.write_bytes(path.read_bytes()[:-30])
    pieces = list(read(path))
    assert isinstance(pieces[0], Slice)
    assert [piece[1].code for piece in pieces[1:] if not isinstance(piece, Slice)] == ["truncated", "truncated"]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Refused, match="truncated"):
        scan(path, "a")


def test_frames_are_decoded_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 9: the first frame costs one decode, not all of them."""
    import radload.sources.dicom_pixels as module

    calls = []
    original = module.decode
    monkeypatch.setattr(module, "decode", lambda *args: calls.append(1) or original(*args))
    pieces = read(GOLDEN / "pydicom-data__emri_small_jpeg_2k_lossless.dcm")
    next(iter(pieces))
    assert len(calls) == 1


def test_pixel_data_without_its_delimiter_loses_the_last_frame(tmp_path: Path) -> None:
    whole = GOLDEN / "pydicom-data__emri_small_jpeg_2k_lossless.dcm"
    path = tmp_path / "a.dcm"
    path.write_bytes(whole.read_bytes()[:-8])
    pieces = list(read(path))
    assert all(isinstance(piece, Slice) for piece in pieces[:9])
    assert not isinstance(pieces[9], Slice)
    assert pieces[9][1].code == "truncated"
    path.write_bytes(whole.read_bytes()[:-8000])  # within the last but one
    assert [isinstance(piece, Slice) for piece in read(path)].count(True) in (7, 8)


@pytest.mark.parametrize(
    ("header", "stream", "expected"),
    [
        ("RGB", "JFIF", "RGB"),  # YBR in fact: converted
        ("YBR_FULL_422", "JFIF", "YBR_FULL"),  # as stored
        ("YBR_FULL", "RGB", "RGB"),  # an RGB stream, says its Adobe marker
    ],
)
def test_a_jpeg_knows_its_colours_better_than_the_header(
    tmp_path: Path, header: str, stream: str, expected: str
) -> None:
    """Rule 7: Adobe's and JFIF's markers go before Photometric Interpretation."""
    colour = np.zeros((16, 16, 3), dtype=np.uint8)
    colour[:] = (200, 50, 30)
    space = "RGB" if stream == "RGB" else None
    data = imagecodecs.jpeg8_encode(colour, level=95, colorspace="RGB", outcolorspace=space)
    path = make_dicom(
        tmp_path / "a.dcm",
        encapsulate([data]),
        syntax="1.2.840.10008.1.2.4.50",
        Rows=16,
        Columns=16,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation=header,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
    )
    piece = only(path)
    assert piece.photometric == expected
    wanted = (200, 50, 30) if expected == "RGB" else (93, 93, 204)  # PS3.3 C.7.6.3.1.2
    assert np.abs(piece.stored[8, 8].astype(int) - wanted).max() <= 2
    assert piece.lossy


def test_floats_keep_their_type(tmp_path: Path) -> None:
    """Rule 10: Float and Double Float Pixel Data."""
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    for tag, vr, dtype in ((0x7FE00008, "OF", "f4"), (0x7FE00009, "OD", "f8")):
        path = make_dicom(
            tmp_path / "a.dcm", RAMP, PixelData=None, BitsStored=None, HighBit=None, PixelRepresentation=None
        )
        data = values.astype(f"<{dtype}").tobytes()
        element = (
            tag.to_bytes(4, "little")[2:]
            + tag.to_bytes(4, "little")[:2]
            + vr.encode()
            + b"\0\0"
            + len(data).to_bytes(4, "little")
        )
        path.write_bytes(
            path.read_bytes().replace(
                b"\x28\x00\x00\x01US\x02\x00\x10", b"\x28\x00\x00\x01US\x02\x00" + bytes([int(dtype[1]) * 8])
            )
            + element
            + data
        )
        piece = only(path)
        assert piece.stored.dtype == np.dtype(dtype)
        assert np.array_equal(piece.stored, values.astype(dtype))


def test_a_palette_image_stays_indices() -> None:
    piece = only(path_of(GOLDEN, "pydicom:test_files/examples_palette.dcm"))
    assert piece.photometric == "PALETTE COLOR"
    assert piece.stored.ndim == 2
    assert piece.palette is not None
    assert piece.palette.shape == (256, 3)


def test_a_segmented_palette_is_expanded(tmp_path: Path) -> None:
    """Rule 8: discrete, linear and indirect segments (PS3.3 C.7.9.2)."""
    segments = np.array(
        [0, 2, 10, 20, 1, 4, 60, 2, 1, 0, 0, 1, 1, 100], dtype=np.uint16
    )  # 10 20 | 30 40 50 60 | 10 20 again | 100
    tables = {
        f"Segmented{name}PaletteColorLookupTableData": ("OW", segments.tobytes()) for name in ("Red", "Green", "Blue")
    }
    sizes = {f"{name}PaletteColorLookupTableDescriptor": ("US", [9, 0, 16]) for name in ("Red", "Green", "Blue")}
    path = make_dicom(
        tmp_path / "a.dcm", RAMP.astype("u2"), PhotometricInterpretation="PALETTE COLOR", **sizes, **tables
    )
    piece = only(path)
    assert piece.palette is not None
    assert piece.palette[:, 1].tolist() == [10, 20, 30, 40, 50, 60, 10, 20, 100]


def test_what_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="truncated"):
        scan(make_dicom(tmp_path / "a.dcm", RAMP, Rows=8000, Columns=8000), "a")
    with pytest.raises(Refused, match="too-large"):
        scan(make_dicom(tmp_path / "e.dcm", RAMP, Rows=60000, Columns=60000), "e")
    with pytest.raises(Refused, match="bad-header"):
        scan(make_dicom(tmp_path / "b.dcm", RAMP, NumberOfFrames=2_000_000_000), "b")
    with pytest.raises(Refused, match="bad-header"):
        scan(make_dicom(tmp_path / "c.dcm", RAMP, Rows=None), "c")
    path = make_dicom(tmp_path / "d.dcm", RAMP)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.99"))
    with pytest.raises(Refused, match="unsupported-transfer-syntax"):
        scan(path, "d")
