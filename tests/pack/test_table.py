"""Tables: a header says what rows are about; a file is found by itself or the nearest folder; contradictions are refused by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from radload.errors import UsageError
from radload.pack.table import Identity, key_column, read_table


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_path_is_found_by_itself_or_by_the_nearest_folder(tmp_path: Path) -> None:
    found = read_table(table(tmp_path, "path,label\n./a/,far\na/b,near\na/b/x.png,own\n"), "--labels")
    paths = ["a/y.png", "a/b/y.png", "a/b/x.png", "ab/x.png", "c.png"]
    rows = found.find_all(Identity(path=path) for path in paths)
    assert [found.values["label"][row] if row is not None else None for row in rows] == [
        "far",
        "near",
        "own",
        None,
        None,
    ]


def test_the_source_folder_itself_is_a_dot(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, "path,label\n.,all\n"), "--labels").find(Identity(path="x/y.png")) == 0


@pytest.mark.parametrize(
    ("header", "identity"),
    [
        ("PatientID", Identity(patient="77")),
        ("study", Identity(study="77")),
        ("AccessionNumber", Identity(accession=" 77 ")),
        ("SeriesInstanceUID", Identity(series="77")),
        ("sop", Identity(sop="77")),
        ("key", Identity(key="000000000077")),
    ],
)
def test_the_header_says_which_identity_a_row_names(tmp_path: Path, header: str, identity: Identity) -> None:
    path = table(tmp_path, f"label,{header}\nx,77\n")
    assert read_table(path, "--labels").find(identity) == 0
    assert read_table(path, "--labels").find(Identity(path="77")) is None
    assert key_column(path, "--labels") == next(name for name in Identity.__slots__ if getattr(identity, name))


def test_a_byte_order_mark_quotes_and_empty_lines_are_no_trouble(tmp_path: Path) -> None:
    path = table(tmp_path, '\ufeffpath,label\n"a, b.png",x\n\n,,\n'.replace(",,", ","))
    assert read_table(path, "--labels").rows == {"a, b.png": 0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no rows"),
        ("path,label\n", "no rows"),
        ("name,label\na,b\n", "one key column, and has none"),
        ("path,patient,label\na,b,c\n", "path and patient"),
        ("path\na\n", "nothing else"),
        ("path,label\na,b,c\n", "line 2"),
        ("path,label\na,x\na/,y\n", "lines 2 and 3"),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_table(table(tmp_path, text), "--labels")


def test_a_missing_file_column_or_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(tmp_path / "none.csv", "--labels")
    with pytest.raises(UsageError, match="no column split"):
        read_table(table(tmp_path, "path,label\na,b\n"), "--splits", ["split"])
    (tmp_path / "latin.csv").write_bytes(b"path,label\n\xe9,\xff\n")
    with pytest.raises(UsageError, match="UTF-8"):
        read_table(tmp_path / "latin.csv", "--labels")
