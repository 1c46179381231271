"""The exported backbone of a run's folder, or of what was published, as its user has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from radload.train.backbones import open_about
from radload.train.export import load_backbone


def open_backbone(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network, and what its JSON says about it (windows, classes, step, data set)."""
    found = open_about(str(folder))
    assert found is not None
    path, about = found
    return load_backbone(path, about["arch"], about["in_chans"], about["size"]), about
