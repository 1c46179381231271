"""Rules 5, 12, 13, 15, 16 and 19 to 27: from stored values to what a window shows, in the order and to the numbers of PS3.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from source_make import item, make_dicom

from radload.kernels import reference
from radload.kernels.prepare import Voi
from radload.sources import Lut, Slice, Units, VoiFunction, WindowExplanation, read, scan

RAMP = np.arange(12, dtype=np.int16).reshape(3, 4)
CT = np.array([[-1100, -161, -160, -159], [39, 40, 238, 239], [240, 1000, -2000, 3000]], dtype=np.int16)


def only(path: Path) -> Slice:
    (piece,) = read(path)
    assert isinstance(piece, Slice)
    return piece


def shown(piece: Slice, window: int = 0) -> NDArray[np.float64]:
    """The slice through its own window, inverted and padded as it says, in [0, 1] (the reference kernel)."""
    view = reference.Window(Voi(int(piece.voi_function)), piece.centres[window], piece.widths[window])
    planes = reference.planes(
        piece.stored, [view], slope=piece.slope, intercept=piece.intercept, invert=piece.invert, padding=piece.padding
    )
    return np.asarray(planes[0])


def window(
    path: Path, values: NDArray[Any], centre: Any, width: Any, function: str | None = None, **more: Any
) -> Slice:
    if function is not None:
        more["VOILUTFunction"] = function
    return only(make_dicom(path, values, WindowCenter=centre, WindowWidth=width, **more))


def test_rule_19_linear_is_the_default_and_exact_at_its_edges(tmp_path: Path) -> None:
    """Rules 19 and 22: at 40/400 the floor is x <= -160 and the ceiling x > 239; in between the formula, not c - w/2 .. c + w/2."""
    for function in (None, "LINEAR"):
        piece = window(tmp_path / "a.dcm", CT, 40, 400, function)
        assert piece.voi_function is VoiFunction.LINEAR
        got = shown(piece)
        assert (got[CT <= -160] == 0).all() and (got[CT > 239] == 1).all()
        inner = (CT > -160) & (CT <= 239)
        np.testing.assert_allclose(got[inner], (CT[inner] - 39.5) / 399 + 0.5, rtol=1e-12)
    naive = np.clip((CT - (40 - 200.0)) / 400, 0, 1)
    assert abs(naive - got).max() > 0.001  # what many packers do instead


def test_rule_19_width_one_is_a_threshold(tmp_path: Path) -> None:
    """Rule 19: w = 1 is legal: below the centre 0, from it on 1."""
    piece = window(tmp_path / "a.dcm", RAMP, 6, 1)
    np.testing.assert_array_equal(shown(piece), (RAMP >= 6).astype(float))


def test_rule_20_linear_exact(tmp_path: Path) -> None:
    """Rule 20: edges at c - w/2 and c + w/2; widths below 1 are legal."""
    piece = window(tmp_path / "a.dcm", RAMP, 6, 4, "LINEAR_EXACT")
    assert piece.voi_function is VoiFunction.LINEAR_EXACT
    np.testing.assert_allclose(shown(piece), np.clip((RAMP - 6) / 4 + 0.5, 0, 1))
    assert window(tmp_path / "b.dcm", RAMP, 6, 0.5, "LINEAR_EXACT").widths == (0.5,)


def test_rule_21_sigmoid_has_a_factor_of_four(tmp_path: Path) -> None:
    """Rule 21: 1 / (1 + exp(-4 (x - c) / w))."""
    piece = window(tmp_path / "a.dcm", RAMP, 6, 4, "SIGMOID")
    assert piece.voi_function is VoiFunction.SIGMOID
    np.testing.assert_allclose(shown(piece), 1 / (1 + np.exp(-4 * (RAMP - 6) / 4)), rtol=1e-12)


@pytest.mark.parametrize(
    ("centre", "width", "function", "kept"),
    [
        (["40", "-600"], ["400", "1500"], None, ((40, 400), (-600, 1500))),
        (["40", "-600", "7"], ["400", "1500"], None, ((40, 400), (-600, 1500))),  # a centre without its width
        (["40", "-600"], ["0", "1500"], None, ((-600, 1500),)),
        (["40"], ["0.5"], "LINEAR", ()),
        (["40"], ["0"], "SIGMOID", ()),
        (["40"], ["-3"], "LINEAR_EXACT", ()),
        (["40"], [], None, ()),
        ([], ["400"], None, ()),
    ],
)
def test_rule_23_windows(
    tmp_path: Path, centre: list[str], width: list[str], function: str | None, kept: tuple[tuple[float, float], ...]
) -> None:
    """Rule 23: windows come in pairs; one without a width, or of a width out of its function's range, counts as absent."""
    piece = window(tmp_path / "a.dcm", RAMP, centre, width, function)
    assert tuple(zip(piece.centres, piece.widths, strict=True)) == kept
    assert (piece.voi_function is VoiFunction.NONE) == (not kept)
    assert len(piece.explanations) == len(kept)


@pytest.mark.parametrize("value", ["nan", "inf", "4OO"])
def test_rule_23_a_width_that_is_no_number(tmp_path: Path, value: str) -> None:
    """Rule 23: a window that is no number is only a hint less, and costs no slice."""
    path = make_dicom(tmp_path / "a.dcm", RAMP, WindowCenter="40", WindowWidth="777")
    path.write_bytes(path.read_bytes().replace(b"777 ", value.ljust(4).encode()))
    assert only(path).voi_function is VoiFunction.NONE


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("NORMAL", WindowExplanation.NORMAL),
        ("Wider", WindowExplanation.WIDER),
        ("HARDER", WindowExplanation.HARDER),
        ("SOFTER", WindowExplanation.SOFTER),
        ("LUNG", WindowExplanation.LUNG),
        ("Lung window", WindowExplanation.LUNG),
        ("CT BONE 2", WindowExplanation.BONE),
        ("soft tissue", WindowExplanation.SOFT_TISSUE),
        ("SOFT_TISSUE", WindowExplanation.SOFT_TISSUE),
        ("Brain", WindowExplanation.BRAIN),
        ("MEDIASTINUM", WindowExplanation.MEDIASTINUM),
        ("abdomen", WindowExplanation.ABDOMEN),
        ("LIVER", WindowExplanation.LIVER),
        ("SPINE", WindowExplanation.SPINE),
        ("ANGIO", WindowExplanation.VESSELS),
        ("Thorax", WindowExplanation.CHEST),
        ("PELVIS", WindowExplanation.PELVIS),
        ("WINDOW1", WindowExplanation.OTHER),
        ("Algo1", WindowExplanation.OTHER),
        ("Dr. Lungren", WindowExplanation.OTHER),  # a name, whatever it begins with
        ("", WindowExplanation.UNKNOWN),
    ],
)
def test_rule_23_explanations_are_a_short_list(tmp_path: Path, text: str, meaning: WindowExplanation) -> None:
    """Rule 23: free text becomes one of a few meanings; the text stays behind."""
    piece = window(tmp_path / "a.dcm", RAMP, 40, 400, WindowCenterWidthExplanation=text)
    assert piece.explanations == (meaning,)


def test_rule_23_explanations_follow_their_windows(tmp_path: Path) -> None:
    """Rule 23: one per window, also where a window was invalid or explanations are fewer."""
    more = {"WindowCenterWidthExplanation": ["BRAIN", "LUNG"]}
    piece = window(tmp_path / "a.dcm", RAMP, ["40", "-600", "300"], ["0", "1500", "2000"], **more)
    assert (piece.centres, piece.explanations) == ((-600, 300), (WindowExplanation.LUNG, WindowExplanation.UNKNOWN))


def table(entries: NDArray[Any], first: int, bits: int, vr: str = "US", words: bool = True) -> Any:
    data = entries.astype("<u2" if words else "u1").tobytes()
    count = len(entries) if len(entries) < 65536 else 0
    return item(LUTDescriptor=(vr, [count, first, bits]), LUTData=("OW", data + b"\0" * (len(data) % 2)))


def looked_up(piece: Slice) -> NDArray[np.float64]:
    """VOI LUT of modality values, rounded to the table's integers (PS3.3 C.11.2.1.1)."""
    lut = piece.voi_lut
    assert isinstance(lut, Lut)
    index = np.clip(np.rint(piece.modality()) - lut.first, 0, len(lut.values) - 1)
    return np.asarray(lut.values[index.astype(int)])


@pytest.mark.parametrize("words", [True, False])
def test_rule_24_a_table_of_8_bit_entries_does_not_wrap(tmp_path: Path, words: bool) -> None:
    """Rule 24: 1,000 entries of 8 bits, in words or in bytes (pydicom 3.0.2 wraps the index at 256)."""
    entries = np.linspace(0, 255, 1000).round()
    values = np.array([[0, 24, 60, 61], [255, 256, 500, 999], [998, 1000, 2000, 65535]], dtype=np.uint16)
    piece = only(make_dicom(tmp_path / "a.dcm", values, VOILUTSequence=[table(entries, 0, 8, words=words)]))
    assert piece.voi_function is VoiFunction.LUT
    np.testing.assert_array_equal(looked_up(piece), entries[values.clip(0, 999)])


def test_rule_23_a_table_goes_before_windows_and_after_a_rescale_in_fractions(tmp_path: Path) -> None:
    """Rule 23: where both are there the table is the function, windows are kept; its input is modality values, in integers."""
    entries = np.arange(100) * 2
    piece = window(
        tmp_path / "a.dcm",
        RAMP,
        40,
        400,
        RescaleSlope=2.5,
        RescaleIntercept=-10,
        VOILUTSequence=[table(entries, 65526, 8)],
    )
    assert (piece.voi_function, piece.centres) == (VoiFunction.LUT, (40,))
    assert piece.voi_lut is not None and piece.voi_lut.first == -10  # signed, as a negative intercept makes its input
    modality = RAMP * 2.5 - 10
    np.testing.assert_array_equal(looked_up(piece), entries[(np.rint(modality) + 10).astype(int)])


def test_rule_25_no_window_is_applied_by_reading(tmp_path: Path) -> None:
    """Rule 25: a slice's stored and modality values are those without any VOI; the file's windows only travel along."""
    piece = window(tmp_path / "a.dcm", RAMP, 5, 2, RescaleSlope=1, RescaleIntercept=-3)
    np.testing.assert_array_equal(piece.stored, RAMP)
    np.testing.assert_array_equal(piece.modality(), RAMP - 3.0)


def test_rule_26_inversion_is_in_the_output_range(tmp_path: Path) -> None:
    """Rules 26 and 27: MONOCHROME1 is inverted after the window, once, whatever the largest value of the image is."""
    plain = window(tmp_path / "a.dcm", CT, 40, 400)
    for more in ({}, {"PresentationLUTShape": "INVERSE"}):
        turned = window(tmp_path / "b.dcm", CT, 40, 400, PhotometricInterpretation="MONOCHROME1", **more)
        np.testing.assert_array_equal(turned.stored, CT)
        np.testing.assert_allclose(shown(turned), 1 - shown(plain))
    shape = window(tmp_path / "c.dcm", CT, 40, 400, PresentationLUTShape="INVERSE")
    np.testing.assert_allclose(shown(shape), 1 - shown(plain))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_rule_5_padding_is_the_windows_floor_after_inversion_too(tmp_path: Path, photometric: str) -> None:
    """Rule 5: the range is in stored units, before the rescale, inclusive, in either order; it is shown black."""
    more = {
        "PixelPaddingValue": ("SS", 3),
        "PixelPaddingRangeLimit": ("SS", 1),
        "PhotometricInterpretation": photometric,
    }
    piece = window(tmp_path / "a.dcm", RAMP, 0, 400, RescaleSlope=10, RescaleIntercept=-30, **more)
    assert piece.padding == (1, 3)
    got, blank = shown(piece), (RAMP >= 1) & (RAMP <= 3)
    assert (got[blank] == 0).all() and (got[~blank] > 0).all()


@pytest.mark.parametrize(
    ("bits", "value", "limit", "expected"),
    [(32, -1024.0, None, (-1024, -1024)), (64, -2000.0, -1500.0, (-2000, -1500)), (32, -0.5, None, None)],
)
def test_rule_5_padding_of_floats(
    tmp_path: Path, bits: int, value: float, limit: float | None, expected: tuple[int, int] | None
) -> None:
    """Rule 5: Float and Double Float Pixel Padding Value, where they are whole numbers."""
    prefix = "Double" if bits == 64 else ""
    more: dict[str, Any] = {f"{prefix}FloatPixelPaddingValue": value}
    if limit is not None:
        more[f"{prefix}FloatPixelPaddingRangeLimit"] = limit
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    path = make_dicom(tmp_path / "a.dcm", RAMP, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, **more)
    data = values.astype(f"<f{bits // 8}").tobytes()
    old = path.read_bytes()
    element, vr = (b"\xe0\x7f\x08\x00", b"OF") if bits == 32 else (b"\xe0\x7f\x09\x00", b"OD")
    head = old[: old.index(b"\xe0\x7f\x10\x00OW")]
    path.write_bytes(head + element + vr + b"\0\0" + len(data).to_bytes(4, "little") + data)
    piece = only(path)
    assert piece.stored.dtype == np.dtype(f"f{bits // 8}")
    assert piece.padding == expected


def test_rule_12_lossy_compression_and_its_ratios(tmp_path: Path) -> None:
    """Rule 12: the flag and the ratio of every step travel; a flag of 00 has none, and a lossy syntax is lossy without a flag."""
    piece = only(
        make_dicom(tmp_path / "a.dcm", RAMP, LossyImageCompression="01", LossyImageCompressionRatio=[10.5, 3])
    )  # fmt: skip
    assert (piece.lossy, piece.lossy_ratios) == (True, (10.5, 3.0))
    piece = only(make_dicom(tmp_path / "b.dcm", RAMP, LossyImageCompression="00", LossyImageCompressionRatio=[10.5]))
    assert (piece.lossy, piece.lossy_ratios) == (False, ())
    import imagecodecs

    data = imagecodecs.jpegls_encode(RAMP.astype(np.uint16), level=1)
    attributes = {
        "Rows": 3, "Columns": 4, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
    }  # fmt: skip
    near = only(make_dicom(tmp_path / "c.dcm", encapsulate([data]), "1.2.840.10008.1.2.4.81", **attributes))
    assert near.lossy and np.abs(near.stored.astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize(
    ("attributes", "slope", "intercept"),
    [
        ({"RescaleSlope": 2.5, "RescaleIntercept": -10}, 2.5, -10),
        ({"RescaleSlope": 2.5}, 2.5, 0),
        ({"RescaleIntercept": -10}, 1, -10),
        ({}, 1, 0),
    ],
)
def test_rule_13_one_of_slope_and_intercept_is_enough(
    tmp_path: Path, attributes: dict[str, float], slope: float, intercept: float
) -> None:
    """Rule 13: the other one is 1 or 0 (pydicom leaves values alone)."""
    piece = only(make_dicom(tmp_path / "a.dcm", RAMP, **attributes))
    np.testing.assert_array_equal(piece.modality(), RAMP * float(slope) + intercept)


def test_rule_13_a_table_replaces_the_rescale(tmp_path: Path) -> None:
    """Rule 13: a Modality LUT goes before a rescale that should not be there; its output is what the entries say."""
    entries = np.array([5, 60000, 7, 8])
    piece = only(
        make_dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=99, ModalityLUTSequence=[table(entries, 2, 16)])
    )  # fmt: skip
    np.testing.assert_array_equal(piece.modality(), entries[(RAMP - 2).clip(0, 3)])


def test_rule_15_a_frame_without_its_own_value_has_the_shared_one(tmp_path: Path) -> None:
    """Rule 15: windows, explanations, rescale and type: per frame, else shared, else the main data set."""

    def macros(slope: float, centre: float, text: str) -> Any:
        return item(
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=0, RescaleType="HU")],
            FrameVOILUTSequence=[item(WindowCenter=centre, WindowWidth=10, WindowCenterWidthExplanation=text)],
        )

    path = make_dicom(
        tmp_path / "a.dcm",
        np.stack([RAMP, RAMP]),
        RescaleSlope=0.478,
        WindowCenter=1,
        WindowWidth=2,
        SharedFunctionalGroupsSequence=[macros(2, 20, "LUNG")],
        PerFrameFunctionalGroupsSequence=[item(), macros(104.4, 30, "BONE")],
    )
    pieces = [piece for piece in read(path) if isinstance(piece, Slice)]
    assert [piece.slope for piece in pieces] == [2, 104.4]
    assert [piece.centres for piece in pieces] == [(20,), (30,)]
    assert [piece.explanations for piece in pieces] == [(WindowExplanation.LUNG,), (WindowExplanation.BONE,)]
    assert [piece.attributes.units for piece in pieces] == [Units.HU, Units.HU]


def test_rule_16_mr_is_in_arbitrary_units(tmp_path: Path) -> None:
    """Rule 16: a rescale of MR is applied as it stands, and its result has no unit; makers' private slopes are not read."""
    piece = only(make_dicom(tmp_path / "a.dcm", RAMP, Modality="MR", RescaleSlope=1.7, RescaleType="US"))
    assert piece.attributes.units is Units.UNSPECIFIED
    np.testing.assert_array_equal(piece.modality(), RAMP * 1.7)


def test_rule_18_values_outside_the_field_of_view_are_kept(tmp_path: Path) -> None:
    """Rule 18: reading clips nothing, -2000 and -3024 come out as they are; what counts for statistics is decided in packing."""
    values = np.array([[-2000, 24, 1000, 3000]] * 3, dtype=np.int16)
    piece = only(make_dicom(tmp_path / "a.dcm", values, RescaleSlope=1, RescaleIntercept=-1024))
    assert piece.modality()[0].tolist() == [-3024, -1000, -24, 1976]
    assert piece.padding is None


@pytest.mark.parametrize("image_type", [["ORIGINAL", "PRIMARY", "LOCALIZER"], ["DERIVED", "SECONDARY", "SCREEN SAVE"]])
def test_rule_32_reading_knows_no_policy(tmp_path: Path, image_type: list[str]) -> None:
    """Rule 32: a localizer and a screen save are read; the header names what packing decides by."""
    more = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "PresentationIntentType": "FOR PROCESSING"}
    path = make_dicom(tmp_path / "a.dcm", RAMP, ImageType=image_type, **more)
    np.testing.assert_array_equal(only(path).stored, RAMP)
    header = scan(path, "a.dcm")
    assert (header.image_type, header.sop_class, header.intent) == (
        tuple(image_type),
        "1.2.840.10008.5.1.4.1.1.7",
        "FOR PROCESSING",
    )
