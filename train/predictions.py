"""What the network said about the validation split: gathered from all ranks, each sample once, in order of the index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radload.dataset.files import atomic_file
from radload.train.distributed import Ranks

_BLOCK = 1 << 24  # scores of all ranks that are gathered at once: 64 MiB


@dataclass(frozen=True)
class Seen:
    """One rank's part, on its device; padding and what could not be read have index -1.

    Attributes:
        index: (n,) int64 rows of the index; scores: (n, K) float32, log-probabilities (single labels) or logits.
        targets: (n,) int64, -1 for none, or (n, K) float32, NaN for unknown; losses: (n,) float32, NaN without a label.
    """

    index: Tensor
    scores: Tensor
    targets: Tensor
    losses: Tensor


@dataclass(frozen=True)
class Predictions:
    """Of all ranks, each sample once, ascending in `rows`.

    Attributes:
        rows: (n,) rows of the index; multi: several labels per sample.
        scores, targets, losses: as in `Seen`.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    targets: NDArray[Any]
    losses: NDArray[np.float32]

    @property
    def multi(self) -> bool:
        """Whether a sample may have several labels."""
        return self.targets.ndim == 2

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(n, K) in [0, 1]."""
        if self.multi:
            clipped = np.clip(self.scores.astype(np.float64), -700, 700)
            return np.asarray(1 / (1 + np.exp(-clipped)))
        return np.asarray(np.exp(self.scores.astype(np.float64)))


def gather_predictions(ranks: Ranks, seen: Seen) -> Predictions | None:
    """Predictions on the first rank, None on the others: a collective. `seen` has the same n on every rank."""
    index = ranks.gather(seen.index)
    rows, first = np.unique(index.cpu().numpy(), return_index=True)
    first = first[rows >= 0]
    columns = [_gather(ranks, part, first) for part in (seen.scores, seen.targets, seen.losses)]
    if not ranks.first:
        return None
    scores, targets, losses = columns
    return Predictions(rows[rows >= 0], scores, targets, losses)


def _gather(ranks: Ranks, part: Tensor, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of all ranks' parts; by blocks of columns, because all of them together may not fit into the device's memory."""
    if part.ndim == 1:
        return np.asarray(ranks.gather(part).cpu().numpy()[rows])
    width = max(1, _BLOCK // max(1, ranks.world * len(part)))
    blocks = []
    for start in range(0, part.shape[1], width):
        block = ranks.gather(part[:, start : start + width].contiguous())
        if ranks.first:
            blocks.append(block.cpu().numpy()[rows])
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((0, 0))


def hardest(ranks: Ranks, seen: Seen, count: int) -> list[tuple[int, float]]:
    """(row of the index, loss) of the samples with the highest losses over all ranks, highest first: a collective."""
    losses = seen.losses.masked_fill(seen.losses.isnan() | (seen.index < 0), -1.0)
    best = losses.topk(min(count, len(losses)))
    values, rows = ranks.gather(best.values).tolist(), ranks.gather(seen.index[best.indices]).tolist()
    found = sorted(
        ((row, loss) for row, loss in zip(rows, values, strict=True) if loss >= 0), key=lambda one: (-one[1], one[0])
    )
    return found[:count]


def save_predictions(path: Path, predictions: Predictions, keys: NDArray[np.uint64], classes: tuple[str, ...]) -> None:
    """Write predictions.npz atomically: key, row, probability (n, K) float32, target, loss, classes."""
    with atomic_file(path) as file:
        np.savez_compressed(
            file,
            key=keys[predictions.rows],
            row=predictions.rows,
            probability=predictions.probabilities.astype(np.float32),
            target=predictions.targets,
            loss=predictions.losses,
            classes=np.array(classes, np.str_),
        )


def concatenate(parts: list[Seen]) -> Seen:
    """The batches of one rank as one."""
    names = ("index", "scores", "targets", "losses")
    return Seen(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
