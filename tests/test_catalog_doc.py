"""docs/catalog.md: its table of columns is the catalog's, its queries run, and its conditions are conditions."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parent / "pack"))

from conftest_pack import WriteDicom, write_dicom

from radload.pack.catalog_schema import SCHEMA
from radload.pack.scan_command import ScanOptions, scan_folder
from radload.pack.select import check_expression
from radload.sources import Units

__all__ = ["write_dicom"]

PAGE = (Path(__file__).parents[1] / "docs/catalog.md").read_text()
PLAIN = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "date": pa.date32(), "bool": pa.bool_()}


def word_for(kind: pa.DataType) -> str:
    """How the page calls an Arrow type."""
    if pa.types.is_list(kind):
        inner = word_for(kind.value_type)
        return f"list of {inner}" if inner in PLAIN else "list"
    return "struct" if pa.types.is_struct(kind) else next(word for word, plain in PLAIN.items() if plain == kind)


def test_the_table_names_every_column_with_its_type_in_order() -> None:
    table = PAGE[PAGE.index("| column | type |") : PAGE.index("NIfTI, PNG and JPEG files")]
    found: list[tuple[str, str]] = []
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            continue
        names, types = (cell.strip() for cell in line.strip("|").split("|")[:2])
        columns = re.findall(r"`(\w+)`", names)
        kinds = types.split(", ")
        found += zip(columns, kinds * len(columns) if len(kinds) == 1 else kinds, strict=True)
    assert found == [(field.name, word_for(field.type)) for field in SCHEMA]
    assert all(f"`{unit.name}`" in table for unit in Units)


def test_the_queries_run(tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dicom(tmp_path / "dicoms/a.dcm", StudyDate="20200102", StationName="CT-7", ConvolutionKernel="B30f")
    (tmp_path / "dicoms/empty.dcm").touch()
    scan_folder(ScanOptions(tmp_path / "dicoms", tmp_path / "shards.private", workers=0))
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```sql\n(.*?)```", PAGE, re.S)
    assert block is not None
    queries = [query for query in block[1].split(";") if query.strip()]
    found = [duckdb.sql(query).fetchall() for query in queries]
    assert found == [
        [("CT", None, 1, 1, 1)],
        [("empty-file", "the file is empty", 1)],
        [(2020, "CT-7", 1)],
    ]
    for names in re.findall(r"columns=\[(.*?)\]", PAGE):
        columns = re.findall(r'"(\w+)"', names)
        assert pq.read_table("shards.private/catalog.parquet", columns=columns).num_rows == 2


def test_the_conditions_are_conditions() -> None:
    conditions = re.findall(r'--(?:where|holdout) "(.*?)"', PAGE)
    conditions += re.findall(
        r"`((?:list_contains|series_description|regexp_matches|year|slice_thickness)[ (].*?)`", PAGE
    )
    assert len(conditions) == 7
    for condition in conditions:
        check_expression(condition, "--where")
