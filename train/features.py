"""Features of all samples of a data set, of several networks in one pass over the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radload.errors import UsageError
from radload.train.backbones import Backbone


def wanted(
    batches: Iterable[dict[str, Any]], rows: NDArray[np.bool_], device: torch.device, also: tuple[str, ...] = ()
) -> Iterator[tuple[NDArray[np.int64], dict[str, Tensor]]]:
    """Batches without the samples that `rows` (one per row of the index) leaves out, and without padding and unreadable ones.

    Yields:
        (n,) rows of the index, and "image" (n, C, H, W) and what `also` names, on the device; n of at least 1.
    """
    for batch in batches:
        index = batch["index"].cpu()
        keep = (index >= 0) & torch.from_numpy(rows)[index.clamp(min=0)]
        if "valid" in batch:
            keep &= batch["valid"].cpu()
        if keep.any():
            chosen = {name: batch[name].to(device)[keep.to(device)] for name in ("image", *also)}
            yield index[keep].numpy(), chosen


@torch.inference_mode()
def extract(
    backbones: Mapping[str, Backbone],
    batches: Iterable[dict[str, Any]],
    rows: NDArray[np.bool_],
    device: torch.device,
    amp: bool = False,
) -> tuple[NDArray[np.int64], dict[str, Tensor]]:
    """Rows of the index (n,), ascending, and features (n, width) float32 of each network, on the CPU.

    Args:
        batches: of a loader in evaluation; rows: as in `wanted`; amp: bfloat16 autocast.

    Raises:
        UsageError: no sample could be read.
    """
    seen: list[NDArray[np.int64]] = []
    found: dict[str, list[Tensor]] = {name: [] for name in backbones}
    for index, batch in wanted(batches, rows, device):
        seen.append(index)
        for name, backbone in backbones.items():
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                features = backbone(batch["image"])
            found[name].append(features.float().cpu())
    if not seen:
        raise UsageError("none of the labelled samples can be read: check the shards with `radload inspect`")
    index = np.concatenate(seen)
    order = np.argsort(index)
    return index[order], {name: torch.cat(parts)[torch.from_numpy(order)] for name, parts in found.items()}
