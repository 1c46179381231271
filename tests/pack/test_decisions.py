"""decisions.toml: what is written can be read, what is decided stays, and what cannot be used is one sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from radload.errors import UsageError
from radload.pack.decisions import Decision, check_decisions, read_decisions, read_entries, write_template
from radload.pack.groups import Group
from radload.pack.redact import Redaction

GROUP = Group("US", 'ACME "Echo"\\x', "Ümlaut\x7f", 60, 80, (5, 6, 40, 50), "1.2.840.10008.5.1.4.1.1.6.1")
PLAIN = Group("", "", "", 8, 9, None, "")


def test_the_template_asks_and_holds_the_facts(tmp_path: Path) -> None:
    path = tmp_path / "decisions.toml"
    path.write_text(write_template([(GROUP, 12, 34), (PLAIN, 1, 1)], {}), "utf-8")
    assert read_decisions(path) == {GROUP.name: Decision("ask"), PLAIN.name: Decision("ask")}
    entry = tomllib.loads(path.read_text("utf-8"))["groups"][GROUP.name]
    assert (entry["manufacturer"], entry["model"]) == (GROUP.manufacturer, GROUP.model)
    assert (entry["size"], entry["region"], entry["files"], entry["frames"]) == ([60, 80], [5, 6, 40, 50], 12, 34)
    assert "region" not in read_entries(path)[PLAIN.name]


def test_names_depend_on_every_field() -> None:
    assert GROUP.name.startswith("US-") and PLAIN.name.startswith("NA-")
    others = [
        Group("US", GROUP.manufacturer, GROUP.model, 60, 80, region, GROUP.sop_class)
        for region in (None, (5, 6, 40, 51))
    ]
    assert len({one.name for one in (GROUP, PLAIN, *others)}) == 4
    assert Group("../U/S\n", "", "", 1, 1, None, "").name.startswith("US-")


def test_a_second_template_keeps_what_was_decided(tmp_path: Path) -> None:
    path = tmp_path / "decisions.toml"
    path.write_text(
        f'version = 1\n[groups."{GROUP.name}"]\nfiles = 3\ndecision = "pack"\ncrop = [1, 2, 30, 40]\nmask = [[1, 2, 3, 4]]\n'
        '[groups.GONE-1]\nmodality = "US"\ndecision = "leave-out"\n'
    )
    before = read_decisions(path)
    path.write_text(write_template([(PLAIN, 1, 1), (GROUP, 12, 34)], read_entries(path)), "utf-8")
    assert read_decisions(path) == {**before, PLAIN.name: Decision("ask")}
    assert before[GROUP.name] == Decision("pack", Redaction((1, 2, 30, 40), ((1, 2, 3, 4),)))
    assert read_entries(path)[GROUP.name]["files"] == 12


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("version = ", "is no TOML"),
        ("[groups]", "is no decisions.toml of version 1"),
        ("version = 2", "is no decisions.toml of version 1"),
        ("version = 1\nextra = 1", "it has extra"),
        ("version = 1\ngroups = 3", "is no decisions.toml"),
        ("version = 1\n[groups]\na = 1", "groups.a is no table"),
        ('version = 1\n[groups.a]\ndecision = "yes"', "decision 'yes' of group a: choose one of pack, leave-out, ask"),
        ("version = 1\n[groups.a]\ndecision = true", "decision True of group a"),
        ("version = 1\n[groups.a]\nmasks = []", "group a has masks"),
        ('version = 1\n[groups.a]\ndecision = "pack"\ncrop = [1, 2, 3]', "crop [1, 2, 3] of group a is no rectangle"),
        ('version = 1\n[groups.a]\ndecision = "pack"\ncrop = [1, 2, 3, 4.0]', "is no rectangle"),
        ('version = 1\n[groups.a]\ndecision = "pack"\ncrop = [1, 2, 3, true]', "is no rectangle"),
        ('version = 1\n[groups.a]\ndecision = "pack"\nmask = [1, 2, 3, 4]', "mask 1 of group a is no rectangle"),
        ('version = 1\n[groups.a]\ndecision = "pack"\nmask = 3', "mask 3 of group a is no rectangle"),
        ('version = 1\n[groups.a]\ndecision = "ask"\ncrop = [1, 2, 3, 4]', 'has a rectangle and decision "ask"'),
        ('version = 1\n[groups.a]\ndecision = "leave-out"\nmask = []', "has a rectangle"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "decisions.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_decisions(path)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_decisions(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"version = 1 # \xff")
    with pytest.raises(UsageError, match="is no TOML"):
        read_decisions(tmp_path / "latin.toml")


def test_decisions_must_fit_what_is_in_quarantine(tmp_path: Path) -> None:
    groups = {GROUP.name: GROUP}
    fine = Redaction((0, 0, 60, 80), ((59, 79, 1, 1),))
    check_decisions(tmp_path, {GROUP.name: Decision("pack", fine), "US-x": Decision("ask")}, groups)
    for choice in ("pack", "leave-out"):
        with pytest.raises(UsageError, match="no quarantined file under --src is of group US-x"):
            check_decisions(tmp_path, {"US-x": Decision(choice)}, groups)
    for redaction, name in ((Redaction((0, 0, 61, 80)), "crop"), (Redaction(None, ((0, 75, 5, 6),)), "mask")):
        with pytest.raises(
            UsageError, match=rf"{name} \[.*\] of group {GROUP.name} is not inside its frames of 60 x 80"
        ):
            check_decisions(tmp_path, {GROUP.name: Decision("pack", redaction)}, groups)
