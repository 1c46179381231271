"""The demo runs from files to page on a small part of its data, and fails loudly when nothing was learned."""

from __future__ import annotations

import io
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

import radload
from radload.demo.ledger import Ledger
from radload.demo.run import SPLIT, DemoFailed, Options, run
from radload.train.options import parse


class _Page(HTMLParser):
    """Collects what a browser would load, and whether tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo of two patients per modality and one epoch: too little to learn from."""
    out, text = tmp_path_factory.mktemp("demo") / "demo", io.StringIO()
    with pytest.raises(DemoFailed, match=r"of the unseen patients' images, at least 100%"):
        run(Options(out, scale=0.01, epochs=1, bound=1.0), Console(file=text, width=100))
    return out, text.getvalue()


def test_leaves_pictures_page_and_shards(demo: tuple[Path, str]) -> None:
    out, text = demo
    for name in ("contact_sheet.png", "curves.png"):
        with Image.open(out / name) as picture:
            picture.load()
            assert picture.width > 900
    with radload.open(out / "shards") as dataset:
        assert dataset.classes == (
            "CT clear", "CT nodule", "MR clear", "MR ring lesion", "X-ray clear", "X-ray effusion",
        )  # fmt: skip
        assert dataset.splits["train"] > dataset.splits["val"] > 0
    assert "report.html" in text


def test_shows_commands_that_can_be_copied(demo: tuple[Path, str]) -> None:
    """Each in one line, however narrow the console; that of the training is the one that ran."""
    out, text = demo
    shown = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("$ ")]
    assert [command[:2] for command in shown] == [
        ["radload", "pack"], ["radload", "inspect"], ["python", "train/pretrain.py"],
    ]  # fmt: skip
    assert shown[0][-2:] == ["--split", SPLIT] and str(out / "labels.csv") in shown[0]
    asked, ran = parse(shown[2][2:]).as_dict(), json.loads((out / "run/run.json").read_bytes())["config"]
    assert {name for name, value in asked.items() if value is not None and value != ran[name]} <= {"amp", "objective", "batch_size"}
    assert asked["shards"] == str(out / "shards") and asked["epochs"] == 1


def test_page_loads_nothing_from_anywhere(demo: tuple[Path, str]) -> None:
    html = (demo[0] / "report.html").read_text()
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert len(page.loads) == 2
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert not re.search(r"url\(|@import|https?://", html)


def test_page_counts_every_input_file(demo: tuple[Path, str]) -> None:
    out = demo[0]
    files = sum(path.is_file() for path in (out / "dicoms").rglob("*"))
    counts = json.loads((out / "shards" / "manifest.json").read_bytes())["source"]
    assert sum(counts.values()) == files
    html = (out / "report.html").read_text()
    for row in pq.read_table(out / "shards.private" / "rejects.parquet").to_pylist():
        assert f"<td>{row['code']}</td>" in html
        assert row["source"] not in html  # whose file it was is private


def test_page_says_what_the_log_says(demo: tuple[Path, str]) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in (demo[0] / "run" / "log.jsonl").open()]
    last = [line for line in lines if line["kind"] == "val"][-1]
    assert f"{last['top1']:.1%}" in (demo[0] / "report.html").read_text()


def test_a_second_run_would_start_clean_and_keep_foreign_files(demo: tuple[Path, str]) -> None:
    out = demo[0]
    (out / "notes.txt").write_text("mine")
    Ledger(out).remove()
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
