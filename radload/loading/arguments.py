"""Arguments of `Loader`: what they may be, what they become, and the sentence for those that cannot be used."""

from __future__ import annotations

import math
import os
from pathlib import Path

from radload.dataset.index import Index
from radload.dataset.labels import DEFAULT, LabelSet, label_names, read_labels
from radload.errors import UsageError
from radload.loading.order.order import Order

DTYPES = ("float32", "float16", "bfloat16")
MAX_SIZE = 8192


def check_numbers(
    batch_size: int, prefetch: int, world_size: int, threads: int | None, max_failures: float, epoch: int
) -> None:
    """UsageError for numbers that are out of range."""
    for name, value in (("batch_size", batch_size), ("prefetch", prefetch), ("world_size", world_size)):
        if value < 1:
            raise UsageError(f"{name}={value} cannot be used: give 1 or more")
    if threads is not None and threads < 1:
        raise UsageError(f"threads={threads} cannot be used: give 1 or more, or None for all cores")
    if not 0 <= max_failures < math.inf:
        raise UsageError(f"max_failures={max_failures} cannot be used: give a fraction below 1, or a number of samples")
    check_epoch(epoch)


def check_order(order: Order, split: str | None, sampler: str = "uniform") -> None:
    """UsageError for a split that fills no batch although batches must be full."""
    if order.steps == 0 and order.drop_last:
        if not order.samples:
            raise UsageError(f"split {split!r} has no samples: take another split")
        plain = sampler == "uniform"
        what = "samples" if plain else f"draws per epoch ({sampler=!s})"
        remedy = (
            ", drop_last=False, or another split" if plain else " or another sampler"
        )  # others are for full batches alone
        raise UsageError(
            f"split {split!r} has {order.samples} {what}, fewer than one global batch of {order.global_batch}: "
            f"take a smaller batch size{remedy}"
        )


def check_epoch(epoch: int) -> None:
    """UsageError for an epoch that does not exist."""
    if not 0 <= epoch < 1 << 32:
        raise UsageError(f"epoch {epoch} does not exist: epochs count from 0")


def world_place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and world size; None: torchrun's RANK and WORLD_SIZE, or 0 and 1."""
    if (rank is None) != (world_size is None):
        raise UsageError("rank and world_size go together: give both, or neither for torchrun's")
    if rank is not None and world_size is not None:
        return rank, world_size
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def core_share() -> int:
    """Cores that this process may use, divided by the ranks on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def output_size(size: int | tuple[int, int], name: str = "size") -> tuple[int, int]:
    """(height, width) in pixels, from one number or two. Raises UsageError."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(v, int) and 1 <= v <= MAX_SIZE for v in pair):
        raise UsageError(f"{name}={size!r} cannot be used: give pixels, 1 to {MAX_SIZE}, or (height, width)")
    return pair[0], pair[1]


def output_dtype(dtype: object) -> str:
    """Name of a dtype, given by name or as torch.dtype. Raises UsageError."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise UsageError(f"dtype={name!r} cannot be used: choose one of {', '.join(DTYPES)}")
    return name


def find_labels(root: Path, labels: str | bool | None, index: Index) -> LabelSet | None:
    """The label set that `labels` means: a name; None: the default set, or the only one, if any; False: none. Raises UsageError."""
    if labels is False:
        return None
    if labels is None or labels is True:
        known = label_names(index.label_root)
        name = DEFAULT if DEFAULT in known else known[0] if len(known) == 1 else None
        if name is None:
            if labels is True:
                raise UsageError(
                    f"{root} has {'several label sets: name one' if known else 'no label set: add one with `radload label`'}"
                )
            return None
        labels = name
    return read_labels(index.label_root, labels, index.keys, index.files)
