"""The program: quick help, one line and exit code 2 for what the user can mend, 0 for what is done already."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import radload
from radload.cli import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        path = tmp_path / "src" / name / "x.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (8, 9), np.uint8)).save(path)
    return tmp_path / "src"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code is None or isinstance(ended.value.code, int)
    return ended.value.code or 0


def test_pack_then_again_then_another_plan(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("pack", "--src", source, "--out", tmp_path / "out", "--workers", 0, "--attest-no-phi")
    assert run(*command) == 0
    assert "2 samples in" in capsys.readouterr().out
    assert run(*command) == 0
    assert "already packed: 2 samples" in capsys.readouterr().out.replace("\n", " ")
    assert run(*command, "--codec", "raw") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("radload: --out ") and captured.err.count("\n") == 1 and not captured.out
    assert run("label", tmp_path / "out", "--labels-from", "folder:1", "--name", "v2") == 0
    assert "label set 'v2': 2 of 2 samples, 2 classes" in capsys.readouterr().out.replace("\n", " ")


def test_masks_are_named_by_globs(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/x_seg.png", "b/x_gt.png"):
        Image.fromarray(np.eye(8, 9, dtype=np.uint8)).save(source / name)
    command = ("pack", "--src", source, "--workers", 0, "--attest-no-phi")
    assert run(*command, "--out", tmp_path / "one") == 0
    assert "rejected: looks-like-mask" in capsys.readouterr().out
    assert run(*command, "--out", tmp_path / "two", "--masks", "**/*_seg.png", "--masks", "b/*_gt.png") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("packed as masks")]
    assert line.split()[-1] == "2"
    assert run(*command, "--out", tmp_path / "three", "--masks", "*.tif") == 2
    captured = capsys.readouterr()
    assert (
        captured.err.startswith("radload: --masks *.tif matches none of the 4 files") and captured.err.count("\n") == 1
    )
    assert not (tmp_path / "three").exists()


def test_quiet_prints_nothing(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pack", "--src", source, "--out", tmp_path / "out", "--workers", 0, "--attest-no-phi", "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pack", "--src", "none", "--out", "out"), "there is no folder none"),
        (("label", "none", "--labels-from", "modality"), "there is no folder"),
        (("scan", "--src", __file__), "is a file: give the folder that holds it"),
        (("inspect", __file__), "is a file: give the folder that `radload pack --out` wrote"),
        (("label", "none"), "say where labels come from"),
        (("pack", "--src", "none"), "--out"),
        (("fly",), "fly"),
    ],
)
def test_what_the_user_can_mend_is_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["bench", "verify", "versions", "compact"])
def test_a_bucket_is_no_folder_and_is_said_to_be_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "s3://bucket/data/ct") == 2
    said = capsys.readouterr().err
    assert said.startswith("radload: s3://bucket/data/ct lies in a bucket") and said.count("\n") == 1
    assert run(command, "/nowhere/s3") == 2
    assert "there is no folder /nowhere/s3" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, radload.cli; print(sorted({'numpy', 'pyarrow', 'torch', 'pydicom', 'nvidia', 'imagecodecs'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_packer_knows_neither_torch_nor_dali() -> None:
    code = "import sys, radload.pack, radload.pack.relabel; print(sorted({'torch', 'nvidia', 'cupy', 'numba'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["export", "prepare"])
def test_a_place_that_cannot_be_written_is_one_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out, closed = tmp_path / "out", tmp_path / "file"
    closed.write_bytes(b"")
    assert run("pack", "--src", source, "--out", out, "--workers", 0, "--attest-no-phi", "--split", "100/0/0") == 0
    with radload.Loader(out, batch_size=2, size=8, threads=1) as loader:
        recipe = tmp_path / "recipe.json"
        recipe.write_text(json.dumps(loader.preparation.as_dict()))
    capsys.readouterr()
    given = {
        "export": ("export", out, "--to", closed / "to"),
        "prepare": ("prepare", source / "a/x.png", "--recipe", recipe, "--out", tmp_path / "none" / "x.npy"),
    }
    assert run(*given[command]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ("cannot be written" in said or "exporting stopped (not a directory)" in said), (
        said
    )


def test_what_the_system_refuses_is_one_line_without_its_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a command leaves to the system: no traceback, and no file's name, which may be a patient's."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/src/DOE^JOHN/1.dcm")

    monkeypatch.setattr("radload.versions.listing.print_versions", full)
    assert run("versions", "shards") == 2
    said = capsys.readouterr().err
    assert "no space left on device" in said and "DOE" not in said and said.count("\n") == 1


@pytest.mark.parametrize("other", [("--dry-run",), ("--scheduler", "tcp://host:1")])
def test_append_refuses_what_it_cannot_do(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], other: tuple[str, ...]
) -> None:
    assert run("pack", "--src", source, "--out", tmp_path / "out", "--append", *other) == 2
    assert other[0] in capsys.readouterr().err and not (tmp_path / "out").exists()
