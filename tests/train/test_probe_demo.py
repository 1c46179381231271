"""On the demo's phantoms a linear probe on a network trained with or without labels closes half of what one on a random network leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from radload.demo.phantoms import make
from radload.demo.run import EPOCHS, SPLIT, TRAINING
from radload.pack import PackOptions, pack
from radload.train.pretrain import main as pretrain
from radload.train.probe import main as probe

SELF_SUPERVISED = (
    "--objective", "simclr", "--arch", "resnet10t", "--size", "64", "--batch-size", "64", "--area", "0.5", "--rotate", "10",
    "--gamma", "0.2", "--noise", "0.02", "--lr", "4e-3", "--epochs", "10", "--device", "cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    made = make(folder / "dicoms", folder / "labels.csv")
    pack(PackOptions(made.folder, folder / "shards", labels=made.labels, split=SPLIT), Console(quiet=True))
    return folder / "shards"


def worth(shards: Path, out: Path, flags: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of the probe on a run with these flags, and on random networks."""
    where = ["--shards", str(shards), "--device", "cpu"]
    assert pretrain([*where, *flags, "--out", str(out / "run")]) == 0
    assert probe([*where, "--backbone", str(out / "run"), "--out", str(out / "probe"), "--pictures", "0"]) == 0
    ours, random = json.loads((out / "probe/probe.json").read_text())["results"]
    return ours, random


@pytest.mark.soak
@pytest.mark.parametrize("labels", [True, False])
def test_the_backbone_is_worth_half_of_what_is_missing(shards: Path, tmp_path: Path, labels: bool) -> None:
    flags = [*TRAINING, "--epochs", str(EPOCHS)] if labels else [*SELF_SUPERVISED]
    ours, random = worth(shards, tmp_path, flags)
    assert ours["closes"]["random"] >= 0.5 and ours["more_than"]["random"]["low"] > 0
    assert random["auroc"]["value"] < ours["auroc"]["value"] < 1
