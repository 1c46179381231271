"""Geometry of each draw: which part of the image, and whether mirrored; a function of (seed, epoch, position, view) alone.

"default" is the random resized crop of Szegedy et al. (2015) as torchvision's `RandomResizedCrop` computes it (area 0.3 to
1 of the image, aspect ratio 3/4 to 4/3, ten attempts, then the largest centred crop of a permitted ratio) and a
horizontal flip of every second draw. Boxes are in pixels of the full image, whatever level is decoded afterwards.

Where the image's proportions are kept (see `fit`), the ratio stays 1: the crop is 0.3 to 1 of the frame's area, has the
output's proportions in millimetres, and lies where it shows as much of the image as it can: inside the image, or, on an axis
that is longer than the image, anywhere around it. A frame of given millimetres keeps its size and only moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError
from radload.loading.fit import Frames
from radload.loading.random import uniform

AREA = (0.3, 1.0)
RATIO = (3 / 4, 4 / 3)
FLIP = 0.5
ATTEMPTS = 10
NAMES = ("default",)


@dataclass(frozen=True, slots=True)
class Geometry:
    """What part of each image is used.

    Attributes:
        boxes: (n, 4) float64: top, left, height, width in full-resolution pixels; they leave the image where a frame does.
        flips: (n,) bool: mirror left and right.
    """

    boxes: NDArray[np.float64]
    flips: NDArray[np.bool_]


def check_augment(name: str | None) -> None:
    """UsageError for an augmentation that does not exist."""
    if name is not None and name not in NAMES:
        raise UsageError(f"augment={name!r} is unknown: choose None or one of {', '.join(map(repr, NAMES))}")


def geometry(
    name: str | None,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    seed: int,
    epoch: int,
    positions: NDArray[np.int64],
    view: int = 0,
    frames: Frames | None = None,
    area: tuple[float, float] = AREA,
) -> Geometry:
    """Boxes and flips for draws at `positions` of images of `rows` x `cols`, each (n,). None: the whole image, not mirrored.

    Boxes of samples with a frame are parts of it, the others parts of the image: `area` of it, smallest and largest share.
    """
    height, width = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    n = len(height)
    if name is None:
        boxes = np.zeros((n, 4))
        boxes[:, 2], boxes[:, 3] = height, width
        return Geometry(_in_frames(boxes, height, width, frames, None, area), np.zeros(n, np.bool_))
    u = uniform(seed, epoch, positions, view, 2 * ATTEMPTS + 3)  # (n, 23)
    boxes = _resized_crops(height, width, u, area).astype(np.float64)
    return Geometry(_in_frames(boxes, height, width, frames, u, area), u[:, -1] < FLIP)


def _in_frames(
    boxes: NDArray[np.float64],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    frames: Frames | None,
    u: NDArray[np.float64] | None,
    area: tuple[float, float],
) -> NDArray[np.float64]:
    """`boxes` (n, 4), replaced by (a random part of) the frame where there is one; u (n, 23) random numbers, None: the frame itself."""
    if frames is None or not frames.framed.any():
        return boxes
    image = np.stack([height, width], axis=1).astype(np.float64)
    if u is None:
        extents, place = frames.extents, np.full((len(height), 2), 0.5)
    else:
        share = np.sqrt(area[0] + (area[1] - area[0]) * u[:, 0])
        extents = frames.extents * np.where(frames.fixed, 1.0, share)[:, None]
        place = u[:, 2 * ATTEMPTS : 2 * ATTEMPTS + 2]
    framed = np.concatenate([(image - extents) * place, extents], axis=1)
    return np.where(frames.framed[:, None], framed, boxes)


def _resized_crops(
    height: NDArray[np.int64], width: NDArray[np.int64], u: NDArray[np.float64], share: tuple[float, float]
) -> NDArray[np.int64]:
    """(n, 4) boxes inside images, any proportions of the permitted ones; u (n, 23) random numbers."""
    area = (height * width)[:, None] * (share[0] + (share[1] - share[0]) * u[:, :ATTEMPTS])
    ratio = np.exp(log(RATIO[0]) + (log(RATIO[1]) - log(RATIO[0])) * u[:, ATTEMPTS : 2 * ATTEMPTS])
    w = np.rint(np.sqrt(area * ratio)).astype(np.int64)  # (n, attempts)
    h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w >= 1) & (h >= 1) & (w <= width[:, None]) & (h <= height[:, None])
    first = np.argmax(fits, axis=1)
    each = np.arange(len(height))
    centred = ~fits.any(axis=1)
    box_h, box_w = np.where(centred, 0, h[each, first]), np.where(centred, 0, w[each, first])
    if centred.any():  # no attempt fitted: narrow or tiny images
        tall, wide = width / height < RATIO[0], width / height > RATIO[1]
        fall_h = np.where(tall, np.rint(width / RATIO[0]), height).astype(np.int64).clip(1, height)
        fall_w = np.where(wide, np.rint(height * RATIO[1]), width).astype(np.int64).clip(1, width)
        box_h, box_w = np.where(centred, fall_h, box_h), np.where(centred, fall_w, box_w)
    place = u[:, 2 * ATTEMPTS : 2 * ATTEMPTS + 2]
    top = np.where(centred, (height - box_h) // 2, (place[:, 0] * (height - box_h + 1)).astype(np.int64))
    left = np.where(centred, (width - box_w) // 2, (place[:, 1] * (width - box_w + 1)).astype(np.int64))
    return np.stack([top, left, box_h, box_w], axis=1)
