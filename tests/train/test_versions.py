"""A run whose data set has a new version: refused with the reason, gone on with the old one, or gone over to the new one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from train_data import single_labels, write

from radload.dataset.generation import write_generation
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest, write_manifest
from radload.dataset.parts import index_parts
from radload.train import checkpoint
from radload.train.log import read_log
from radload.train.pretrain import main

FLAGS = [
    "--arch=test_resnet",
    "--size=32",
    "--batch-size=8",
    "--device=cpu",
    "--threads=1",
    "--amp=off",
    "--log-every=1",
]


def without_first_series(root: Path) -> int:
    """Make the next version, without the first series; returns what is left to train on."""
    manifest = read_manifest(root)
    index = open_index(root, manifest)
    keep = np.asarray(index.records["series"] != 0)
    patients, studies = index.table("patients"), index.table("studies")
    samples = index.table("samples").schema
    new = write_generation(root, manifest, index, index_parts(index, keep), patients, studies, samples)
    write_manifest(root, new)
    return new.splits["train"]["samples"]


def test_another_version_is_taken_from_the_next_pass_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root, out = write(tmp_path / "shards", single_labels()), tmp_path / "run"
    call = [*FLAGS, "--shards", str(root), "--out", str(out)]
    assert main([*call, "--epochs=3", "--max-steps=7"]) == 0  # 5 steps a pass: in the middle of the second
    left = without_first_series(root)
    assert left // 8 == 4
    capfd.readouterr()
    assert main([*call, "--epochs=3"]) == 2
    assert "another version" in capfd.readouterr().err

    stays = tmp_path / "stays"
    shutil.copytree(out, stays)
    assert main([*FLAGS, "--shards", str(root), "--out", str(stays), "--epochs=3", "--version=0"]) == 0
    assert checkpoint.newest(stays / "checkpoints")[0] == checkpoint.path_of(stays / "checkpoints", 15)

    assert main([*call, "--epochs=3", "--allow-new-version"]) == 0
    printed = capfd.readouterr().out
    assert "version 1 of the data set from pass 2 on (before: 0)" in printed
    newest, _ = checkpoint.newest(out / "checkpoints")
    assert newest is not None and checkpoint.step_of(newest) == 7 + 4, "the third pass has four steps"
    found = checkpoint.load(newest)
    assert found["loader"]["generation"] == 1 and (found["loader"]["epoch"], found["loader"]["position"]) == (3, 0)
    passes = [line["epoch"] for line in read_log(out / "log.jsonl") if line["kind"] == "train"]
    assert passes[-4:] == [2.25, 2.5, 2.75, 3.0]
    assert [line["step"] for line in read_log(out / "log.jsonl") if line["kind"] == "val"][-1] == 11
