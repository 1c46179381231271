"""On the demo's phantoms a linear probe on the demo's training closes half of what one on a random network leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from radload.demo.phantoms import make
from radload.demo.run import EPOCHS, SPLIT, TRAINING
from radload.pack import PackOptions, pack
from radload.train.pretrain import main as pretrain
from radload.train.probe import main as probe


@pytest.mark.soak
def test_the_demos_backbone_is_worth_half_of_what_is_missing(tmp_path: Path) -> None:
    made = make(tmp_path / "dicoms", tmp_path / "labels.csv")
    pack(PackOptions(made.folder, tmp_path / "shards", labels=made.labels, split=SPLIT), Console(quiet=True))
    where = ["--shards", str(tmp_path / "shards"), "--device", "cpu"]
    assert pretrain([*where, *TRAINING, "--epochs", str(EPOCHS), "--out", str(tmp_path / "run")]) == 0
    flags = ["--backbone", str(tmp_path / "run"), "--out", str(tmp_path / "probe"), "--pictures", "0"]
    assert probe([*where, *flags]) == 0
    ours, random = json.loads((tmp_path / "probe/probe.json").read_text())["results"]
    assert ours["closes"]["random"] >= 0.5 and ours["more_than"]["random"]["low"] > 0
    assert random["auroc"]["value"] < ours["auroc"]["value"] < 1
