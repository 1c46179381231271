"""CT slices with nothing, a nodule or a ring in the lungs' level, their masks and labels: what a probe can be tried on in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from train_data import _make

from radload.dataset.labels import LabelSet

CLASSES = ("clear", "nodule", "ring")
SLICES = 6  # per patient
SIDE = 48


def write_lesions(
    root: Path, patients: dict[str, int], seed: int = 0, masks: bool = True, multi: bool = False, side: int = SIDE
) -> Path:
    """A data set with `patients` per split. Every patient has one class, shown in all his slices at different places."""
    make = _make()
    series, codes = [], []
    for split, count in patients.items():
        for number in range(count):
            rng = np.random.default_rng([seed, len(series), 7])
            code = number % len(CLASSES)
            images = [_image(make, rng, code, masks, side) for _ in range(SLICES)]
            series.append(make.Series(images, split=split, body_part="CHEST"))
            codes += [code] * SLICES
    single = np.array(codes, np.int32)
    labels = LabelSet("default", "single", CLASSES, single, "csv")
    if multi:
        each = (single[:, None] == np.array([1, 2])).astype(np.float32)
        labels = LabelSet("default", "multi", CLASSES[1:], each, "csv")
    return make.write_dataset(root, series, labels)  # type: ignore[no-any-return]


def _image(make: Any, rng: np.random.Generator, code: int, masks: bool, side: int) -> Any:
    y, x = np.mgrid[:side, :side].astype(np.float64)
    hu = rng.normal(rng.uniform(-40, 60), 40, (side, side))
    hu[np.hypot((x - side / 2) / 0.47, (y - side / 2) / 0.4) > side] = -1000
    for _ in range(3):  # vessels, bright and small: brightness alone tells nothing
        a, b = rng.uniform(0.25, 0.75, 2) * side
        hu[np.hypot(x - a, y - b) < 1.3] += 250
    centre = rng.uniform(0.28, 0.72, 2) * side
    radius = rng.uniform(0.09, 0.13) * side
    distance = np.hypot(x - centre[0], y - centre[1])
    inside: NDArray[np.bool_] = distance < radius
    if code == 1:
        hu[inside] += 120
    elif code == 2:
        hu[inside & (distance > radius - 2)] += 160
    mask = inside.astype(np.uint8) if code and masks else None
    return make.Image((hu + 1024).clip(0, 4095).astype(np.int16), intercept=-1024.0, mask=mask)
