"""Where a probe looks and where the lesion is: class-activation maps against the masks beside the slices, and pictures of both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from radload.dataset.files import atomic_file
from radload.dataset.schema import key_text
from radload.train.bootstrap import measure
from radload.train.cam import THRESHOLDS, dice, grad_cam, mean_by_patient_draws
from radload.train.divide import CHOOSE, TEST, Targets
from radload.train.features import wanted
from radload.train.finetune import Probe

_OPACITY, _OUTLINE = 0.45, (0, 230, 118)


def overlap(
    probe: Probe,
    batches: Iterable[dict[str, Any]],
    part: NDArray[np.int8],
    targets: Targets,
    keys: NDArray[np.uint64],
    weights: NDArray[np.integer],
    device: torch.device,
    folder: Path,
    pictures: int,
    has_mask: NDArray[np.bool_] | None = None,
) -> dict[str, Any] | None:
    """Dice of the maps of each sample's own class with its mask, per sample; and KEY.png of some test samples in `folder`.

    The threshold is the one that is best on the CHOOSE part (half of the maximum where that has no mask).

    Args:
        batches: of a loader in evaluation, with masks where there is `has_mask`; part: of `divide`; weights: of `make_weights`.
        pictures: how many, spread over the test part.
        has_mask: (rows,) samples with a mask, and then only these are looked at; None: there are no masks.

    Returns:
        "dice" {"value", "low", "high"} over the test part, "threshold", "samples"; None where the test part has no mask.
    """
    found: list[NDArray[np.float64]] = [np.zeros((0, len(THRESHOLDS)))]
    rows: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    able = _has_class(targets) & (True if has_mask is None else has_mask)
    shown = _spread(np.flatnonzero((part == TEST) & able), pictures, len(part))
    chosen = shown if has_mask is None else able & ((part == TEST) | (part == CHOOSE))
    for index, batch in wanted(batches, chosen, device, () if has_mask is None else ("mask",)):
        image = batch["image"]
        mask = batch["mask"] > 0 if has_mask is not None else torch.zeros_like(image[:, 0], dtype=torch.bool)
        heat = grad_cam(probe, image, torch.from_numpy(_class_of(targets, index)).to(device))
        marked = mask.flatten(1).any(dim=1)
        if marked.any():
            rows.append(index[marked.cpu().numpy()])
            found.append(dice(heat[marked], mask[marked]))
        for place in np.flatnonzero(shown[index]):
            write_picture(folder / f"{key_text(int(keys[index[place]]))}.png", image[place], heat[place], mask[place])
    index, values = np.concatenate(rows), np.concatenate(found)
    tested, judged = part[index] == TEST, part[index] == CHOOSE
    if not tested.any():
        return None
    best = int(values[judged].mean(axis=0).argmax()) if judged.any() else THRESHOLDS.index(0.5)
    means = mean_by_patient_draws(values[tested, best], targets.patients[index[tested]], weights)
    return {
        "dice": measure(float(means[0]), means[1:]).as_dict(),
        "threshold": THRESHOLDS[best],
        "samples": int(tested.sum()),
    }


def write_picture(path: Path, image: Tensor, heat: Tensor, mask: Tensor) -> None:
    """A PNG: the image's first channel, and beside it the same under the map, with the outline of the mask.

    Args:
        image: (C, H, W), stretched over the grey scale; heat: (H, W) in [0, 1]; mask: (H, W) bool.
    """
    grey = image[0].float().cpu().numpy()
    span = float(grey.max() - grey.min())
    grey = (grey - grey.min()) / (span or 1.0) * 255
    plain = np.repeat(grey[:, :, None], 3, axis=2)  # (H, W, 3)
    strength = heat.float().cpu().numpy()
    colour = matplotlib.colormaps["inferno"](strength)[:, :, :3] * 255
    mixed = plain * (1 - _OPACITY) + colour * _OPACITY
    inside = np.pad(mask.cpu().numpy(), 1)
    core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    mixed[inside[1:-1, 1:-1] & ~core] = _OUTLINE
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        Image.fromarray(np.concatenate([plain, mixed], axis=1).round().astype(np.uint8)).save(file, format="PNG")


def _spread(rows: NDArray[np.int64], count: int, total: int) -> NDArray[np.bool_]:
    """(total,) `count` of `rows`, at equal distances: neighbours are of one patient, and look alike."""
    chosen = np.zeros(total, bool)
    if len(rows) and count:
        chosen[rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64))]] = True
    return chosen


def _class_of(targets: Targets, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the class that a map is for: the label, or the first of several."""
    codes = targets.codes[rows]
    return np.asarray(np.nan_to_num(codes).argmax(axis=1) if targets.multi else codes, np.int64)


def _has_class(targets: Targets) -> NDArray[np.bool_]:
    """(rows,) rows that show something: a label, of several at least one positive."""
    return np.asarray((targets.codes > 0.5).any(axis=1) if targets.multi else targets.codes >= 0)
