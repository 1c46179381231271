"""What is no training image is left out with its code and comes back by `--include`; what only looks odd stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest_pack import WriteDicom, WriteSeries
from typer.testing import CliRunner

import radload
from radload.cli import app
from radload.pack import PackOptions, pack
from radload.pack.eligible import KINDS, kind_of, left_out
from radload.sources import Header, SeriesAttributes

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
RAW_CLASS = "1.2.840.10008.5.1.4.1.1.1.2.1"


def header(modality: str, image_type: str = "", **changes: Any) -> Header:
    values: dict[str, Any] = {"channels": 1, "study": "1.2"} | changes
    return Header(
        source="a",
        format="dicom",
        rows=4,
        cols=4,
        bits=16,
        frames=1,
        attributes=SeriesAttributes(modality),
        image_type=tuple(image_type.split("\\")) if image_type else (),
        **values,
    )


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (header("CT", "ORIGINAL\\PRIMARY\\LOCALIZER"), "localizer"),
        (header("CT", "ORIGINAL\\PRIMARY\\LOCALIZER\\CT_SOM5 TOP"), "localizer"),
        (header("CT", "DERIVED\\SECONDARY\\SCREEN SAVE"), "screen-save"),
        (header("MR", "DERIVED\\SECONDARY\\CSA REPORT"), "screen-save"),
        (header("CT", "DERIVED\\SECONDARY\\\\DOSEINFO", sop_class=CAPTURE, channels=3), "dose-report"),
        (header("CT", "ORIGINAL\\SECONDARY\\OTHER\\CT_SOM5 PROT"), "dose-report"),
        (header("MR", "DERIVED\\SECONDARY\\OTHER", sop_class=CAPTURE, channels=3), "secondary-capture"),
        (header("PT", sop_class=CAPTURE + ".4", channels=3), "secondary-capture"),
        (header("RTDOSE", sop_class="1.2.840.10008.5.1.4.1.1.481.2"), "rt-object"),
        # images, every one of them
        (header("CR", "DERIVED\\PRIMARY"), None),
        (header("DX", "DERIVED\\PRIMARY\\", intent="FOR PRESENTATION"), None),
        (header("DX", "ORIGINAL\\PRIMARY\\", intent="FOR PROCESSING"), None),
        (header("CT", "DERIVED\\SECONDARY\\AXIAL\\MPR"), None),
        (header("MR", "ORIGINAL\\PRIMARY\\M\\ND\\NORM"), None),
        (header("CR", sop_class=CAPTURE), None),  # public chest radiographs
        (header("OT", sop_class=CAPTURE, channels=3), None),
        (header("CT", "DERIVED\\SECONDARY", sop_class=CAPTURE), None),
        (header("US", "ORIGINAL\\PRIMARY\\ABDOMINAL", channels=3), None),
        (header("", sop_class="1.2.840.10008.5.1.4.1.1.77.1.6"), None),  # 77 only begins like 7
    ],
)
def test_the_kind_of_a_header(one: Header, kind: str | None) -> None:
    assert kind_of(one) == kind
    assert left_out([one]) == ({} if kind is None else {0: kind})
    assert left_out([one], {kind} if kind else set()) == {}


def test_a_raw_mammogram_is_left_out_only_beside_its_processed_twin() -> None:
    def mammogram(side: str | None, view: str | None, intent: str, **changes: Any) -> Header:
        return header("MG", laterality=side, view=view, intent=intent, **changes)

    shown = mammogram("L", "CC", "FOR PRESENTATION")
    raw = mammogram("L", "CC", "FOR PROCESSING")
    assert (
        left_out([raw, shown])
        == {0: "raw-mammogram"}
        == left_out([mammogram("L", "CC", "", sop_class=RAW_CLASS), shown])
    )
    assert left_out([raw, shown], {"raw-mammogram"}) == {}
    assert left_out([raw]) == left_out([raw, raw]) == {}
    for other in (
        mammogram("R", "CC", "FOR PRESENTATION"),
        mammogram("L", "MLO", "FOR PRESENTATION"),
        mammogram("L", "CC", "FOR PRESENTATION", study="1.3"),
        mammogram("L", "CC", "FOR PRESENTATION", image_type="DERIVED\\SECONDARY\\SCREEN SAVE"),
    ):
        assert 0 not in left_out([raw, other])


@pytest.fixture
def mixed(tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom) -> Path:
    """A stack, its localizer, a dose page, and both images of a mammogram."""
    write_series(tmp_path / "src/ct", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
    write_dicom(tmp_path / "src/ct/scout.dcm", series="s1", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_dicom(tmp_path / "src/ct/dose.dcm", series="s2", ImageType=["DERIVED", "SECONDARY", "", "DOSEINFO"])
    for intent in ("PRESENTATION", "PROCESSING"):
        write_dicom(
            tmp_path / f"src/mg/{intent.lower()}.dcm",
            series=intent,
            study="mg",
            Modality="MG",
            PresentationIntentType=f"FOR {intent}",
            ImageLaterality="L",
            ViewPosition="MLO",
        )
    return tmp_path / "src"


def test_a_pack_leaves_them_out_and_include_brings_them_back(mixed: Path, tmp_path: Path) -> None:
    summary = pack(PackOptions(mixed, tmp_path / "out", workers=0))
    assert (summary.samples, summary.rejected) == (4, {"dose-report": 1, "localizer": 1, "raw-mammogram": 1})
    rejects = {row["source"]: row for row in pq.read_table(tmp_path / "out.private/rejects.parquet").to_pylist()}
    assert {name: (row["frame"], row["code"]) for name, row in rejects.items()} == {
        "ct/dose.dcm": (None, "dose-report"),
        "ct/scout.dcm": (None, "localizer"),
        "mg/processing.dcm": (None, "raw-mammogram"),
    }
    for kinds, count, waiting in ((("localizer",), 5, 0), (tuple(KINDS), 6, 1)):  # a dose page may hold a name
        out = tmp_path / str(count)
        summary = pack(PackOptions(mixed, out, workers=0, include=kinds))
        assert (summary.samples, summary.rejected.get("quarantined", 0)) == (count, waiting)
        with pytest.raises(radload.UsageError, match="different: --include"):
            pack(PackOptions(mixed, out, workers=0))


def test_the_command_takes_kinds_and_names_them_where_one_is_unknown(mixed: Path, tmp_path: Path) -> None:
    arguments = ["pack", "--src", str(mixed), "--out", str(tmp_path / "out"), "--workers", "0"]
    with pytest.raises(radload.UsageError, match=r"--include scout is unknown: choose one of localizer, screen-save, "):
        CliRunner().invoke(app, [*arguments, "--include", "scout"], catch_exceptions=False)
    done = CliRunner().invoke(app, [*arguments, "--include", "localizer", "--include", "dose-report"])
    assert done.exit_code == 0 and "rejected: raw-mammogram" in done.output and "localizer" not in done.output


def test_a_folder_with_nothing_else_says_how_to_bring_it_back(tmp_path: Path, write_dicom: WriteDicom) -> None:
    write_dicom(tmp_path / "src/a.dcm", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(radload.UsageError, match="or bring files back by --include localizer"):
        pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "value"), [("timeout", 0.0), ("timeout", float("inf")), ("memory", 0.1)])
def test_limits_that_make_no_sense_are_refused(tmp_path: Path, option: str, value: float) -> None:
    with pytest.raises(radload.UsageError, match=f"--{option} "):
        pack(PackOptions(tmp_path, tmp_path / "out", **{option: value}))  # type: ignore[arg-type]
