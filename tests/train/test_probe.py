"""A probe from end to end: a pretrained network beats a random one on patients it never saw, and everything promised is in the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lesions import CLASSES, write_lesions
from PIL import Image
from safetensors.torch import save_file

import radload
from radload.train import probe as script
from radload.train.export import export_backbone
from radload.train.models import build_model
from radload.train.pretrain import main as pretrain

PIXELS = "--arch test_resnet --size 48 --device cpu --threads 1 --amp off"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lesions(tmp_path_factory.mktemp("lesions") / "shards", {"train": 45, "val": 12, "test": 24})


@pytest.fixture(scope="session")
def pretrained(shards: Path) -> Path:
    """A run of some 12 seconds that tells the classes apart."""
    out = shards.parent / "run"
    flags = f"{PIXELS} --batch-size 32 --epochs 10 --optimizer adamw --lr 1.6e-2 --augment none --window 40,400"
    assert pretrain([*flags.split(), "--shards", str(shards), "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """The script with further flags, writing to tmp_path/probe; exit code, output, errors."""

    def call(shards: Path, backbone: object, flags: str = "") -> tuple[int, str, str]:
        capfd.readouterr()
        base = f"--device cpu --threads 1 --amp off --shards {shards} --backbone {backbone} --out {tmp_path / 'probe'}"
        code = script.main([*base.split(), *flags.split()])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def results(tmp_path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    content = json.loads((tmp_path / "probe/probe.json").read_text())
    return {(row["network"], row["method"]): row for row in content["results"]}


def test_a_pretrained_backbone_closes_half_of_what_a_random_one_leaves(
    shards: Path, pretrained: Path, run: Run, tmp_path: Path
) -> None:
    code, out, err = run(shards, pretrained, "--seeds 2 --pictures 4")
    assert (code, err) == (0, "") and "2 divisions (packed)" in out, "its training patients are known to the network"
    found = results(tmp_path)
    ours, other = found["run", "linear"], found["random", "linear"]
    assert ours["closes"]["random"] >= 0.5
    assert ours["auroc"]["low"] <= ours["auroc"]["value"] <= ours["auroc"]["high"]
    gain = ours["more_than"]["random"]
    assert gain["value"] == pytest.approx(ours["auroc"]["value"] - other["auroc"]["value"]) and gain["low"] > 0
    assert set(ours["auroc_by_class"]) == set(CLASSES)
    assert ours["auroc"]["value"] == pytest.approx(np.mean(ours["divisions"]))
    assert other["divisions"][0] != other["divisions"][1], "every division has a random network of its own"
    assert ours["overlap"]["samples"] == 24 * 6 * 2 // 3  # those with a lesion
    assert ours["overlap"]["dice"]["value"] > other["overlap"]["dice"]["value"]
    pictures = sorted((tmp_path / "probe/cam/run-linear").iterdir())
    assert len(pictures) == 4 and Image.open(pictures[0]).size == (96, 48)
    with radload.open(shards) as dataset:
        keys = {sample.key for sample in dataset if sample.split == "test"}
    assert {picture.stem for picture in pictures} <= keys
    table = (tmp_path / "probe/probe.md").read_text()
    assert table in out and table.count("\n") == 4 and "more than random" in table
    about = json.loads((tmp_path / "probe/probe.json").read_text())
    assert about["preparation"] == json.loads((pretrained / "backbone.json").read_text())["preparation"]


def test_the_same_command_gives_the_same_figures(shards: Path, pretrained: Path, run: Run, tmp_path: Path) -> None:
    assert run(shards, pretrained, "--seeds 1 --pictures 0 --baselines --methods linear top --epochs 1")[0] == 0
    first = results(tmp_path)
    assert run(shards, pretrained, "--seeds 1 --pictures 0 --baselines --methods linear top --epochs 1")[0] == 0
    assert results(tmp_path) == first


def test_fine_tuning_and_a_file_of_weights_on_other_shards(pretrained: Path, run: Run, tmp_path: Path) -> None:
    other = write_lesions(tmp_path / "others", {"train": 12, "val": 6}, seed=5, masks=False, multi=True)
    save_file(build_model("test_resnet", 3, 1000, 48, 9).state_dict(), tmp_path / "imagenet.safetensors")
    flags = (
        f"--baselines {tmp_path / 'imagenet.safetensors'} --methods linear top full --seeds 2 --epochs 1 --pictures 2"
    )
    code, out, err = run(other, pretrained, flags)
    assert (code, err) == (0, "") and "2 divisions (patients)" in out
    found = results(tmp_path)
    assert set(found) == {(name, method) for name in ("run", "imagenet-1") for method in ("linear", "top", "full")}
    assert all(0 <= row["auroc"]["value"] <= 1 and row["overlap"] is None for row in found.values())
    assert found["run", "linear"]["auroc"]["value"] > 0.9, "what it learned holds for patients of other shards"
    assert len(list((tmp_path / "probe/cam/run-full").iterdir())) == 2
    code, _, _ = run(other, tmp_path / "imagenet.safetensors", "--arch test_resnet --size 48 --seeds 1 --pictures 0")
    assert code == 0 and set(results(tmp_path)) == {("imagenet", "linear"), ("random", "linear")}


def test_a_transformer_is_probed_without_maps(shards: Path, run: Run, tmp_path: Path) -> None:
    export_backbone(build_model("test_vit", 3, 4, 48), tmp_path, "test_vit", 3, 48, {})
    code, out, _ = run(shards, tmp_path, "--seeds 1")
    assert code == 0 and "no class-activation maps" in out and "take a CNN" in out
    assert all(row["overlap"] is None for row in results(tmp_path).values())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--division patients", "knows patients"),
        ("--baselines nowhere.pth", "there is nothing at nowhere.pth"),
        ("--arch resnet50", "--arch resnet50 is not what"),
        (f"--backbone {__file__}", "does not say which network it holds: give its timm name as --arch"),
        ("--labels v9", "'v9'"),
        ("--seeds 0", "--seeds 0"),
        ("--lr-top -1", "--lr-top -1"),
        ("--channels 1", "--channels 1 needs a --window"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_code_2(
    shards: Path, pretrained: Path, run: Run, tmp_path: Path, flags: str, said: str
) -> None:
    code, _, err = run(shards, pretrained, flags)
    assert code == 2 and said in err
    assert err.startswith("error: ") and err.count("\n") == 1 and not (tmp_path / "probe").exists()


def test_shards_without_labels_say_so(unlabelled: Path, pretrained: Path, run: Run) -> None:
    code, _, err = run(unlabelled, pretrained)
    assert code == 2 and "radload label" in err
