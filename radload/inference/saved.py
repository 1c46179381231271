"""Where a preparation may stand: in an object, in a run's folder, in an exported JSON file, in a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from radload.errors import UsageError
from radload.loading.preparation import Preparation

Given: TypeAlias = "Preparation | Mapping[str, Any] | str | PathLike[str]"
KEY = "preparation"
_IN_A_RUN = ("backbone.json", "run.json")  # the first that is there


def find_preparation(given: Given) -> Preparation:
    """The preparation that `given` is or names.

    Args:
        given: a Preparation; what its `as_dict` gave, or a mapping with that as "preparation"; the folder of a run; a JSON file
            (backbone.json, run.json, or of `as_dict`); a checkpoint (step-NNNNNNNNN.pt).

    Raises:
        UsageError: nothing there, or no preparation in it.
    """
    if isinstance(given, Preparation):
        return given
    if isinstance(given, Mapping):
        return Preparation.from_dict(given.get(KEY, given))
    path = Path(given)
    if path.is_dir():
        found = [path / name for name in _IN_A_RUN if (path / name).is_file()]
        if not found:
            raise UsageError(
                f"{path} holds neither {' nor '.join(_IN_A_RUN)}: give the folder that `train/pretrain.py --out` wrote"
            )
        path = found[0]
    content = _checkpoint(path) if path.suffix == ".pt" else _json(path)
    if not isinstance(content, Mapping) or not (KEY in content or "recipe" in content):
        raise UsageError(
            f"{path} holds no preparation: give a run's folder, its backbone.json, or one of its checkpoints"
        )
    return Preparation.from_dict(content.get(KEY, content))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): give a run's folder or its backbone.json"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON ({error}): give a run's folder or its backbone.json") from None


def _checkpoint(path: Path) -> Any:
    from radload.train.checkpoint import load  # torch, where a checkpoint is given

    return load(path)
