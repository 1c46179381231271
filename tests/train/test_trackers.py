"""Numbers of the log reach TensorBoard where it is installed, and Weights & Biases where it is asked for; texts and tables do not."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from radload.errors import UsageError
from radload.train.log import RunLog, read_log
from radload.train.trackers import open_trackers


class Stub(ModuleType):
    """A module that takes down how it is used."""

    def __init__(self, name: str, calls: list[Any]) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.calls = calls

    def SummaryWriter(self, folder: str, purge_step: int) -> Stub:
        self.calls.append(("open", folder, purge_step))
        return self

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.calls.append((name, value, step))

    def init(self, **values: Any) -> Stub:
        self.calls.append(values)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append((values, step))

    def close(self) -> None:
        self.calls.append("close")

    finish = close


def test_both_get_the_numbers_and_the_log_keeps_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board: list[Any] = []
    bias: list[Any] = []
    monkeypatch.setitem(sys.modules, "tensorboard", Stub("tensorboard", []))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", Stub("torch.utils.tensorboard", board))
    monkeypatch.setitem(sys.modules, "wandb", Stub("wandb", bias))
    for _ in range(2):  # the second time the run goes on
        trackers = open_trackers(tmp_path, True, "project", 7, {"lr": 0.1})
        log = RunLog(tmp_path / "log.jsonl", True, 8, trackers=trackers)
        log.write("train", 8, loss=0.5, keys=["a"], none=None, accuracy=1)
        log.close()
    assert board[:4] == [
        ("open", str(tmp_path / "tensorboard"), 8),
        ("train/loss", 0.5, 8),
        ("train/accuracy", 1.0, 8),
        "close",
    ]
    assert bias[1:3] == [({"train/loss": 0.5, "train/accuracy": 1.0}, 8), "close"]
    assert bias[0]["project"] == "project" and bias[0]["id"] == bias[3]["id"] and bias[0]["config"] == {"lr": 0.1}
    assert read_log(tmp_path / "log.jsonl")[0]["keys"] == ["a"]


def test_what_is_not_installed_is_left_out_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radload.train.trackers.find_spec", lambda name: None)
    assert open_trackers(tmp_path, True, None, 0, {}) == []
    with pytest.raises(UsageError, match="pip install wandb"):
        open_trackers(tmp_path, True, "project", 0, {})
