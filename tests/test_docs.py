"""What the pages show exists: each argument of each call of radload in their Python, each option of each `radload` command."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import radload
from radload.cli import app

_ROOT = Path(__file__).parents[1]
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
# In a block or between backticks, up to its end; a backslash goes on in the next line.
_COMMAND = re.compile(r"\bradload ([a-z]+)((?:\\\n|[^`\n#;|])*)")
_OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")


def _calls(code: str) -> Iterator[tuple[str, list[str]]]:
    """(name, keywords) of each call `radload.name(...)`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and re.fullmatch(r"radload\.\w+", ast.unparse(node.func)):
            yield ast.unparse(node.func).removeprefix("radload."), [each.arg for each in node.keywords if each.arg]


@pytest.mark.parametrize(
    "page", [page for page in _PAGES if "```python" in page.read_text()], ids=lambda page: page.name
)
def test_calls_have_the_arguments_that_are_shown(page: Path) -> None:
    for code in _PYTHON.findall(page.read_text()):
        for name, keywords in _calls(code):
            unknown = set(keywords) - inspect.signature(getattr(radload, name)).parameters.keys()
            assert not unknown, f"radload.{name} has no {unknown}"


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, rest in _COMMAND.findall(page.read_text()):
        if name in commands:
            options = {option for each in commands[name].params for option in (*each.opts, *each.secondary_opts)}
            unknown = set(_OPTION.findall(rest)) - options
            assert not unknown, f"radload {name} has no {unknown}"


def test_the_pages_show_calls_and_commands() -> None:
    text = "\n".join(page.read_text() for page in _PAGES)
    assert sum(len(list(_calls(code))) for code in _PYTHON.findall(text)) > 30
    assert sum(bool(_OPTION.search(rest)) for _, rest in _COMMAND.findall(text)) > 30
