"""docs/dicom.md names, for every rule, tests that exist and cite it; its lists and those of docs/format.md are the code's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from radload.sources import SUV_MISSING, WindowExplanation
from radload.sources.dicom_codestreams import SYNTAXES
from radload.sources.dicom_file import NATIVE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/dicom.md").read_text()
RULES = {
    int(row[1]): row[2]
    for row in re.finditer(r"^\| (\d+) \|(.*)\|$", PAGE.partition("## Rule by rule")[2], re.M)
}  # fmt: skip
ELSEWHERE = (39, 40, 41)  # rules of packing, whose tests need not cite a number


@cache
def functions_in(path: str) -> dict[str, str]:
    """Test -> its name and docstring."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return {node.name: f"{node.name.replace('_', ' ')} {ast.get_docstring(node) or ''}" for node in functions}


def cited(text: str) -> set[int]:
    """Rules that a name or docstring cites: "Rule 5", "Rules 5 and 27", "rule 5"."""
    found = re.findall(r"\brules? (\d+(?:(?:,| and) \d+)*)", text, re.I)
    return {int(number) for part in found for number in re.findall(r"\d+", part)}


def test_every_rule_is_in_the_table() -> None:
    assert sorted(RULES) == list(range(1, 42))


@pytest.mark.parametrize("rule", range(1, 42))
def test_every_named_test_exists_and_one_cites_the_rule(rule: int) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", RULES[rule])
    assert named
    for path, name in named:
        assert name in functions_in(path), f"{path}::{name}"
    if rule not in ELSEWHERE:
        assert any(rule in cited(functions_in(path)[name]) for path, name in named)


def test_the_codes_are_those_of_the_code() -> None:
    table = PAGE.partition("## SUV")[2].partition("## Geometry")[0]
    listed = dict(re.findall(r"^\| ([a-z-]+) \| (.*) \|$", table, re.M))
    listed.pop("code")
    assert listed == SUV_MISSING


def test_the_syntaxes_are_those_of_the_code() -> None:
    table = PAGE.partition("| transfer syntax |")[2].partition("\n\n")[0]
    listed = {f"1.2.840.10008.1.2{end}" for end in re.findall(r"(?<![\w.])(\.[\d.]*\d)", table)}
    assert listed | {"1.2.840.10008.1.2"} == SYNTAXES | NATIVE


def test_explanations_of_windows_stand_in_the_format() -> None:
    text = (ROOT / "docs/format.md").read_text().partition("Window explanations:")[2].partition("\n\n")[0]
    listed = {name: int(code) for code, name in re.findall(r"(\d+) ([A-Z_]+)", text)}
    assert listed == {member.name: int(member) for member in WindowExplanation}
