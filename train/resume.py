"""Where a run goes on from, and what it leaves for that: the newest checkpoint, and the best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from radload.errors import UsageError
from radload.train import checkpoint
from radload.train.config import Config


def find_start(config: Config, folder: Path, notes: list[str]) -> int:
    """Step of the checkpoint to start from, 0 for a new run. Runs on rank 0.

    Raises:
        UsageError: --resume never, but there is a run; or --resume names what is no checkpoint.
    """
    if config.resume not in ("auto", "never"):
        return checkpoint.step_of(Path(config.resume))
    if config.resume == "never":
        if checkpoint.known(folder):
            raise UsageError(f"--resume never, but {config.out} holds a run: give another --out, or remove it")
        return 0
    path, damaged = checkpoint.newest(folder)
    notes += damaged
    return checkpoint.step_of(path) if path is not None else 0


def start_path(config: Config, folder: Path, step: int) -> Path:
    """The file of the checkpoint to start from."""
    return checkpoint.path_of(folder, step) if config.resume == "auto" else Path(config.resume)


def keep_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int, score: float | None) -> int:
    """Write the checkpoint of `step`, and mark it as the best where its validation's `score` is. Runs on rank 0; returns the step."""
    checkpoint.save(folder, step, state, keep)
    if score is not None:
        with checkpoint.writing(checkpoint.BEST, folder):
            checkpoint.mark_best(folder, step, score)
    return step


def score_of(result: dict[str, Any]) -> float | None:
    """What the best validation has most of: balanced accuracy, with several labels AUROC, without labels less loss; None: unknown."""
    for name, sign in (("balanced_accuracy", 1), ("auroc", 1), ("loss", -1)):
        value = result.get(name)
        if value is not None and math.isfinite(value):
            return float(sign * value)
    return None
