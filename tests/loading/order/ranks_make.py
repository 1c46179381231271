"""One rank of several, as torchrun starts it: nothing but its environment says which. Writes what it was given as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import timedelta
from typing import Any

import torch.distributed as dist

import radload


def content(batch: dict[str, Any]) -> list[tuple[int, str]]:
    """(row, digest of the pixels) of each sample; row -1 for padding."""
    valid = batch.get("valid")
    rows = [int(row) for row in batch["index"]]
    pixels = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in batch["image"]]
    if valid is None:
        return list(zip(rows, pixels, strict=True))
    return [(row, sum_) for row, sum_, good in zip(rows, pixels, valid.tolist(), strict=True) if good]


def main(root: str, out: str, batch_size: int, cache: str, skip: int) -> None:
    """Two epochs of training, the second one left after `skip` steps and gone on with by another loader, and an evaluation."""
    dist.init_process_group("gloo", timeout=timedelta(seconds=120))
    options: dict[str, Any] = {"batch_size": batch_size, "size": 32, "threads": 1, "seed": 5}
    if cache:
        options["cache"] = cache
    with radload.Loader(root, split="train", group=dist.group.WORLD, **options) as loader:
        first = [content(batch) for batch in loader]
        second, steps = [], iter(loader)
        for _ in range(skip):
            second.append(content(next(steps)))
        state = loader.state_dict()
    with radload.Loader(root, split="train", group=dist.group.WORLD, **options) as loader:
        loader.load_state_dict(state)
        second += [content(batch) for batch in loader]
    with radload.Loader(
        root, split="train", shuffle=False, drop_last=False, group=dist.group.WORLD, **options
    ) as loader:
        evaluation = [content(batch) for batch in loader]
    places = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
    with open(out, "w") as file:  # noqa: PTH123 - a child of its own
        json.dump({"places": places, "train": [first, second], "evaluation": evaluation}, file)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
