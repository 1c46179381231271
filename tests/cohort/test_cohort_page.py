"""The page's numbers are those of the samples, they add up, and nothing on it names a person, a path or a UID."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from conftest_pack import WriteDicom, WriteSeries, uid
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

import radload
from radload.cli import main
from radload.cohort import describe, write_page
from radload.errors import UsageError
from radload.pack import PackOptions, pack
from radload.pack.trace import trace

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
FILES = ["class_by_scanner.csv", "cohort.md", "flow.csv", "flow.png", "table1.csv"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


LEFT_OUT = {"decode-failed": 1, "truncated": 1}


@pytest.fixture
def hospital(tmp_path: Path, write_series: WriteSeries, write_dicom: WriteDicom) -> Path:
    """20 patients: class a all on one scanner, class b on two; two broken files, one of them of a patient with a header, one text file."""
    root = tmp_path / "St_Mary"
    lines = ["patient,label"]
    for number in range(20):
        name, label = f"Doe^{number}", "ab"[number % 2]
        scanner = (
            ("GE", "Signa") if label == "a" else [("Philips ", "Ingenia"), ("philips", "Achieva")][number % 4 // 2]
        )
        write_series(
            root / name, patient=f"ID{number}", study=f"st{number}", series=f"se{number}", Modality="MR",
            Manufacturer=scanner[0], ManufacturerModelName=scanner[1], MagneticFieldStrength=1.5 if number < 12 else 3.0,
        )  # fmt: skip
        lines.append(f"ID{number},{label}")
    write_dicom(root / "cut.dcm", patient="ID99", study="st99", series="se99")
    (root / "cut.dcm").write_bytes((root / "cut.dcm").read_bytes()[:-50])
    write_dicom(root / "garbage.dcm", patient="ID98", study="st98", series="se98")
    broken = pydicom.dcmread(root / "garbage.dcm")
    broken.file_meta.TransferSyntaxUID = JPEG2000Lossless
    broken.PixelData = encapsulate([b"no codestream"])
    broken.save_as(root / "garbage.dcm")
    (root / "notes.txt").write_text("Mrs Doe")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    options = PackOptions(root, tmp_path / "shards", labels=tmp_path / "labels.csv", split="50/20/30", workers=0)
    pack(options)
    return tmp_path / "shards"


def test_numbers_are_those_of_the_samples(hospital: Path, tmp_path: Path) -> None:
    with radload.open(hospital) as dataset:
        write_page(describe(dataset, exact=True), tmp_path / "page")
        samples = list(dataset)
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == FILES
    table = {(row["variable"], row["level"], row["split"]): row for row in rows_of(tmp_path / "page" / "table1.csv")}
    levels = {
        ("All", ""): samples,
        ("Modality", "MR"): samples,
        ("Class", "a"): [s for s in samples if s.label == "a"],
        ("Class", "b"): [s for s in samples if s.label == "b"],
        ("Manufacturer", "GE"): [s for s in samples if s.meta["manufacturer"] == "GE"],
        ("Manufacturer", "Philips"): [s for s in samples if s.meta["manufacturer"].lower().strip() == "philips"],
        ("Field strength", "3 T"): [s for s in samples if s.meta["field_strength"] == 3.0],
        ("Field strength", "1.5 T"): [s for s in samples if s.meta["field_strength"] == 1.5],
    }
    for (variable, level), chosen in levels.items():
        for split in ("train", "val", "test", "all"):
            mine = [s for s in chosen if split in (s.split, "all")]
            row = table[variable, level, split]
            assert int(row["samples"]) == len(mine)
            for column in ("patients", "series", "studies"):
                singular = {"patients": "patient", "series": "series", "studies": "study"}[column]
                assert int(row[column]) == len({s.meta[singular] for s in mine})
    assert table["Slice spacing, mm", "", "all"]["median"] == "2.5"
    assert float(table["Pixel spacing (rows), mm", "", "all"]["median"]) == pytest.approx(0.7)
    scanners = {(r["class"], r["kind"], r["scanner"]): r for r in rows_of(tmp_path / "page" / "class_by_scanner.csv")}
    assert scanners["a", "manufacturer", "GE"]["share"] == "1.0000"
    assert scanners["b", "model", "Philips Ingenia"]["samples"] == "15"


def test_flow_adds_up_and_gives_the_reasons(hospital: Path, tmp_path: Path) -> None:
    with radload.open(hospital) as dataset:
        flow = describe(dataset).flow
        assert (flow.files, flow.ignored, flow.excluded, flow.packed) == (63, 1, LEFT_OUT, 60)
        assert flow.files == flow.ignored + flow.rejected + flow.packed
        assert flow.frames == {} and flow.without_image == "<5"
        assert describe(dataset, exact=True).flow.without_image == "1"
        shutil.rmtree(tmp_path / "shards.private")
        blind = describe(dataset)
        assert (blind.flow.excluded, blind.flow.frames) == ({"reason not recorded": 2}, None)
        assert blind.flow.files == flow.files
        assert any("the private folder was not there" in note for note in blind.notes)
        with pytest.raises(UsageError, match="--private"):
            describe(dataset, private=tmp_path / "shards.private")


def test_a_file_that_is_packed_as_a_mask_is_no_excluded_file(hospital: Path, tmp_path: Path) -> None:
    path = tmp_path / "shards.private" / "crosswalk.parquet"
    table = pq.read_table(path)
    masks = pa.array(["garbage.dcm", *[None] * (table.num_rows - 1)], pa.string())
    place = table.schema.get_field_index("mask_source")
    pq.write_table(table.set_column(place, "mask_source", masks), path)
    with radload.open(hospital) as dataset:
        flow = describe(dataset).flow
    assert (flow.excluded["truncated"], flow.frames) == (1, {"decode-failed": 1})
    assert trace(hospital, ["0"])[0].source == table.column("source")[0].as_py()


def test_a_class_from_one_scanner_is_warned_of(
    hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with radload.open(hospital) as dataset:
        warnings = describe(dataset).scanners.warnings
    assert len(warnings) == 3
    assert warnings[0].startswith(
        "100% of the samples of class 'a' come from one manufacturer, GE (50% of all samples)"
    )
    assert warnings[1].startswith("100% of the samples of class 'a' come from one model, GE Signa")
    assert warnings[2].startswith("100% of the samples of class 'b' come from one manufacturer, Philips")
    with pytest.raises(SystemExit):
        main(["cohort", str(hospital), "--out", str(tmp_path / "page")])
    assert f"warning: {warnings[0]}" in capsys.readouterr().out
    assert f"> **Warning.** {warnings[1]}" in (tmp_path / "page" / "cohort.md").read_text()


def test_small_groups_are_hidden_by_default(hospital: Path, tmp_path: Path) -> None:
    with radload.open(hospital) as dataset:
        write_page(describe(dataset), tmp_path / "page")
        exact = describe(dataset, exact=True)
    small = Counter(
        (row.variable, row.level, count.patients)
        for row in (*exact.table.rows, *exact.table.classes)
        for count in row.counts
        if 0 < count.patients < 5
    )
    assert small  # 20 patients in three splits: the val split has four
    for row in rows_of(tmp_path / "page" / "table1.csv"):
        assert row["patients"] in ("", "0", "<5") or int(row["patients"].lstrip("≥")) >= 5
        if row["patients"] == "<5":
            assert (row["studies"], row["series"], row["samples"]) == ("", "", "")
    assert "<5" in (tmp_path / "page" / "cohort.md").read_text()


def test_nothing_private_is_on_the_page(hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for exact in ([], ["--exact"]):
        with pytest.raises(SystemExit) as ended:
            main(["cohort", str(hospital), "--out", str(tmp_path / "page"), *exact])
        assert not ended.value.code
        text = capsys.readouterr().out.replace(str(tmp_path), "")
        text += "".join((tmp_path / "page" / name).read_text() for name in FILES if not name.endswith("png"))
        with Image.open(tmp_path / "page" / "flow.png") as picture:
            text += str(picture.info)
            assert picture.width > 1000 and picture.height > 800
        for private in (
            "Doe",
            "ID1",
            "ID99",
            "St_Mary",
            "notes",
            "cut.dcm",
            "garbage",
            str(tmp_path),
            uid("st1"),
            uid("se1"),
        ):
            assert private not in text
        with radload.open(hospital) as dataset:
            for name in ("patients", "studies", "series"):
                assert not any(p in text for p in dataset.index.table(name).column("pseudonym").to_pylist())


def test_the_committed_golden_files_add_up(tmp_path: Path) -> None:
    pack(PackOptions(GOLDEN, tmp_path / "shards", labels_from="modality", workers=0))
    with radload.open(tmp_path / "shards") as dataset:
        cohort = describe(dataset, exact=True)
        write_page(cohort, tmp_path / "page")
        source = dataset.manifest.source
        samples = len(dataset)
    flow = cohort.flow
    assert flow.files == sum(path.is_file() for path in GOLDEN.rglob("*"))
    assert flow.files == flow.packed + flow.rejected + flow.ignored
    assert (flow.packed, flow.rejected, flow.ignored) == (source["packed"], source["rejected"], source["ignored"])
    rows = rows_of(tmp_path / "page" / "flow.csv")
    left_out = sum(int(row["number"]) for row in rows if row["step"] == "excluded files")
    numbers = {row["step"]: row["number"] for row in rows if not row["reason"]}
    assert int(numbers["files found"]) == left_out + int(numbers["files packed"])
    assert int(numbers["samples packed"]) == samples
    classes = [row for row in rows_of(tmp_path / "page" / "table1.csv") if row["variable"] == "Class"]
    assert sum(int(row["samples"]) for row in classes if row["split"] == "all") == samples
    page = "".join((tmp_path / "page" / name).read_text() for name in FILES if not name.endswith("png"))
    assert not any(
        path.name in page or path.stem in page for path in GOLDEN.iterdir() if path.suffix in (".dcm", ".nii")
    )


def test_without_labels_there_is_no_class_table(tmp_path: Path) -> None:
    pack(PackOptions(GOLDEN, tmp_path / "shards", workers=0))
    with radload.open(tmp_path / "shards") as dataset:
        cohort = describe(dataset)
    write_page(cohort, tmp_path / "page")
    assert cohort.table.classes == () and cohort.scanners.rows == ()
    assert "no label set in use" in (tmp_path / "page" / "cohort.md").read_text()
    with pytest.raises(UsageError, match="--out"):
        write_page(cohort, tmp_path / "none" / "page")


def test_all_real_files_add_up(shared_data: Path, tmp_path: Path) -> None:
    pack(PackOptions(shared_data, tmp_path / "shards", workers=2))
    with radload.open(tmp_path / "shards") as dataset:
        flow = describe(dataset).flow
    assert flow.files == sum(path.is_file() for path in shared_data.rglob("*"))
    assert flow.files == flow.packed + flow.rejected + flow.ignored
    assert "reason not recorded" not in flow.excluded
