"""docs/rejects.md and the tables of codes say the same, both ways; what the page says brings a file back exists."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from radload.cli import app
from radload.pack.codes import PACK_CODES
from radload.pack.eligible import KINDS
from radload.pack.options import INCLUDABLE
from radload.sources import CODES

PAGE = (Path(__file__).parents[2] / "docs/rejects.md").read_text()
ROWS = {
    match[1]: [cell.strip() for cell in match[2].strip(" |").split("|")]
    for match in re.finditer(r"^\| `([a-z-]+)` \|(.*)$", PAGE, re.M)
}
TABLES = {"sources": CODES, "pack": PACK_CODES, "kinds": KINDS}


def test_the_page_has_every_code_and_no_other() -> None:
    assert set(ROWS) == set(CODES) | set(PACK_CODES) | set(KINDS)
    assert len(re.findall(r"^\| `[a-z-]+` \|", PAGE, re.M)) == len(ROWS), "a code stands there twice"
    assert all(all(cells) and len(cells) >= 2 for cells in ROWS.values())


def test_every_code_can_be_stable() -> None:
    for table in TABLES.values():
        for code in table:
            assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert not set(PACK_CODES) & set(KINDS)


def test_kinds_and_only_kinds_are_brought_back_by_include() -> None:
    back = {code: re.findall(r"`--include ([a-z-]+)`", " ".join(cells)) for code, cells in ROWS.items()}
    assert {code for code, kinds in back.items() if kinds} == set(INCLUDABLE)
    assert all(back[kind] == [kind] for kind in INCLUDABLE)


def test_options_of_the_page_exist() -> None:
    command = typer.main.get_command(app).commands["pack"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]*", PAGE)) <= known


def test_codes_in_the_code_are_in_a_table() -> None:
    """Every literal code that a Refused or a Reject is made with."""
    used = set()
    for path in Path(__file__).parents[2].glob("radload/**/*.py"):
        text = path.read_text()
        used |= set(re.findall(r"Refused\(\s*\"([^\"]+)\"", text))
        used |= set(re.findall(r"Reject\([^()]*?, None, \"([^\"]+)\"", text))
    assert len(used) > 12 and used <= set(CODES) | set(PACK_CODES) | set(KINDS)
