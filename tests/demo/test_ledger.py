"""The demo starts clean, and never deletes what it did not make."""

from __future__ import annotations

from pathlib import Path

import pytest

from radload.demo.ledger import NAME, Ledger
from radload.errors import UsageError


def _make(root: Path) -> None:
    ledger = Ledger(root)
    with ledger.stage("data", "page.html"):
        (root / "data" / "deep").mkdir(parents=True)
        (root / "data" / "deep" / "a").write_text("a")
        (root / "data" / "b").write_text("b")
        (root / "page.html").write_text("page")


def test_a_new_run_finds_an_empty_folder(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    _make(root)
    assert Ledger(root).clean() == []
    assert [path.name for path in root.iterdir()] == [NAME]


def test_foreign_files_stay_and_are_named(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    _make(root)
    (root / "mine.txt").write_text("mine")
    (root / "data" / "deep" / "mine.dcm").write_text("mine")
    assert Ledger(root).clean() == ["data/deep/mine.dcm"]
    assert sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()) == [
        NAME, "data/deep/mine.dcm", "mine.txt",
    ]  # fmt: skip


def test_links_are_removed_but_never_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "demo", tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    ledger = Ledger(root)
    with ledger.stage("data"):
        (root / "data").mkdir()
        (root / "data" / "link").symlink_to(outside)
    assert Ledger(root).remove() == []
    assert (outside / "precious").read_text() == "keep"
    assert not root.exists()


def test_a_killed_stage_is_cleaned_as_well(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    _make(root)
    with pytest.raises(KeyboardInterrupt), Ledger(root).stage("run"):
        (root / "run").mkdir()
        (root / "run" / "half").write_text("half")
        raise KeyboardInterrupt
    assert Ledger(root).clean() == []
    assert [path.name for path in root.iterdir()] == [NAME]


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_refuses_what_is_not_its_own(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "demo"
    if kind == "file":
        root.write_text("x")
    else:
        root.mkdir()
        (root / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="no demo made"):
        Ledger(root)
    assert kind == "file" or [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        Ledger(tmp_path)
