"""No pickle, no eval and no shell in anything that reads data: the code is searched for it, and the search is tried on bad code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted(path for folder in ("radload", "kernels", "train") for path in (ROOT / folder).rglob("*.py"))

RUN_CODE = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "yaml",
    "pty",
    "code",
}
BUILTINS = {"eval", "exec", "compile", "__import__", "execfile"}
CALLS = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pandas.read_pickle", "pd.read_pickle",
    "builtins.eval", "builtins.exec", "runpy.run_path", "runpy.run_module", "shutil.unpack_archive", "importlib.import_module",
}  # fmt: skip
ALLOWED = {
    ("radload/pack/transform.py", "importlib.import_module"),  # --transform MODULE:FUNCTION: code that the user names
    ("train/checkpoint.py", "from pickle import UnpicklingError"),  # the name of an error
}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _true(call: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)


def _false(call: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is False for k in call.keywords)


def findings(source: str) -> list[str]:
    """What of `source` could run code that data bring."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"import {one.name}" for one in node.names if one.name.partition(".")[0] in RUN_CODE]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in RUN_CODE:
            found += [f"from {node.module} import {one.name}" for one in node.names]
        elif isinstance(node, ast.Call):
            name = _dotted(node.func)
            if name in BUILTINS or name in CALLS or name.startswith(("os.spawn", "os.exec")):
                found.append(name)
            if _true(node, "shell"):
                found.append(f"{name}(shell=True)")
            if name.endswith("torch.load") and not _true(node, "weights_only"):
                found.append("torch.load without weights_only=True")
            if name in ("np.load", "numpy.load") and not _false(node, "allow_pickle"):
                found.append("np.load without allow_pickle=False")
            if _true(node, "allow_pickle") or (name.endswith("CSafeLoader") and False):
                found.append(f"{name}(allow_pickle=True)")
            if name.endswith((".extractall", ".extract")) and isinstance(node.func, ast.Attribute):
                found.append(f"{name}: unpacks names that an archive chooses")
    return found


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "from dill import load", "eval(x)", "exec(x)", "__import__(x)",
        "import os\nos.system(x)", "import subprocess\nsubprocess.run(x, shell=True)", "torch.load(f)", "torch.load(f, weights_only=False)",
        "np.load(f)", "np.load(f, allow_pickle=True)", "tarfile.open(f).extractall(p)", "archive.extractall()", "os.execv(a, b)",
        "importlib.import_module(name)", "def f():\n    if x:\n        return eval(y)", "import yaml",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(bad: str) -> None:
    assert findings(bad)


def test_the_search_lets_through_what_is_harmless() -> None:
    assert not findings(
        "import re\nre.compile(x)\nmodel.eval()\ntorch.load(f, weights_only=True)\nnp.load(f, allow_pickle=False)\nrun([a, b])"
    )


def test_nothing_that_reads_data_can_run_code() -> None:
    assert len(CODE) > 200
    found = {(path.relative_to(ROOT).as_posix(), what) for path in CODE for what in findings(path.read_text("utf-8"))}
    found = {
        (path.replace("radload/train/", "train/").replace("radload/kernels/", "kernels/"), what) for path, what in found
    }
    assert found - ALLOWED == set()
    assert found >= ALLOWED, "an exception that nobody needs any more"


def test_security_md_names_what_pickles() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    for word in ("multiprocessing", "Dask", "pickle", "--transform", "CRC-32C", "attacker"):
        assert word in text
