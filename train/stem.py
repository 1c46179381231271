"""The first layer of a network for another number of channels: the same outputs on grey images that are repeated over the channels."""

from __future__ import annotations

from collections.abc import Mapping

import timm
import torch
from torch import Tensor

from radload.errors import FormatError
from radload.train.models import arguments


def convert_stem(state: Mapping[str, Tensor], arch: str, size: int, in_chans: int) -> dict[str, Tensor]:
    """Weights of timm's network `arch` without classifier for images of `in_chans` channels, from those for any other number.

    A convolution over C equal channels is one over their sum, so weights are added up over the channels and shared out equally:
    f(grey, grey, grey) before is f(grey) after, and the other way round.

    Args:
        state: weights under timm's keys; what is not of the first layer is passed on as it is.

    Raises:
        FormatError: the first layer does more with its channels than to convolve them.
    """
    with torch.device("meta"):
        target = timm.create_model(**arguments(arch, in_chans, size), num_classes=0).state_dict()
    result = dict(state)
    for key, wanted in target.items():
        given = state.get(key)
        if given is None or given.shape == wanted.shape:
            continue
        if given.ndim != 4 or given.shape[0] != wanted.shape[0] or given.shape[2:] != wanted.shape[2:]:
            raise FormatError(
                f"{key} of {arch} has shape {tuple(given.shape)}, not {tuple(wanted.shape)}: "
                "it is no convolution of image channels, and cannot be converted"
            )
        if wanted.shape[1] != in_chans:
            raise FormatError(f"{key} of {arch} is not fed by all channels of an image: it cannot be converted")
        total = given.double().sum(dim=1, keepdim=True) / in_chans
        result[key] = total.expand(-1, in_chans, -1, -1).to(given.dtype).contiguous()
    return result
