"""Curves elsewhere than in log.jsonl: TensorBoard where it is installed, Weights & Biases where it is asked for."""

from __future__ import annotations

import secrets
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from radload.errors import UsageError


class Tracker(Protocol):
    """Takes the numbers of a line of the log."""

    def add(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        """`kind`: "train" or "val"; numbers by name."""

    def close(self) -> None:
        """Write what is left."""


def open_trackers(
    folder: Path, tensorboard: bool, wandb: str | None, step: int, config: dict[str, Any]
) -> list[Tracker]:
    """The trackers of the run in `folder`, which goes on at `step`.

    Args:
        tensorboard: where it is installed; wandb: project, or None.

    Raises:
        UsageError: Weights & Biases was asked for and is not installed.
    """
    found: list[Tracker] = []
    if tensorboard and find_spec("tensorboard") is not None:
        found.append(TensorBoard(folder / "tensorboard", step))
    if wandb is not None:
        if find_spec("wandb") is None:
            raise UsageError("--wandb needs Weights & Biases, which is not installed: pip install wandb")
        found.append(WandB(folder, wandb, config))
    return found


class TensorBoard:
    """Event files in `folder`; steps after `step`, which a killed run left behind, are hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(folder), purge_step=step + 1)

    def add(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        """As in `Tracker`."""
        for name, value in numbers.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """As in `Tracker`."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases, whose name is kept in the run's folder: it goes on when this one does."""

    def __init__(self, folder: Path, project: str, config: dict[str, Any]) -> None:
        name = folder / "wandb-id"
        if not name.is_file():
            name.write_text(secrets.token_hex(8))
        self._run = import_module("wandb").init(
            project=project, id=name.read_text(), resume="allow", dir=str(folder), config=config
        )

    def add(self, kind: str, step: int, numbers: dict[str, float]) -> None:
        """As in `Tracker`."""
        self._run.log({f"{kind}/{name}": value for name, value in numbers.items()}, step=step)

    def close(self) -> None:
        """As in `Tracker`."""
        self._run.finish()
