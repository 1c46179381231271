"""The trained backbone as a file that others can use: safetensors with timm's keys, without the classifier, and a JSON beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from safetensors.torch import load_file, save_file
from torch import nn

from radload.dataset.files import write_json
from radload.errors import FormatError
from radload.train.models import arguments


def export_backbone(model: nn.Module, folder: Path, arch: str, in_chans: int, size: int, about: dict[str, Any]) -> Path:
    """Write folder/backbone.safetensors and folder/backbone.json, and load the former as a user would.

    Args:
        model: the trained network, classifier included; about: further content of backbone.json (plain values).

    Raises:
        FormatError: what was written does not load strictly into timm's network without classifier.
    """
    keys = timm.create_model(**arguments(arch, in_chans, size), num_classes=0).state_dict().keys()
    state = model.state_dict()
    missing = sorted(keys - state.keys())
    if missing:
        raise FormatError(
            f"{arch} without its classifier has other parts than the trained one ({missing[0]}): it cannot be exported"
        )
    path = folder / "backbone.safetensors"
    temporary = path.with_name(".backbone.safetensors.tmp")
    save_file(
        {key: state[key].detach().cpu().contiguous().clone() for key in keys}, temporary, metadata={"format": "pt"}
    )
    load_backbone(temporary, arch, in_chans, size)
    temporary.replace(path)
    write_json(folder / "backbone.json", {"arch": arch, "in_chans": in_chans, "size": size, **about})
    return path


def load_backbone(path: Path, arch: str, in_chans: int, size: int) -> nn.Module:
    """timm's network `arch` without classifier, with the weights of `path`, ready to give features.

    Raises:
        FormatError: the file does not hold exactly this network's weights.
    """
    model: nn.Module = timm.create_model(**arguments(arch, in_chans, size), num_classes=0)
    try:
        model.load_state_dict(load_file(path), strict=True)
    except (RuntimeError, OSError) as error:
        raise FormatError(
            f"{path.name} does not load into {arch} ({str(error).splitlines()[0]}): export it again"
        ) from None
    return model.eval()
