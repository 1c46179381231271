"""Rule 17: the SUV factor of PET comes from the header, or is refused with a reason; no weight, dose, date or time goes any further."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_make import item, make_dicom

from radload.pack import PackOptions, pack
from radload.sources import SUV_MISSING, Slice, read

PET = "1.2.840.10008.5.1.4.1.1.128"
PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)
HALF_LIFE = 6586.2
DOSE = 381470000.0
KNOWN = 66200.0 / (DOSE * 2 ** -(5024.678 / HALF_LIFE))  # 11:39:00 to 13:02:44.678


def injection(**attributes: Any) -> list[Any]:
    values = {
        "RadiopharmaceuticalStartTime": "113900",
        "RadionuclideTotalDose": DOSE,
        "RadionuclideHalfLife": HALF_LIFE,
    }
    return [item(**{name: value for name, value in {**values, **attributes}.items() if value is not None})]


def pet(path: Path, **attributes: Any) -> Slice:
    """A PET slice whose header allows SUV, but for `attributes`; None removes."""
    values: dict[str, Any] = {
        "SOPClassUID": PET,
        "Modality": "PT",
        "Units": "BQML",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "DecayCorrection": "START",
        "PatientWeight": 66.2,
        "SeriesDate": "20200810",
        "SeriesTime": "130244.678000",
        "AcquisitionDate": "20200810",
        "AcquisitionTime": "132410.647",
        "RescaleSlope": 2.0,
        "RescaleIntercept": 0,
        "RadiopharmaceuticalInformationSequence": injection(),
    }
    kept = {name: value for name, value in {**values, **attributes}.items() if value is not None}
    (piece,) = read(make_dicom(path, PIXELS, **kept))
    assert isinstance(piece, Slice)
    return piece


@pytest.mark.parametrize(
    ("attributes", "factor"),
    [
        ({}, KNOWN),
        ({"DecayCorrection": "ADMIN"}, 66200 / DOSE),
        ({"Units": "GML", "CorrectedImage": None, "PatientWeight": None}, 1.0),
        ({"Units": "GML", "SUVType": "BW"}, 1.0),
        # The moment of injection, with its day
        ({"RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartDateTime="20200810113900.00")}, KNOWN),
        (
            {
                "TimezoneOffsetFromUTC": "+0200",
                "RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartDateTime="20200810093900+0000"),
            },
            KNOWN,
        ),
        # A fraction that one of two times has not
        ({"AcquisitionTime": "130244"}, KNOWN),
        # Times without days, as a de-identified header has them
        ({"SeriesDate": None, "AcquisitionDate": None, "SeriesTime": ("SH", "13:02:44.678")}, KNOWN),
        # Midnight between injection and scan, with and without days
        (
            {
                "SeriesTime": "003000",
                "AcquisitionTime": "003100",
                "RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartTime="233000"),
            },
            66200 / (DOSE * 2 ** -(3600 / HALF_LIFE)),
        ),
        (
            {
                "SeriesTime": "003000",
                "AcquisitionTime": "003100",
                "RadiopharmaceuticalInformationSequence": injection(
                    RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20200809233000"
                ),
            },
            66200 / (DOSE * 2 ** -(3600 / HALF_LIFE)),
        ),
        # Midnight between the scan's begin and the frame, without days: the series is not later than the frame
        (
            {
                "SeriesDate": None,
                "AcquisitionDate": None,
                "SeriesTime": "235000",
                "AcquisitionTime": "001000",
                "RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartTime="225000"),
            },
            66200 / (DOSE * 2 ** -(3600 / HALF_LIFE)),
        ),
    ],
)  # fmt: skip
def test_rule_17_factor(tmp_path: Path, attributes: dict[str, Any], factor: float) -> None:
    """Rule 17: weight in grams over the dose that is left when the scan begins."""
    piece = pet(tmp_path / "a.dcm", **attributes)
    assert piece.suv_missing is None
    assert piece.suv_factor == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Units": "CNTS"}, "units"),
        ({"Units": None}, "units"),
        ({"Units": "GML", "SUVType": "LBM"}, "suv-type"),
        ({"CorrectedImage": ["DECY"]}, "not-attenuation-corrected"),
        ({"CorrectedImage": ["ATTN"]}, "not-decay-corrected"),
        ({"DecayCorrection": "NONE"}, "not-decay-corrected"),
        ({"DecayCorrection": None}, "not-decay-corrected"),
        ({"PatientWeight": None}, "no-weight"),
        ({"PatientWeight": 0}, "no-weight"),
        ({"PatientWeight": 66200}, "implausible-weight"),
        ({"RadiopharmaceuticalInformationSequence": None}, "no-dose"),
        ({"RadiopharmaceuticalInformationSequence": injection(RadionuclideTotalDose=None)}, "no-dose"),
        ({"RadiopharmaceuticalInformationSequence": injection(RadionuclideTotalDose=381.47)}, "implausible-dose"),
        ({"RadiopharmaceuticalInformationSequence": injection() + injection()}, "several-injections"),
        ({"RadiopharmaceuticalInformationSequence": injection(RadionuclideHalfLife=0)}, "no-half-life"),
        ({"RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartTime=None)}, "no-injection-time"),
        (
            {"RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartTime=("SH", "2561"))},
            "no-injection-time",
        ),
        ({"AcquisitionTime": None}, "no-scan-time"),
        ({"SeriesTime": None}, "no-scan-time"),
        ({"SeriesTime": "150000"}, "series-time-after-acquisition"),
        ({"SeriesDate": "20200811"}, "series-time-after-acquisition"),
        # Another clock, whose distance the file does not tell
        (
            {
                "RadiopharmaceuticalInformationSequence": injection(
                    RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20200810093900+0000"
                )
            },
            "no-injection-time",
        ),
        # Clocks or days that were shifted by de-identification
        (
            {"RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartTime="140000")},
            "implausible-times",
        ),
        (
            {"RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartTime="000000")},
            "implausible-times",
        ),
        (
            {"RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartDateTime="20200810120000")},
            "implausible-times",
        ),
        (
            {
                "RadiopharmaceuticalInformationSequence": injection(
                    RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20200810140000"
                )
            },
            "implausible-times",
        ),
        (
            {"RadiopharmaceuticalInformationSequence": injection(RadiopharmaceuticalStartDateTime="19860810113900")},
            "implausible-times",
        ),
    ],
)
def test_rule_17_refusal(tmp_path: Path, attributes: dict[str, Any], code: str) -> None:
    """Rule 17: what is missing, shifted or in another unit gives no factor, and a reason; the units stay."""
    piece = pet(tmp_path / "a.dcm", **attributes)
    assert (piece.suv_factor, piece.suv_missing) == (None, code)
    assert code in SUV_MISSING
    assert piece.modality()[2, 3] == 22.0


def test_every_code_is_reached() -> None:
    """Each reason has a case above."""
    (mark,) = (m for m in test_rule_17_refusal.pytestmark if m.name == "parametrize")  # type: ignore[attr-defined]
    assert {code for _, code in mark.args[1]} == set(SUV_MISSING)


def test_rule_17_a_late_reconstruction_counts_back_from_the_frame(tmp_path: Path) -> None:
    """Rule 17 (QIBA): where Series Time is not the scan's, Acquisition Time and Frame Reference Time are."""
    rate = math.log(2) / HALF_LIFE
    duration, offset = 180.0, 1285.0  # seconds; the frame began `offset` after the scan
    average = math.log(rate * duration / (1 - math.exp(-rate * duration))) / rate
    piece = pet(
        tmp_path / "a.dcm",
        SeriesTime="170000",
        AcquisitionTime="132409.678",
        ActualFrameDuration=int(duration * 1000),
        FrameReferenceTime=(offset + average) * 1000,
    )
    assert piece.suv_factor == pytest.approx(KNOWN, rel=1e-6)


def test_rule_17_counts_with_the_makers_factor(tmp_path: Path) -> None:
    """Rule 17: Philips' counts become SUV by a private factor, or Bq/ml by another; under another creator the tags mean nothing."""

    def philips(creator: str, tag: int, value: str) -> Slice:
        path = tmp_path / "a.dcm"
        pet(path, Units="CNTS")
        data = path.read_bytes()

        def element(tag: int, vr: str, value: str) -> bytes:
            raw = value.encode() + b" " * (len(value) % 2)
            head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
            return head + vr.encode() + len(raw).to_bytes(2, "little") + raw

        at = data.index(b"\xe0\x7f\x10\x00OW")
        added = element(0x70530010, "LO", creator) + element(tag, "DS", value)
        path.write_bytes(data[:at] + added + data[at:])
        (piece,) = read(path)
        assert isinstance(piece, Slice)
        return piece

    assert philips("Philips PET Private Group", 0x70531000, "0.000551").suv_factor == 0.000551
    assert philips("Philips PET Private Group", 0x70531009, "1.5").suv_factor == pytest.approx(1.5 * KNOWN, rel=1e-9)
    assert philips("SOMEBODY ELSE", 0x70531000, "0.000551").suv_missing == "units"


numbers = st.one_of(
    st.sampled_from(["", "0", "-1", "nan", "1e-320", "1e308", "1E5", "x", "66.2", "6586.2", "381470000"]),
    st.floats(allow_nan=False).map(lambda value: f"{value:.8g}"),
)
clocks = st.one_of(
    st.sampled_from(
        ["", "240000", "235959.999999", "12", "1", "noon", "20200810", "99999999999999", "20200810113900+1400"]
    ),
    st.text("0123456789.+-:", max_size=20),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    weight=numbers, dose=numbers, half_life=numbers, reference=numbers, duration=numbers, units=st.sampled_from(["BQML", "CNTS", "GML"]),
    times=st.fixed_dictionaries(
        dict.fromkeys(("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "TimezoneOffsetFromUTC"), clocks)
    ),
    start=clocks, dated=clocks,
)  # fmt: skip
def test_rule_17_no_header_costs_a_slice(
    tmp_path: Path, weight: str, dose: str, half_life: str, reference: str, duration: str, units: str,
    times: dict[str, str], start: str, dated: str,
) -> None:  # fmt: skip
    """Rule 17: whatever the header holds, there is a positive factor or a known reason, never both, and the slice is read."""
    injected = injection(
        RadiopharmaceuticalStartTime=("LO", start),
        RadiopharmaceuticalStartDateTime=("LO", dated),
        RadionuclideTotalDose=("LO", dose),
        RadionuclideHalfLife=("LO", half_life),
    )
    piece = pet(
        tmp_path / "a.dcm",
        Units=units,
        PatientWeight=("LO", weight),
        FrameReferenceTime=("LO", reference),
        ActualFrameDuration=("LO", duration),
        RadiopharmaceuticalInformationSequence=injected,
        **{name: ("LO", value) for name, value in times.items()},
    )
    assert (piece.suv_factor is None) != (piece.suv_missing is None)
    assert piece.suv_missing is None or piece.suv_missing in SUV_MISSING
    assert piece.suv_factor is None or 0 < piece.suv_factor < math.inf
    np.testing.assert_array_equal(piece.stored, PIXELS)


def test_rule_17_slopes_vary_per_slice(tmp_path: Path) -> None:
    """Rule 17: the factor goes with modality values, so slopes that vary per slice need no care."""
    for slope in (0.478, 104.4):
        piece = pet(tmp_path / "a.dcm", RescaleSlope=slope)
        assert piece.suv_factor == pytest.approx(KNOWN, rel=1e-9)
        np.testing.assert_allclose(piece.modality(), PIXELS * slope)


def test_rule_17_other_modalities_have_none(tmp_path: Path) -> None:
    """Rule 17: neither a factor nor a reason."""
    piece = pet(tmp_path / "a.dcm", Modality="NM")
    assert (piece.suv_factor, piece.suv_missing) == (None, None)


def test_rule_17_the_real_series(shared_data: Path) -> None:
    """Rule 17: the whole-body series has one factor, about 2.945e-4."""
    paths = sorted((shared_data / "series/pt_wholebody_qinhn0024").iterdir())
    factors = {piece.suv_factor for path in paths for piece in read(path) if isinstance(piece, Slice)}
    assert len(paths) == 299 and len(factors) == 1
    assert factors.pop() == pytest.approx(2.945e-4, abs=5e-8)


def test_rule_17_weight_dose_and_times_stay_behind(tmp_path: Path) -> None:
    """Rule 17: the data set holds the factor or the reason, and nothing that either was made of."""
    import radload

    secrets = {
        "PatientWeight": 61.73,
        "SeriesDate": "20190817",
        "SeriesTime": "131719.5",
        "AcquisitionDate": "20190817",
        "AcquisitionTime": "132323",
        "RadiopharmaceuticalInformationSequence": injection(
            RadiopharmaceuticalStartTime="121113", RadionuclideTotalDose=371213141
        ),
    }
    (tmp_path / "src").mkdir()
    position = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PatientID": "P", "SeriesInstanceUID": "1.2.7"}
    given = pet(tmp_path / "src/a.dcm", **secrets, **position, ImagePositionPatient=[0, 0, 0]).suv_factor
    pet(tmp_path / "src/b.dcm", **{**secrets, "PatientWeight": None}, **position, ImagePositionPatient=[0, 0, 3])
    pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    with radload.open(tmp_path / "out") as dataset:
        metas = [sample.meta for sample in dataset]
    assert [(meta["suv_factor"], meta["suv_missing"]) for meta in metas] == [(given, None), (None, "no-weight")]
    written = b"".join(path.read_bytes() for path in sorted((tmp_path / "out").rglob("*")) if path.is_file())
    texts = json.dumps(metas, default=str)
    for secret in ("61.73", "61730", "20190817", "2019-08-17", "131719", "132323", "121113", "371213141", "6586.2"):
        assert secret.encode() not in written and secret not in texts, secret
    for number in (61.73, 371213141.0, 6586.2):
        assert np.float64(number).tobytes() not in written and np.float32(number).tobytes() not in written, number
