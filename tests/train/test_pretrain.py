"""The script's promises in one process: it learns, logs, validates, exports, ends in DONE, and says in a sentence what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import open_backbone
from train_data import TRAIN, VAL, single_labels, write

import radload
import radload.loading
from radload.dataset.labels import LabelSet
from radload.train import checkpoint, pretrain
from radload.train.config import Config, resolve
from radload.train.log import read_log
from radload.train.pretrain import main

SMALL = [
    "--arch",
    "test_resnet",
    "--size",
    "32",
    "--batch-size",
    "8",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--amp",
    "off",
]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the script on a data set with further flags, the run's folder being tmp_path/run; exit code, output, errors."""

    def call(shards: Path, flags: str = "") -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([*SMALL, "--shards", str(shards), "--out", str(tmp_path / "run"), *flags.split()])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


def lines(tmp_path: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["kind"] == kind]


def test_a_labelled_run_leaves_everything_that_it_promises(labelled: Path, run: Run, tmp_path: Path) -> None:
    code, out, err = run(labelled, "--epochs 2 --log-every 2")
    assert (code, err) == (0, "")
    steps = TRAIN // 8
    train, val = lines(tmp_path, "train"), lines(tmp_path, "val")
    assert [line["step"] for line in train] == [2, 4, 5, 6, 8, 10] and [line["step"] for line in val] == [5, 10]
    assert set(train[0]) >= {"epoch", "lr", "loss", "images_per_s", "data_wait", "data_wait_p50", "memory_mib"}
    assert all(0 <= line["data_wait"] <= 1 and line["loss"] > 0 and line["images_per_s"] > 0 for line in train)
    assert val[0]["samples"] == VAL - 2 and set(val[0]["auroc_by_class"]) == {"a", "b"}
    assert val[0]["auroc"] == pytest.approx(np.mean(list(val[0]["auroc_by_class"].values())))
    assert 0 <= val[0]["top1"] <= val[0]["top5"] == 1 and 0 <= val[0]["balanced_accuracy"] <= 1
    judged = json.loads((tmp_path / "run/val.json").read_text())
    assert (judged["step"], judged["samples"], judged["patients"]) == (10, VAL, 4) and "verdict on 4 patients" in out
    for name in ("top1", "balanced_accuracy", "auroc"):
        assert judged["slice"][name]["value"] == pytest.approx(val[1][name])
    assert [one["key"] for one in judged["hardest"]][:9] == val[1]["hardest"]  # all that have a label
    assert set(judged["subgroups"]) == {"manufacturer"}
    assert "2 training samples have no label" in out and "left out of the AUROC: c" in out
    folder = tmp_path / "run"
    assert json.loads((folder / "DONE").read_text()) == {"reason": "all steps done", "step": 2 * steps}
    backbone, about = open_backbone(folder)
    assert (
        about["classes"] == ["a", "b", "c"] and about["step"] == 10 and about["preparation"]["recipe"]["channels"] == 3
    )
    assert backbone(torch.zeros(2, 3, 32, 32)).ndim == 2
    assert json.loads((folder / "run.json").read_text())["config"]["batch_size"] == 8
    assert (about["preparation"]["fit"], about["preparation"]["spacing"]) == ("stretch", None)
    saved = [
        checkpoint.load(checkpoint.path_of(folder / "checkpoints", 10)),
        about,
        json.loads((folder / "run.json").read_text()),
    ]
    with radload.Loader(labelled, "val", batch_size=4, size=32, shuffle=False, drop_last=False) as loader:
        assert [one["preparation"] for one in saved] == [loader.preparation.as_dict()] * 3
    before = (folder / "backbone.safetensors").read_bytes()
    code, _, err = run(
        labelled, f"--epochs 2 --log-every 2 --out {tmp_path / 'cached'} --cache {tmp_path / 'cache'} --cache-gb 0.1"
    )
    assert (code, err) == (0, "") and (tmp_path / "cached/backbone.safetensors").read_bytes() == before, (
        "a cache changes nothing but the speed"
    )
    assert len(list((tmp_path / "cache").iterdir())) == 1, "training and validation share it"
    code, out, _ = run(labelled, "--epochs 2 --log-every 2")  # again: nothing left to do
    assert code == 0 and "going on after step 10" in out and "done after 10 steps" in out
    assert (folder / "backbone.safetensors").read_bytes() == before and lines(tmp_path, "train") == train
    (folder / "val.json").unlink()
    code, out, _ = run(labelled, "--epochs 2 --log-every 2")  # as after a kill in the last act
    assert code == 0 and "verdict on 4 patients" in out and json.loads((folder / "val.json").read_text()) == judged
    code, out, _ = run(labelled, "--epochs 3 --log-every 2")  # more epochs: it goes on
    assert code == 0 and "--epochs 3 (was 2)" in out and lines(tmp_path, "train")[-1]["step"] == 15


def test_without_labels_it_learns_modality_and_body_part_and_says_so(
    unlabelled: Path, run: Run, tmp_path: Path
) -> None:
    code, out, _ = run(unlabelled, "--objective supervised --optimizer sgd --epochs 12 --lr 2 --augment none")
    assert code == 0 and "no labels: training on modality and body part as stand-in classes" in out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["classes"] == ["CT CHEST", "MR"]
    val = lines(tmp_path, "val")[-1]
    assert val["samples"] == VAL and val["top1"] > 0.85 and val["auroc"] > 0.9
    assert lines(tmp_path, "train")[-1]["loss"] < 0.6 * lines(tmp_path, "train")[0]["loss"]


def test_the_stand_in_can_be_asked_for(labelled: Path, run: Run, tmp_path: Path) -> None:
    assert run(labelled, "--max-steps 1 --labels none --objective supervised")[0] == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["classes"] == ["CT CHEST", "MR"]


def test_one_stand_in_class_runs_through_and_says_that_there_is_nothing_to_learn(run: Run, tmp_path: Path) -> None:
    shards = write(tmp_path / "shards", modalities=("CT",))
    code, out, _ = run(shards, "--max-steps 3 --objective supervised")
    assert code == 0 and "CT CHEST" in out and "nothing to learn yet" in out
    assert lines(tmp_path, "train")[-1]["loss"] == 0 and lines(tmp_path, "val")[-1]["auroc"] is None


def test_an_empty_validation_split_is_said(run: Run, tmp_path: Path) -> None:
    shards = write(tmp_path / "shards", val=False)
    code, out, _ = run(shards, "--max-steps 2 --objective supervised")
    assert code == 0 and "nothing is validated" in out and not lines(tmp_path, "val")
    assert (tmp_path / "run" / "DONE").is_file()


def test_classes_absent_from_train_are_said(run: Run, tmp_path: Path) -> None:
    labels = single_labels(("a", "b", "c", "never"))
    code, out, _ = run(write(tmp_path / "shards", labels), "--max-steps 1")
    assert code == 0 and "classes without a training sample: never" in out


def test_several_labels_per_image_with_unknown_values(run: Run, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).choice(np.array([0, 1, np.nan], np.float32), (TRAIN + VAL, 3))
    codes[:, 0] = np.arange(TRAIN + VAL) % 2
    codes[TRAIN + 1] = np.nan
    shards = write(tmp_path / "shards", LabelSet("findings", "multi", ("x", "y", "z"), codes, "csv"))
    code, out, _ = run(shards, "--max-steps 6")
    val = lines(tmp_path, "val")[-1]
    assert code == 0 and "(findings)" in out
    assert "top1" not in val and val["samples"] == VAL - 1 and "x" in val["auroc_by_class"] and 0 < val["loss"] < 5


def test_little_data_makes_the_batch_smaller(labelled: Path, run: Run, tmp_path: Path) -> None:
    code, out, _ = run(labelled, "--batch-size 64 --epochs 1")
    assert code == 0 and f"only {TRAIN} training samples: the batch is reduced to {TRAIN}" in out
    assert [line["step"] for line in lines(tmp_path, "train")] == [1]


def test_a_damaged_checkpoint_costs_its_steps_and_nothing_else(labelled: Path, run: Run, tmp_path: Path) -> None:
    flags = "--epochs 2 --log-every 1 --checkpoint-every 3"
    assert run(labelled, flags)[0] == 0
    folder = tmp_path / "run" / "checkpoints"
    final, log = checkpoint.load(checkpoint.path_of(folder, 10)), lines(tmp_path, "train")
    newest = checkpoint.path_of(folder, 10)
    newest.write_bytes(newest.read_bytes()[:-100])
    (tmp_path / "run" / "DONE").unlink()
    code, out, _ = run(labelled, flags)
    assert code == 0 and "step-000000010.pt is damaged" in out and "going on after step 9" in out
    again = checkpoint.load(newest)
    assert all(torch.equal(again["model"][name], value) for name, value in final["model"].items())
    assert [(line["step"], line["loss"]) for line in lines(tmp_path, "train")] == [
        (line["step"], line["loss"]) for line in log
    ]


def test_a_loss_that_is_not_finite_ends_the_run(labelled: Path, run: Run, tmp_path: Path) -> None:
    code, _, err = run(labelled, "--lr 1e30 --log-every 1 --warmup 0")
    assert code == 2 and err.startswith("error: the loss is not finite") and err.count("\n") == 1
    assert not checkpoint.known(tmp_path / "run" / "checkpoints") and not (tmp_path / "run" / "DONE").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--shards nowhere", "no folder nowhere"),
        ("--arch resnet_50", "did you mean resnet50"),
        ("--sampler patient --batch-size 40", "one global batch of 40: take a smaller batch size or another sampler"),
        ("--device-cache-gb 1", "--device-cache-gb 1 is for a GPU"),
        ("--decode gpu", "--decode gpu needs a GPU, and this run has none"),
        ("--arch inception_v3", "inception_v3 cannot train on images of 3 x 32 x 32"),
        ("--labels v9", "'v9'"),
        ("--window moon", "'moon'"),
        ("--resume step-000000001.pt", "no checkpoint"),
        ("--resume model.bin", "no checkpoint of a run"),
        ("--lr -3", "--lr -3"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_code_2(
    labelled: Path, run: Run, tmp_path: Path, flags: str, said: str
) -> None:
    code, _, err = run(labelled, flags)
    assert code == 2 and said in err
    assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_mixed_with_another(labelled: Path, unlabelled: Path, run: Run) -> None:
    assert run(labelled, "--max-steps 1")[0] == 0
    for flags, said in (("--arch test_vit", "--arch test_resnet, not test_vit"), ("--resume never", "holds a run")):
        code, _, err = run(labelled, flags)
        assert code == 2 and said in err and err.count("\n") == 1
    code, _, err = run(unlabelled, "--max-steps 5")
    assert code == 2 and "other shards or labels" in err


def test_every_sample_unlabelled_is_refused(run: Run, tmp_path: Path) -> None:
    codes = np.full(TRAIN + VAL, -1, np.int32)
    shards = write(tmp_path / "shards", LabelSet("default", "single", ("a", "b"), codes, "csv"))
    code, _, err = run(shards)
    assert code == 2 and "no training sample has a label" in err


def test_a_subgroup_must_be_there_before_the_run_begins(labelled: Path, run: Run, tmp_path: Path) -> None:
    code, _, err = run(labelled, "--subgroups manufacturer,scanner")
    assert code == 2 and "--subgroups: there is no attribute 'scanner'" in err and not (tmp_path / "run").exists()


def test_the_augmentation_reaches_the_records_and_holds_for_the_run(labelled: Path, run: Run, tmp_path: Path) -> None:
    code, _, _ = run(labelled, "--epochs 1 --rotate 7 --noise 0.02 --no-flip")
    about = open_backbone(tmp_path / "run")[1]
    want = radload.Augment(rotate=7, noise=0.02, flip=False)
    assert code == 0 and radload.Augment.from_dict(about["augment"]) == want
    assert json.loads((tmp_path / "run/run.json").read_text())["augment"] == about["augment"]
    code, _, err = run(labelled, "--epochs 2 --rotate 7 --no-flip")
    assert code == 2 and "--noise 0.02" in err


def test_fit_and_spacing_reach_the_loader_and_the_records(labelled: Path, run: Run, tmp_path: Path) -> None:
    code, out, _ = run(labelled, "--epochs 1 --fit crop --spacing 0.7")
    assert code == 0 and "(crop at 0.7 mm)" in out
    about = open_backbone(tmp_path / "run")[1]["preparation"]
    config = json.loads((tmp_path / "run/run.json").read_text())["config"]
    assert (about["fit"], about["spacing"]) == (config["fit"], [config["spacing"]] * 2) == ("crop", [0.7, 0.7])
    code, _, err = run(labelled, "--epochs 2 --fit crop")
    assert code == 2 and "--spacing 0.7" in err
    code, _, err = run(labelled, "--epochs 2 --fit pad --spacing 0.7")
    assert code == 2 and "--fit crop" in err


def test_the_sampler_reaches_the_loader_and_the_state(labelled: Path, run: Run, tmp_path: Path) -> None:
    code, _, _ = run(labelled, "--epochs 1 --sampler balanced")
    assert code == 0
    path = checkpoint.newest(tmp_path / "run/checkpoints")[0]
    assert path is not None
    state = checkpoint.load(path)["loader"]
    assert state["sampler"] == "balanced" and state["strata"]
    code, _, err = run(labelled, "--epochs 2")
    assert code == 2 and "--sampler balanced" in err


def test_balanced_classes_need_labels(unlabelled: Path, run: Run) -> None:
    code, _, err = run(unlabelled, "--sampler balanced")
    assert code == 2 and "one label per sample" in err


@pytest.mark.parametrize(("flag", "slack"), [("", 1.5), ("--level-slack 1.25 --augment none", 1.25)])
def test_levels_may_be_enlarged_in_training_and_never_in_validation(
    labelled: Path, run: Run, monkeypatch: pytest.MonkeyPatch, flag: str, slack: float
) -> None:
    asked: dict[str, Any] = {}

    def spy(shards: Any, split: str, **options: Any) -> radload.Loader:
        asked[split] = options.get("level_slack", 1.0)
        return radload.loading.Loader(shards, split, **options)

    monkeypatch.setattr(radload, "Loader", spy)
    assert run(labelled, f"--max-steps 1 {flag}")[0] == 0
    assert asked == {"train": slack, "val": 1.0}


def test_the_gpu_path_is_reached_by_options(
    labelled: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU's loader takes comes from the command line; the training split alone is kept on the device."""
    opened: list[dict[str, Any]] = []
    real = radload.Loader

    def record(*args: Any, **options: Any) -> Any:
        opened.append(options)
        return real(*args, **{**options, "device_cache_bytes": None})  # refused on the CPU

    def as_with_a_gpu(config: Config, **facts: Any) -> tuple[Config, list[str]]:
        resolved, notes = resolve(replace(config, device_cache_gb=None), **facts)
        return replace(resolved, device_cache_gb=config.device_cache_gb), notes

    arguments = "--epochs 1 --decode cpu --device-cache-gb 1.5 --no-channels-last"
    if not torch.cuda.is_available():
        code, _, err = run(labelled, arguments)
        assert code == 2 and "--device-cache-gb 1.5 is for a GPU, and this run has none" in err
    monkeypatch.setattr(radload, "Loader", record)
    monkeypatch.setattr(pretrain, "resolve", as_with_a_gpu)
    code, _, err = run(labelled, arguments)
    assert (code, err) == (0, "") and len(opened) == 2
    assert [(one["decode"], one["channels_last"]) for one in opened] == [("cpu", False)] * 2
    assert [one.get("device_cache_bytes") for one in opened] == [1_500_000_000, None]
    opened.clear()
    code, _, err = run(labelled, f"--epochs 1 --max-steps 1 --out {tmp_path / 'b'}")
    assert (code, err) == (0, "")
    assert [(one["decode"], one["channels_last"]) for one in opened[-2:]] == [("auto", True)] * 2
