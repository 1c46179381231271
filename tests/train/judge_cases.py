"""Predictions of a validation split made to order, whole or as the parts of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from radload.train.distributed import Ranks
from radload.train.objective import losses
from radload.train.predictions import Seen, gather_predictions, hardest

SAMPLES, CLASSES = 101, 4


def seen_by(ranks: Ranks, multi: bool) -> Seen:
    """This rank's part of SAMPLES rows from 1,000: in batches dealt over the ranks as a loader does, padded, one row not read."""
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(size=(SAMPLES, CLASSES)).astype(np.float32))
    if multi:
        target = torch.from_numpy(rng.choice(np.array([0, 1, np.nan], np.float32), (SAMPLES, CLASSES)))
    else:
        target = torch.from_numpy(rng.integers(-1, CLASSES, SAMPLES))
    per_rank = -(-SAMPLES // (8 * ranks.world)) * 8
    mine = torch.arange(per_rank) + ranks.rank * per_rank
    there = mine < SAMPLES
    at = torch.where(there, mine, 0)
    index = torch.where(there & (mine != 17), mine + 1000, -1)
    gone = index < 0
    target = target[at].masked_fill(gone[:, None] if multi else gone, float("nan") if multi else -1)
    scores = logits[at] if multi else logits[at].log_softmax(1)
    return Seen(index, scores, target, losses(logits[at], target))


def gathered(ranks: Ranks) -> list[Any]:
    """What gathering gives on this rank, as plain values."""
    found: list[Any] = []
    for multi in (False, True):
        seen = seen_by(ranks, multi)
        predictions = gather_predictions(ranks, seen)
        plain = None
        if predictions is not None:
            parts = (predictions.rows, predictions.scores, predictions.targets, predictions.losses)
            plain = [np.nan_to_num(part.astype(np.float64), nan=-9).tolist() for part in parts]
        found.append([plain, hardest(ranks, seen, 7)])
    return found
