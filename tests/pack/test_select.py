"""--where and --holdout: a condition on the catalog and nothing else; what it leaves out is counted; held-out patients are whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from catalog_make import make_header
from conftest_pack import WriteDicom, WriteSeries, write_png

import radload
from radload.dataset.schema import SPLITS
from radload.pack import PackOptions, PackSummary, pack, select
from radload.pack.catalog_schema import SCHEMA, encode
from radload.pack.scan import InputFile, Reject
from radload.pack.select import check_expression, matching_rows


def run(source: Path, out: Path, **options: Any) -> PackSummary:
    return pack(PackOptions(source, out, **{"workers": 0, **options}))


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(out.with_name(out.name + ".private") / f"{table}.parquet").to_pylist()
    return found


def numbered(files: list[InputFile], outcomes: list[Any]) -> ds.Dataset:
    """A whole catalog of these files."""
    table = pa.Table.from_batches([encode(files, outcomes)])
    return ds.dataset(table.set_column(0, SCHEMA.field("row"), pa.array(range(len(files)), pa.int64())))


@pytest.fixture
def data() -> ds.Dataset:
    """Six images, CT and MR by turns, of six patients, a reject and an ignored file."""
    names = [f"hospital/patient-{number:07d}/series/IM{number:05d}.dcm" for number in range(6)]
    files = [InputFile(name, 1, 1) for name in (*names, "x", "y")]
    outcomes = [*(make_header(name) for name in names), Reject("x", None, "truncated", "short"), None]
    return numbered(files, outcomes)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("modality = 'CT'", [0, 2, 4]),
        ("modality = 'CT' and rows >= 512 and study_date >= '2013-01-01'", [4]),
        ('rows < 512 or "row" = 0', [0, 1, 3, 5]),
        ("row > 3", [4, 5]),
        ("true", [0, 1, 2, 3, 4, 5]),
        ("code = 'truncated'", []),
        ("b_value > 3", []),
        ("not (b_value > 3)", []),
        ("list_contains(image_type, 'AXIAL') and patient_age between 2 and 3", [2, 3]),
        ("year(study_date) = 2011", [1]),
        ("study_description ilike 'study 4'", [4]),
        ("source like '%0000005/%'", [5]),
        ("modality = 'CT' -- and a comment", [0, 2, 4]),
        ("regexp_matches(patient, '0[45]$')", [4, 5]),
        ("spacing_row is null and frames = 1 and date_diff('day', series_date, study_date) = 0", [0]),
    ],
)
def test_images_for_which_a_condition_is_true(data: ds.Dataset, expression: str, expected: list[int]) -> None:
    assert matching_rows(data, expression, "--where").tolist() == expected
    check_expression(expression, "--where")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "   ",
        "'; drop table catalog; --",
        "true; drop table catalog",
        "true) or (true",
        "true) union select row from catalog where (true",
        "read_csv('/etc/passwd')",
        "read_text('/etc/passwd') = ''",
        "exists (select * from read_csv('/etc/passwd'))",
        "(select count(*) from '/etc/passwd') > 0",
        "(select content from read_text('/etc/passwd')) <> ''",
        "rows in (select 512)",
        "exists (from duckdb_settings())",
        "getenv('HOME') <> ''",
        "copy catalog to '/tmp/x'",
        "attach '/tmp/x.db'",
        "install httpfs",
        "set enable_external_access = true",
        "pragma version",
        "random() < 0.5",
        "study_date < current_date",
        "study_date < today()",
        "study_date < now()",
        "age(study_date) > interval 3 year",
        "sleep_ms(100) is null",
        "current_setting('threads') <> ''",
        "uuid() <> ''",
        "rowss >= 512",
        "rows >=",
        "rows, cols",
        "*",
        "count(*) > 1",
        "row_number() over () > 1",
        "modality = CT",
        "rows",
        "modality",
        "null",
        "'CT'",
        "data is not null",
        "catalog",
        "\0",
    ],
)
def test_anything_else_is_refused_in_one_sentence(data: ds.Dataset, expression: str) -> None:
    for check in (lambda: check_expression(expression, "--where"), lambda: matching_rows(data, expression, "--where")):
        with pytest.raises(radload.UsageError) as refused:
            check()
        said = str(refused.value)
        assert said.startswith("--where ") and "\n" not in said
        assert "root:" not in said, "it quotes the file"
    assert not Path("/tmp/x").exists() and not Path("/tmp/x.db").exists()


def test_the_connection_is_locked_and_reaches_nothing(data: ds.Dataset, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with select._connection(data) as connection:
        assert connection.execute("SELECT count(*) FROM catalog").fetchone() == (8,)
        for statement in (
            "SET enable_external_access = true",
            "SET lock_configuration = false",
            f"SELECT * FROM '{tmp_path / 'a.csv'}'",
            f"SELECT * FROM read_csv('{tmp_path / 'a.csv'}')",
            f"COPY (SELECT 1) TO '{tmp_path / 'b.csv'}'",
            f"ATTACH '{tmp_path / 'b.db'}'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SELECT * FROM data",  # a variable of this function
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_misspelt_column_is_answered_with_the_columns(data: ds.Dataset) -> None:
    with pytest.raises(
        radload.UsageError, match=r'"modalty" not found.*columns row, source, .*modality.*slice_thickness$'
    ):
        check_expression("modalty = 'CT'", "--where")


def test_a_value_that_fails_is_said(data: ds.Dataset) -> None:
    for expression in ("cast(patient as date) > '2000-01-01'", "rows >= 'many'"):
        with pytest.raises(radload.UsageError, match=r"--where fails on a value \(ConversionException\)") as said:
            matching_rows(data, expression, "--where")
        assert "P0000" not in str(said.value), "it names a patient"


def test_what_is_not_selected_is_counted(clinic: Path, tmp_path: Path) -> None:
    summary = run(clinic, tmp_path / "out", where="patient <> 'P3' and instance <= 2")
    assert (summary.packed, summary.rejected, summary.ignored, summary.files) == (14, {"not-selected": 10}, 1, 25)
    found = rows(tmp_path / "out", "rejects")
    assert {(row["code"], row["frame"], row["reason"]) for row in found} == {
        ("not-selected", None, "the expression of --where is not true for it")
    }
    packed = {row["source"] for row in rows(tmp_path / "out", "crosswalk")}
    assert len(packed) == 14 and not packed & {row["source"] for row in found}
    assert not any("Doe_3" in name for name in packed)
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert manifest["source"] == {"packed": 14, "rejected": 10, "ignored": 1}
    assert "P3" not in json.dumps(manifest) and any("--where" in note for note in manifest["notes"])


def test_a_selection_packs_what_a_folder_with_those_files_does(
    clinic: Path, tmp_path: Path, write_series: WriteSeries
) -> None:
    run(clinic, tmp_path / "one", where="patient in ('P0', 'P1')", split="100/0/0")
    for number in range(2):
        for name in ("a", "b"):
            folder = tmp_path / f"two_src/Doe_{number}/{name}"
            write_series(folder, patient=f"P{number}", study=f"st{number}", series=f"s{number}{name}")
    run(tmp_path / "two_src", tmp_path / "two", split="100/0/0")
    with radload.open(tmp_path / "one") as one, radload.open(tmp_path / "two") as two:
        assert one.manifest.fingerprint == two.manifest.fingerprint and len(one) == len(two) == 12


@pytest.mark.parametrize("option", ["where", "holdout"])
def test_an_expression_that_matches_nothing_is_an_error_and_leaves_nothing(
    clinic: Path, tmp_path: Path, option: str
) -> None:
    with pytest.raises(radload.UsageError, match=f"--{option} (is true for|matches) none of the"):
        run(clinic, tmp_path / "out", **{option: "modality = 'US'"})
    with pytest.raises(radload.UsageError, match=f"--{option} cannot be understood"):
        run(clinic, tmp_path / "out", **{option: "modalityy = 'US'"})
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.private").exists()


def test_selections_are_part_of_the_plan(clinic: Path, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"where": "rows > 1", "slices": "max:2", "frames": "first", "drop_empty": True}
    run(clinic, tmp_path / "out", holdout="patient = 'P1'", **chosen)
    assert not run(clinic, tmp_path / "out", holdout="patient = 'P1'", **chosen).fresh
    names = r"different: --where, --holdout, --slices, --frames, --drop-empty\)"
    with pytest.raises(radload.UsageError, match=names):
        run(clinic, tmp_path / "out")


def test_held_out_patients_are_whole_and_the_others_keep_their_quotas(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for number in range(12):
        for place in range(2):
            station = "new" if number < 2 and place == 1 else "old"
            path = tmp_path / f"src/{number}/{place}.dcm"
            write_dicom(path, patient=f"P{number}", series=f"s{number}", place=place, StationName=station)
    summary = run(tmp_path / "src", tmp_path / "out", holdout="station = 'new'", split="80/20/0")
    assert {name: summary.splits[name]["patients"] for name in SPLITS} == {"train": 8, "val": 2, "test": 2}
    splits = {row["name"]: (row["split"], row["given"]) for row in rows(tmp_path / "out", "splits")}
    assert [name for name, (split, _) in splits.items() if split == "test"] == ["P0", "P1"]
    assert all(given == (split == "test") for split, given in splits.values())
    assert summary.splits["test"]["samples"] == 4
    rule = json.loads((tmp_path / "out/manifest.json").read_bytes())["split_rule"]
    assert (rule["holdout"]["patients"], rule["given_patients"]) == (2, 0)
    assert len(rule["holdout"]["expression"]) == 32 and rule["quotas"] == {"train": 8, "val": 2, "test": 0}
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert b"station" not in path.read_bytes()


def test_a_holdout_and_a_list_of_splits_must_agree(clinic: Path, tmp_path: Path) -> None:
    table = tmp_path / "splits.csv"
    table.write_text("patient,split\nP0,train\nP1,test\n")
    with pytest.raises(radload.UsageError, match="--holdout puts 1 patients into the test split whom the given splits"):
        run(clinic, tmp_path / "out", splits=table, holdout="patient <= 'P2'")
    summary = run(clinic, tmp_path / "out", splits=table, holdout="patient in ('P1', 'P2')", split="100/0/0")
    assert summary.splits["test"]["patients"] == 2
    rule = json.loads((tmp_path / "out/manifest.json").read_bytes())["split_rule"]
    assert (rule["given_patients"], rule["holdout"]["patients"]) == (2, 2)


def test_only_what_is_packed_holds_a_patient_out(clinic: Path, tmp_path: Path) -> None:
    with pytest.raises(radload.UsageError, match="--holdout matches none of the images that are packed"):
        run(clinic, tmp_path / "out", where="patient <> 'P1'", holdout="patient = 'P1'")


def test_folders_of_radimagenet_have_their_modality(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for modality in ("CT", "MR", "US"):
        write_png(tmp_path / f"src/{modality}/knee/normal/0.png", random.integers(0, 256, (8, 8), np.uint8))
    summary = run(tmp_path / "src", tmp_path / "out", where="modality in ('CT', 'US')", attest_no_phi=True)
    assert (summary.packed, summary.rejected) == (2, {"not-selected": 1})
    (reject,) = rows(tmp_path / "out", "rejects")
    assert reject["source"] == "MR/knee/normal/0.png"


def test_many_rows_are_selected_as_a_plain_loop_would(tmp_path: Path) -> None:
    names = [f"hospital/patient-{number:07d}/series/IM{number % 7:05d}.dcm" for number in range(5000)]
    headers = [make_header(name) for name in names]
    data = numbered([InputFile(name, 1, 1) for name in names], headers)
    found = matching_rows(data, "instance % 3 = 1 and patient_age > 40 and modality = 'MR'", "--where")
    expected = [
        row
        for row, header in enumerate(headers)
        if (header.instance or 0) % 3 == 1
        and (header.private.patient_age or 0) > 40
        and header.attributes.modality == "MR"
    ]
    np.testing.assert_array_equal(found, expected)
    assert len(expected) > 100
