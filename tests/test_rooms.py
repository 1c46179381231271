"""The rooms of CONTRIBUTING.md: who may know of whom, read from the import statements, and no module that needs itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import radload

_ROOT = Path(radload.__file__).parent
_TORCH = frozenset(("torch", "timm"))
_GPU = frozenset(("nvidia", "cupy"))
_SOURCES = frozenset(("pydicom", "nibabel"))
_ABOVE_PACK = frozenset(
    f"radload.{room}" for room in ("loading", "train", "inference", "verify", "versions", "export", "review")
)

# Room -> what none of its modules may import, at the top of a file, in a function or for types alone.
MAY_NOT_KNOW = {
    "sources": _TORCH | _GPU | {"tarfile", "radload.dataset", "radload.codecs", "radload.pack", "radload.loading"},
    "codecs": _TORCH | _SOURCES | {"cupy", "nvidia.dali"} | {"radload.sources", "radload.pack", "radload.loading"},
    "dataset": _TORCH | _GPU | _SOURCES | {"radload.pack", "radload.loading", "radload.train"},
    "remote": _TORCH | _GPU | _SOURCES | {"radload.pack", "radload.loading", "radload.train"},
    "pack": _TORCH | _GPU | _ABOVE_PACK,
    "loading": _SOURCES | {"timm", "tarfile", "radload.pack", "radload.train"},
    "kernels": _TORCH | _SOURCES | {"nvidia"} | {f"radload.{room}" for room in ("dataset", "codecs", "sources", "loading", "pack")},
    "train": _SOURCES | _GPU | {"tarfile", "webdataset", "radload.pack", "radload.sources", "radload.codecs"},
}  # fmt: skip
# Of a room that it may not know otherwise: what stored values mean is the vocabulary of all rooms, and a table of names.
_SHARED = frozenset(("radload.sources.slice",))


@cache
def _modules() -> dict[str, Path]:
    """Module -> file; `kernels` and `train` may be links, which are folders too."""
    found = {}
    for folder in (_ROOT, *sorted(path for path in _ROOT.rglob("*") if path.is_dir())):
        for path in folder.glob("*.py"):
            parts = ("radload", *path.relative_to(_ROOT).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _statements(node: ast.AST, deep: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; not `deep`: those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not deep) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test) and not deep
        ):
            continue
        else:
            yield from _statements(child, deep)


@cache
def _imports(module: str, deep: bool = True) -> frozenset[str]:
    """What a module imports, by full names: modules of ours, or "torch.nn" and the like."""
    found = set()
    for statement in _statements(ast.parse(_modules()[module].read_text()), deep):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        assert statement.level == 0, f"{module}: relative imports are not read here"
        base = statement.module or ""
        for alias in statement.names:
            whole = f"{base}.{alias.name}"
            found.add(whole if whole in _modules() else base)
    return frozenset(found)


def _circles() -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in _imports(module) & _modules().keys() - {module}:
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            place = stack.index(module)
            if len(circle := stack[place:]) > 1:
                found.append(sorted(circle))
            del stack[place:]

    for module in _modules():
        if module not in number:
            visit(module)
    return found


def test_no_module_needs_itself() -> None:
    """Neither directly nor through others, nor in a function or for types alone: who reads one file reads no circle."""
    assert len(_modules()) > 250
    assert _circles() == []


@pytest.mark.parametrize("room", MAY_NOT_KNOW)
def test_rooms_know_what_they_may(room: str) -> None:
    inside = [module for module in _modules() if module == f"radload.{room}" or module.startswith(f"radload.{room}.")]
    assert inside
    for module in inside:
        for name in _imports(module) - _SHARED:
            known = {name.partition(".")[0], ".".join(name.split(".")[:2])} & MAY_NOT_KNOW[room]
            assert not known, f"{module} imports {name}"


@pytest.mark.parametrize("start", ["radload.loading.worker", "radload.pack", "radload.cli", "radload.dataset"])
def test_what_starts_without_torch(start: str) -> None:
    """The loader's process, the packer and the command line: importing them imports no torch, whatever stands between."""
    seen: set[str] = set()
    waiting = {start}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        parents = module.split(".")
        waiting |= {".".join(parents[:count]) for count in range(1, len(parents))}
        waiting |= _imports(module, deep=False) & _modules().keys()
        outside = {name.partition(".")[0] for name in _imports(module, deep=False)}
        assert not outside & (_TORCH | _GPU), f"{module}, which {start} needs, imports torch or what serves it"
        waiting -= seen
    assert len(seen) > 5
