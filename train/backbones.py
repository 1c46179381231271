"""The networks that a probe compares: a run's export, a file of weights under timm's keys, or random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises for content that is not plain; nothing is unpickled here
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from radload.errors import FormatError, UsageError
from radload.loading.planning.recipe import Recipe
from radload.train.models import arguments
from radload.train.stem import convert_stem

RANDOM = "random"
_NESTED = ("state_dict", "model", "model_state_dict")  # where other projects' checkpoints keep their weights


class Backbone(nn.Module):
    """A timm network without classifier, fed with the loader's images whatever deviation and mean it was trained on.

    Attributes:
        net: the network; width: features per image; scale, shift: (1, channels, 1, 1), or None.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, net: nn.Module, scale: Tensor | None = None, shift: Tensor | None = None) -> None:
        """scale, shift: (channels,), applied to the images first."""
        super().__init__()
        self.net: Any = net
        self.width = 0
        self.register_buffer("scale", None if scale is None else scale.reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", None if shift is None else shift.reshape(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width)."""
        pooled: Tensor = self.net(self.normalised(image))
        return pooled

    def normalised(self, image: Tensor) -> Tensor:
        """Images with the mean and deviation that the network knows."""
        return image if self.scale is None or self.shift is None else image * self.scale + self.shift

    def maps(self, image: Tensor) -> Tensor:
        """(N, C, H, W) -> the last feature maps, before pooling, as timm has them."""
        features: Tensor = self.net.forward_features(self.normalised(image))
        return features

    def pool(self, maps: Tensor) -> Tensor:
        """The features (N, width) of feature maps."""
        pooled: Tensor = self.net.forward_head(maps, pre_logits=True)
        return pooled


def open_about(given: str) -> tuple[Path, dict[str, Any]] | None:
    """The weights and the JSON of an export: a run's folder, or its backbone.json; None where `given` is neither.

    Raises:
        UsageError: no such path. FormatError: a JSON that no export wrote.
    """
    path = Path(given)
    if not path.exists():
        raise UsageError(f"there is nothing at {given}: give a run's folder, its backbone.json, or a file of weights")
    if path.is_dir():
        path = path / "backbone.json"
        if not path.is_file():
            raise UsageError(f"{given} holds no backbone.json: give the folder of a run that has ended")
    if path.suffix != ".json":
        return None
    try:
        about = json.loads(path.read_bytes())
        _ = about["arch"], about["in_chans"], about["size"]
    except (ValueError, KeyError, TypeError):
        raise FormatError(f"{path.name} is not what an export writes: give a run's folder") from None
    return path.with_suffix(".safetensors"), about


def make_backbone(given: str, arch: str, in_chans: int, size: int, recipe: Recipe, seed: int = 0) -> Backbone:
    """A network in evaluation mode, on the CPU.

    Args:
        given: "random"; what `open_about` takes; or a file of weights (safetensors, pth) under timm's keys, whose images
            had the mean and deviation that timm states for `arch` (ImageNet's).
        recipe: of the loader; seed: of random weights.

    Raises:
        UsageError: nothing there, or an export of another network. FormatError: weights that do not fit.
    """
    torch.manual_seed(seed)
    net: nn.Module = timm.create_model(**arguments(arch, in_chans, size), num_classes=0)
    scale = shift = None
    if given != RANDOM:
        found = open_about(given)
        if found is None:
            weights = read_weights(Path(given))
            scale, shift = _to_timm(arch, recipe, in_chans)
        else:
            path, about = found
            if about["arch"] != arch:
                raise UsageError(f"{given} is a {about['arch']}, not a {arch}: compare networks of one kind")
            weights = read_weights(path)
        _load(net, convert_stem(weights, arch, size, in_chans), given, arch)
    backbone = Backbone(net, scale, shift).eval()
    with torch.inference_mode():
        backbone.width = backbone(torch.zeros(1, in_chans, size, size)).shape[1]
    return backbone


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a safetensors or pth file, by their keys; no code in it is run.

    Raises:
        UsageError: no such file. FormatError: no weights in it.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give a run's folder, or a file of weights")
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, UnpicklingError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(
            f"{path.name} cannot be read as weights ({reason}): give safetensors, or a plain pth"
        ) from None
    for name in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise FormatError(f"{path.name} holds no weights by name: give a state dict")
    return {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}


def _load(net: nn.Module, weights: dict[str, Tensor], given: str, arch: str) -> None:
    wanted = net.state_dict()
    missing = sorted(wanted.keys() - weights.keys())
    if missing:  # counters of batch norm are not in files of old
        missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    wrong = sorted(key for key in wanted.keys() & weights.keys() if wanted[key].shape != weights[key].shape)
    if missing or wrong:
        raise FormatError(
            f"{given} does not fit {arch} (its {(missing + wrong)[0]} is {'missing' if missing else 'of another shape'}): "
            "give weights under timm's keys"
        )
    net.load_state_dict({key: weights.get(key, value) for key, value in wanted.items()})


def _to_timm(arch: str, recipe: Recipe, in_chans: int) -> tuple[Tensor, Tensor]:
    """(channels,) scale and shift from the loader's images to those that timm's own weights of `arch` know."""
    configuration = timm.get_pretrained_cfg(arch)
    mean = torch.tensor([0.5] * 3 if configuration is None else configuration.mean, dtype=torch.float64)
    std = torch.tensor([0.5] * 3 if configuration is None else configuration.std, dtype=torch.float64)
    if in_chans != 3:
        mean, std = mean.mean().expand(in_chans), std.mean().expand(in_chans)
    times = in_chans // recipe.channels  # neighbours repeat the recipe's windows
    ours, deviation = torch.tensor(recipe.mean * times).double(), torch.tensor(recipe.std * times).double()
    return (deviation / std).float(), ((ours - mean) / std).float()  # y = x * deviation + ours, then (y - mean) / std
