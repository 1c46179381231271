"""Options round-trip, defaults follow device and data, and whatever cannot be is refused with the flag's name in the sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from radload.errors import UsageError
from radload.loading import Augment
from radload.train.config import Config, check_resume, resolve
from radload.train.options import parse, write_config


def fill(config: Config, device: str = "cpu", world: int = 1, samples: int = 1000) -> Config:
    return resolve(config, device=device, world=world, samples=samples, bf16=False)[0]


def test_no_flag_gives_the_defaults_and_they_are_json() -> None:
    assert parse([]) == Config()
    assert json.loads(json.dumps(parse([]).as_dict())) == Config().as_dict()


def test_flags_are_read_with_their_types() -> None:
    config = parse(
        [
            "--epochs",
            "3",
            "--lr",
            "0.5",
            "--no-channels-last",
            "--labels",
            "v2",
            "--window=-600,1500",
            "--batch-size",
            "64",
        ]
    )
    assert (config.epochs, config.lr, config.channels_last, config.labels) == (3, 0.5, False, "v2")
    assert config.loader_window == (-600.0, 1500.0) and config.batch_size == 64
    assert parse(["--window", "lung"]).loader_window == "lung" and parse([]).loader_window is None


@pytest.mark.parametrize(
    "flags",
    ["--size 0", "--batch-size -4", "--lr -1", "--lr nan", "--warmup 1", "--label-smoothing 1.5", "--channels 2",
     "--window=a,b", "--window=1,2,3", "--log-every 0", "--epochs 0", "--spacing 0", "--spacing nan", "--spacing 2000",
     "--cache-gb 4", "--cache-gb 0 --cache=x", "--rotate 200", "--rotate nan", "--gamma -1", "--noise 2", "--window-jitter 1.5",
     "--window-jitter nan", "--accumulate 0", "--clip-grad 0", "--ema 1", "--views 1", "--mixup -1", "--sizes 9:2,8",
     "--watchdog-minutes nan", "--rotate 5 --augment none", "--flip --augment none", "--level-slack 0.2", "--level-slack nan",
     "--level-slack 9", "--size 9000", "--sizes 96:0.5,9000", "--local-size 9000", "--area 0", "--area 1.1", "--area nan",
     "--area 0.5 --augment none", "--device-cache-gb 0", "--decode gpu --cache=x"],
)  # fmt: skip
def test_impossible_values_are_refused_by_name(flags: str) -> None:
    with pytest.raises(UsageError, match=flags.split()[0].split("=")[0]):
        parse(flags.split())


@pytest.mark.parametrize(
    "flags",
    [
        "--optimizer adam",
        "--amp fp16",
        "--nonsense 1",
        "--epoch 3",
        "--size big",
        "--fit fill",
        "--sampler weights",
        "--decode fpga",
    ],
)
def test_what_argparse_refuses_is_one_sentence(flags: str) -> None:
    with pytest.raises(UsageError, match=r"`pretrain\.py --help` lists") as refused:
        parse(flags.split())
    assert flags.split()[0] in str(refused.value) and "\n" not in str(refused.value)


def test_defaults_follow_the_device_and_the_optimizer() -> None:
    gpu, cpu = fill(Config(), "cuda"), fill(Config())
    assert (gpu.batch_size, gpu.epochs, cpu.batch_size, cpu.epochs) == (256, 30, 32, 10)
    assert gpu.peak_lr == pytest.approx(0.125) and cpu.peak_lr == pytest.approx(0.125 / 8)
    assert fill(Config(optimizer="adamw")).lr == 2.5e-4
    assert fill(Config(lr=0.0)).lr == 0.0
    assert resolve(Config(), device="cpu", world=1, samples=99, bf16=True)[0].amp == "bf16"
    assert fill(Config()).amp == "off"


def test_levels_are_enlarged_only_where_the_scale_is_random() -> None:
    """Else every image would be trained on at one level and judged at another."""
    assert [fill(c).level_slack for c in (Config(), Config(augment="none"), Config(spacing=1.0))] == [1.5, 1.0, 1.0]
    assert fill(Config(augment="none", level_slack=2.0)).level_slack == 2.0


def test_fit_and_spacing() -> None:
    config = parse(["--fit", "crop", "--spacing", "0.8"])
    assert (config.fit, config.spacing) == ("crop", 0.8)
    assert [fill(c).fit for c in (Config(), Config(spacing=1.0), config)] == ["stretch", "pad", "crop"]


def test_augmentation() -> None:
    assert parse([]).loader_augment == Augment() and parse(["--augment", "none"]).loader_augment is None
    config = parse(["--rotate", "10", "--gamma", "0.2", "--noise", "0.02", "--window-jitter", "0.05", "--no-flip"])
    assert config.loader_augment == Augment(flip=False, rotate=10, gamma=0.2, noise=0.02, window_jitter=(0.05, 0.05))
    assert parse(["--flip"]).loader_augment == Augment(flip=True)
    assert json.loads(json.dumps(config.as_dict()))["flip"] is False


def test_the_batch_must_be_divisible_by_the_processes_and_a_default_is() -> None:
    with pytest.raises(UsageError, match=r"--batch-size 30 .* 4 processes"):
        fill(Config(batch_size=30), world=4)
    assert fill(Config(), world=3).batch_size == 30
    assert fill(Config(), world=48).batch_size == 48


def test_little_data_makes_the_batch_smaller_and_says_so() -> None:
    config, notes = resolve(Config(batch_size=64), device="cpu", world=2, samples=33, bf16=False)
    assert config.batch_size == 32 and len(notes) == 1 and "33 training samples" in notes[0]
    with pytest.raises(UsageError, match="empty"):
        fill(Config(), samples=0)
    with pytest.raises(UsageError, match="nproc-per-node"):
        fill(Config(), samples=1, world=2)


def test_a_resumed_run_keeps_its_identity() -> None:
    config = fill(Config())
    assert check_resume(config.as_dict(), config) == []
    assert "--epochs 20 (was 10)" in check_resume(config.as_dict(), replace(config, epochs=20))[0]
    assert check_resume(config.as_dict(), replace(config, threads=5, shards="elsewhere", cache="/x")) == []
    for change in ({"arch": "densenet121"}, {"batch_size": 16}, {"seed": 1}, {"size": 96}, {"window": "lung"}, {"fit": "pad"},
                   {"spacing": 1.0}, {"sampler": "balanced"}, {"rotate": 5.0}, {"gamma": 0.1}, {"noise": 0.1},
                   {"flip": True}, {"window_jitter": 0.2}, {"level_slack": 1.0}):  # fmt: skip
        with pytest.raises(UsageError, match=f"--{next(iter(change)).replace('_', '-')}"):
            check_resume(config.as_dict(), replace(config, **change))  # type: ignore[arg-type]


def test_a_written_config_reads_as_what_it_was(tmp_path: Path) -> None:
    config = fill(
        parse(["--shards", 'a "b" ü', "--sizes", "64:0.5,96", "--lr", "1e-05", "--no-flip", "--resume", "never"])
    )
    write_config(tmp_path / "config.toml", config)
    again = parse(["--config", str(tmp_path / "config.toml")])
    assert again == replace(config, resume="auto") and again.size == 96
    assert parse(["--config", str(tmp_path / "config.toml"), "--lr", "2", "--flip"]) == replace(
        again, lr=2.0, flip=True
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "did you mean epochs"),
        ("epochs = 'three'", "epochs to 'three': give a int"),
        ("epochs = true", "give a int"),
        ("optimizer = 'adam'", "one of sgd, adamw"),
        ("epochs =", "is no TOML"),
        ("[a]\nb = 1", "which is no option"),
        ("warmup = 3", "--warmup 3.0"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_sets_what_cannot_be_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "c.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=said):
        parse(["--config", str(path)])


def test_without_labels_it_learns_from_views_with_adamw() -> None:
    given = {"device": "cpu", "world": 1, "samples": 100, "bf16": False}
    config = resolve(Config(), labelled=False, **given)[0]  # type: ignore[arg-type]
    assert (config.objective, config.optimizer, config.supervised) == ("lejepa", "adamw", False)
    config = resolve(Config(objective="supervised"), labelled=False, **given)[0]  # type: ignore[arg-type]
    assert (config.objective, config.optimizer) == ("supervised", "sgd")


def test_the_parts_of_a_step_are_equal() -> None:
    with pytest.raises(UsageError, match="--accumulate 3 does not divide the 16 images"):
        fill(Config(batch_size=32, accumulate=3), world=2)
