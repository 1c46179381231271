"""Tables of the private folder, read and written some rows at a time: the rows are those of one piece."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radload.errors import UsageError
from radload.pack import crosswalk
from radload.pack.crosswalk import PackedRows, open_crosswalk, write_rejects
from radload.pack.scan import Reject


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crosswalk, "_ROWS", 7)


def written(path: Path) -> pa.Table:
    rows = [
        {"key": f"{i:012d}", "source": f"a/{i}", "frame": 0, "sop": None if i % 3 else f"1.{i}", "patient": "P"}
        for i in range(20)
    ]
    table = pa.Table.from_pylist(rows, schema=crosswalk._CROSSWALK)
    pq.write_table(table, path)
    return table


def test_rows_up_to_a_key(tmp_path: Path) -> None:
    table = written(tmp_path / "crosswalk.parquet")
    rows = PackedRows(tmp_path / "crosswalk.parquet", f"{17:012d}")
    assert pa.Table.from_batches(rows.batches()).equals(table.slice(0, 17))
    assert [name for some in rows.names("source", "sop") for name in some] == [
        (row["source"], row["sop"]) for row in table.slice(0, 17).to_pylist()
    ]
    with open_crosswalk(tmp_path / "next.parquet", [], [], rows):
        pass
    assert pq.read_table(tmp_path / "next.parquet").equals(table.slice(0, 17))


@pytest.mark.parametrize("damage", ["missing", "no parquet", "no column", "other type"])
def test_what_is_no_crosswalk_is_said(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "crosswalk.parquet"
    if damage == "no parquet":
        path.write_bytes(b"nothing")
    elif damage == "no column":
        pq.write_table(written(path).drop_columns(["sop"]), path)
    elif damage == "other type":
        table = written(path)
        pq.write_table(table.set_column(6, "sop", pa.array([[1]] * len(table))), path)
    with pytest.raises(UsageError, match="says which files are packed"):
        list(PackedRows(path, "9").batches())


@pytest.mark.parametrize("count", [0, 6, 7, 20])
def test_rejects_are_written_in_their_order(tmp_path: Path, count: int) -> None:
    rejects = [Reject(f"a/\udcff{i}", i if i % 2 else None, "cut", f"reason {i}") for i in range(count)]
    write_rejects(tmp_path / "rejects.parquet", rejects)
    found = pq.read_table(tmp_path / "rejects.parquet")
    assert found.schema.equals(crosswalk._REJECTS)
    assert [(row["frame"], row["code"], row["reason"]) for row in found.to_pylist()] == [
        (one.frame, one.code, one.reason) for one in rejects
    ]
    assert all("\udcff" not in name for name in found.column("source").to_pylist())
