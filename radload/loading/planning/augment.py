"""Augmentation: what a run varies at random, and what that is for each draw: a function of (seed, epoch, position, view) alone.

Crops are the random resized crops of Szegedy et al. (2015) as torchvision's `RandomResizedCrop` computes them (ten attempts,
then the largest centred crop of a permitted ratio). Boxes are in pixels of the full image, whatever level is decoded afterwards.
Where the image's proportions are kept (see `fit`), the ratio stays 1: the crop is a share of the frame's area, has the
output's proportions in millimetres, and lies where it shows as much of the image as it can: inside the image, or, on an axis
that is longer than the image, anywhere around it. A frame of given millimetres keeps its size and only moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError
from radload.loading.order.random import uniform, words
from radload.loading.planning.fit import Frames

AREA = (0.3, 1.0)
RATIO = (3 / 4, 4 / 3)
JITTER = (0.1, 0.1)
FLIP = 0.5  # of the draws that may be mirrored
AUTO, DEFAULT = "auto", "default"
ATTEMPTS = 10
LEAST_AREA, MOST_RATIO, MOST_JITTER, MOST_GAMMA, MOST_NOISE = 0.01, 10.0, 1.0, 1.0, 1.0

# Which of a draw's random words is what. Appending changes no run; moving one changes every run that is resumed.
_PLACE, _FLIP, _ANGLE, _CENTRE, _WIDTH, _GAMMA, _NOISE, _KEY = 20, 22, 23, 24, 25, 26, 27, 28
_WORDS = 30


@dataclass(frozen=True, slots=True)
class Augment:
    """What a run varies; `Augment()` is "default". Whatever is asked for is drawn anew for each draw and view.

    Attributes:
        area: least and largest share of the image's area that a crop shows; (1, 1): no crop.
        ratio: least and largest width / height of a crop, in pixels.
        flip: mirror half of the draws left to right: True, False, or "auto": only where that destroys no meaning, see `mirror`.
        rotate: degrees, uniformly up to so many either way, about the middle of the crop.
        window_jitter: the window's centre moves by up to this share of its width either way, and its width is multiplied by
            exp(-s) to exp(s); (centre, width), or one number for both. The same for all channels. Tables of the file stay as they are.
        gamma: y ** exp(g), g uniformly from -gamma to gamma.
        noise: normal noise is added to y in [0, 1], its deviation drawn uniformly from 0 to this; the same noise in all channels.
    """

    area: tuple[float, float] = AREA
    ratio: tuple[float, float] = RATIO
    flip: bool | str = AUTO
    rotate: float = 0.0
    window_jitter: float | tuple[float, float] = JITTER
    gamma: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        jitter = self.window_jitter
        for name, value in (("area", self.area), ("ratio", self.ratio), ("window_jitter", jitter)):
            object.__setattr__(self, name, _pair(name, value, single=name == "window_jitter"))
        for name in ("rotate", "gamma", "noise"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        _check(self)

    @property
    def jitter(self) -> tuple[float, float]:
        """`window_jitter` as (centre, width)."""
        value = self.window_jitter
        return value if isinstance(value, tuple) else (value, value)

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Augment:
        """What `as_dict` wrote. Raises UsageError for anything else."""
        if set(content) != {field.name for field in fields(cls)}:
            raise UsageError(f"this is no augmentation as Augment.as_dict() writes it: {dict(content)}")
        return cls(**content)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{name}={value!r} of an augmentation cannot be used: give a number")
    return float(value)


def _pair(name: str, value: object, single: bool) -> tuple[float, float]:
    if single and isinstance(value, int | float):
        value = (value, value)
    if not isinstance(value, tuple | list) or len(value) != 2:
        one = "one number or " if single else ""
        raise UsageError(f"{name}={value!r} of an augmentation cannot be used: give {one}two numbers")
    return _number(name, value[0]), _number(name, value[1])


def _check(a: Augment) -> None:
    """UsageError for values outside of their range; NaN is outside of all."""
    if not LEAST_AREA <= a.area[0] <= a.area[1] <= 1:
        raise UsageError(
            f"area={a.area} cannot be used: give two shares of the image, {LEAST_AREA} <= least <= largest <= 1"
        )
    if not 1 / MOST_RATIO <= a.ratio[0] <= a.ratio[1] <= MOST_RATIO:
        raise UsageError(
            f"ratio={a.ratio} cannot be used: give least and largest width / height, 0.1 to {MOST_RATIO:g}"
        )
    if not isinstance(a.flip, bool) and a.flip != AUTO:
        raise UsageError(f'flip={a.flip!r} cannot be used: choose True, False or "auto"')
    limits = {"rotate": 180.0, "gamma": MOST_GAMMA, "noise": MOST_NOISE}
    for name, most in limits.items():
        if not 0 <= getattr(a, name) <= most:
            raise UsageError(f"{name}={getattr(a, name)} cannot be used: give a number from 0 to {most:g}")
    if not all(0 <= j <= MOST_JITTER for j in a.jitter):
        raise UsageError(f"window_jitter={a.jitter} cannot be used: give shares from 0 to {MOST_JITTER:g}")


def make_augment(augment: Augment | str | None) -> Augment | None:
    """The augmentation that a user's argument means: None, "default", or an `Augment`. Raises UsageError."""
    if augment is None or isinstance(augment, Augment):
        return augment
    if augment == DEFAULT:
        return Augment()
    raise UsageError(f"augment={augment!r} is unknown: choose None, {DEFAULT!r} or a radload.Augment")


@dataclass(frozen=True, slots=True)
class Geometry:
    """What part of each image is used, and how it lies.

    Attributes:
        boxes: (n, 4) float64: top, left, height, width in full-resolution pixels; they leave the image where a frame does.
        flips: (n,) bool: mirror left and right.
        angles: (n,) float64: degrees, counter-clockwise.
    """

    boxes: NDArray[np.float64]
    flips: NDArray[np.bool_]
    angles: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Intensity:
    """What happens to the grey values of each draw.

    Attributes:
        shifts, factors: (n,) float64: of the window: centre + shift * width, and width * factor.
        gammas, noises: (n,) float64: exponent, and standard deviation, of y in [0, 1].
        keys: (n, 2) uint32: of the noise, see kernels.philox.normals.
    """

    shifts: NDArray[np.float64]
    factors: NDArray[np.float64]
    gammas: NDArray[np.float64]
    noises: NDArray[np.float64]
    keys: NDArray[np.uint32]


def geometry(
    augment: Augment | str | None,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    seed: int,
    epoch: int,
    positions: NDArray[np.int64],
    view: int = 0,
    frames: Frames | None = None,
    mirrors: NDArray[np.bool_] | None = None,
) -> Geometry:
    """Boxes, flips and angles for draws at `positions` of images of `rows` x `cols`, each (n,). None: the whole image as it is.

    Boxes of samples with a frame are parts of it, the others parts of the image.

    Args:
        mirrors: (n,) which images may be mirrored under flip="auto"; all of them where None.
    """
    augment = make_augment(augment)
    height, width = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    n = len(height)
    whole = np.zeros((n, 4))
    whole[:, 2], whole[:, 3] = height, width
    if augment is None:
        return Geometry(_in_frames(whole, height, width, frames, AREA, None), np.zeros(n, np.bool_), np.zeros(n))
    u, _ = _uniform(seed, epoch, positions, view)
    boxes = whole if augment.area == (1.0, 1.0) else _resized_crops(height, width, augment, u).astype(np.float64)
    flips = u[:, _FLIP] < FLIP
    if augment.flip is False:
        flips[:] = False
    elif augment.flip == AUTO and mirrors is not None:
        flips &= mirrors
    angles = augment.rotate * (2 * u[:, _ANGLE] - 1)
    return Geometry(_in_frames(boxes, height, width, frames, augment.area, u), flips, angles)


def intensity(
    augment: Augment | str | None, seed: int, epoch: int, positions: NDArray[np.int64], view: int = 0
) -> Intensity | None:
    """What happens to grey values of draws at `positions` (n,); None: nothing."""
    augment = make_augment(augment)
    if augment is None or not any((*augment.jitter, augment.gamma, augment.noise)):
        return None
    u, drawn = _uniform(seed, epoch, positions, view)
    centre, width = augment.jitter
    return Intensity(
        shifts=centre * (2 * u[:, _CENTRE] - 1),
        factors=np.exp(width * (2 * u[:, _WIDTH] - 1)),
        gammas=np.exp(augment.gamma * (2 * u[:, _GAMMA] - 1)),
        noises=augment.noise * u[:, _NOISE],
        keys=drawn[:, _KEY : _KEY + 2].astype(np.uint32),
    )


def _uniform(
    seed: int, epoch: int, positions: NDArray[np.int64], view: int
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """(n, _WORDS) numbers in (0, 1), and the words that they are made of."""
    drawn = words(seed, epoch, positions, view, _WORDS)
    return uniform(drawn), drawn


def _in_frames(
    boxes: NDArray[np.float64],
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    frames: Frames | None,
    area: tuple[float, float],
    u: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """`boxes` (n, 4), replaced by (a random part of) the frame where there is one; u (n, _WORDS) random numbers, None: the frame itself."""
    if frames is None or not frames.framed.any():
        return boxes
    image = np.stack([height, width], axis=1).astype(np.float64)
    if u is None or area == (1.0, 1.0):
        extents, place = frames.extents, np.full((len(height), 2), 0.5)
    else:
        share = np.sqrt(area[0] + (area[1] - area[0]) * u[:, 0])
        extents = frames.extents * np.where(frames.fixed, 1.0, share)[:, None]
        place = u[:, _PLACE : _PLACE + 2]
    framed = np.concatenate([(image - extents) * place, extents], axis=1)
    return np.where(frames.framed[:, None], framed, boxes)


def _resized_crops(
    height: NDArray[np.int64], width: NDArray[np.int64], augment: Augment, u: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(n, 4) boxes inside images, any proportions of the permitted ones; u (n, _WORDS) random numbers."""
    least, most = augment.ratio
    area = (height * width)[:, None] * (augment.area[0] + (augment.area[1] - augment.area[0]) * u[:, :ATTEMPTS])
    ratio = np.exp(log(least) + (log(most) - log(least)) * u[:, ATTEMPTS : 2 * ATTEMPTS])
    w = np.rint(np.sqrt(area * ratio)).astype(np.int64)  # (n, attempts)
    h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
    fits = (w >= 1) & (h >= 1) & (w <= width[:, None]) & (h <= height[:, None])
    first = np.argmax(fits, axis=1)
    each = np.arange(len(height))
    centred = ~fits.any(axis=1)
    box_h, box_w = np.where(centred, 0, h[each, first]), np.where(centred, 0, w[each, first])
    if centred.any():  # no attempt fitted: narrow or tiny images
        tall, wide = width / height < least, width / height > most
        fall_h = np.where(tall, np.rint(width / least), height).astype(np.int64).clip(1, height)
        fall_w = np.where(wide, np.rint(height * most), width).astype(np.int64).clip(1, width)
        box_h, box_w = np.where(centred, fall_h, box_h), np.where(centred, fall_w, box_w)
    place = u[:, _PLACE : _PLACE + 2]
    top = np.where(centred, (height - box_h) // 2, (place[:, 0] * (height - box_h + 1)).astype(np.int64))
    left = np.where(centred, (width - box_w) // 2, (place[:, 1] * (width - box_w + 1)).astype(np.int64))
    return np.stack([top, left, box_h, box_w], axis=1)
