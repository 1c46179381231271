"""Rectangles of a frame that are cut away or blanked because of burned-in text; every pixel that stays keeps its stored value.

A rectangle is (top, left, height, width) in pixels of the frame as the file holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radload.sources import Refused, Slice

Rectangle: TypeAlias = tuple[int, int, int, int]

_ORTHOGONAL: Final = "pixel"  # the spacing_source whose plane is the patient's (Pixel Spacing, PS3.3 10.7.1)


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is done to all frames of a file: `masks` are blanked, then `crop` is cut out (None: nothing is cut away)."""

    crop: Rectangle | None = None
    masks: tuple[Rectangle, ...] = ()


def inside(rectangle: Rectangle, rows: int, cols: int) -> bool:
    """Whether a rectangle has pixels, and all of them in an image of that size."""
    top, left, height, width = rectangle
    return top >= 0 and left >= 0 and height > 0 and width > 0 and top + height <= rows and left + width <= cols


def box(rectangles: Sequence[Rectangle]) -> Rectangle:
    """The smallest rectangle around some."""
    top, left = min(one[0] for one in rectangles), min(one[1] for one in rectangles)
    bottom, right = max(one[0] + one[2] for one in rectangles), max(one[1] + one[3] for one in rectangles)
    return top, left, bottom - top, right - left


def gaps(rectangles: Sequence[Rectangle]) -> tuple[Rectangle, ...]:
    """What of their box lies in none of them, as rectangles that do not overlap."""
    rows = sorted({edge for one in rectangles for edge in (one[0], one[0] + one[2])})
    cols = sorted({edge for one in rectangles for edge in (one[1], one[1] + one[3])})
    return tuple(
        (top, left, bottom - top, right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(cols)
        if not any(overlap((top, left, bottom - top, right - left), one) for one in rectangles)
    )


def overlap(one: Rectangle, other: Rectangle) -> Rectangle | None:
    """The pixels that two rectangles share."""
    top, left = max(one[0], other[0]), max(one[1], other[1])
    bottom, right = min(one[0] + one[2], other[0] + other[2]), min(one[1] + one[3], other[1] + other[3])
    return (top, left, bottom - top, right - left) if bottom > top and right > left else None


def redact(image: Slice, redaction: Redaction | None) -> Slice:
    """A slice as it is packed; what needs no redaction as it is.

    Masks that the crop cuts away leave no trace; those that are left are counted in `masked`. The position moves with the first pixel
    (PS3.3 C.7.6.2.1.1), and is unknown where the file does not say by how much.

    Raises:
        Refused: `changed-file`, where a rectangle is not inside the frame.
    """
    if redaction is None:
        return image
    rows, cols = image.stored.shape[:2]
    crop = redaction.crop or (0, 0, rows, cols)
    if not all(inside(one, rows, cols) for one in (crop, *redaction.masks)):
        raise Refused("changed-file", "the frame is smaller than the one that was reviewed")
    top, left, height, width = crop
    stored = cut(image.stored, crop)
    masks = [shared for mask in redaction.masks if (shared := overlap(mask, crop)) is not None]
    if masks:
        stored = stored.copy()
        hidden = np.zeros((height, width), bool)
        for mask in masks:
            hidden[mask[0] - top : mask[0] - top + mask[2], mask[1] - left : mask[1] - left + mask[3]] = True
        stored[hidden] = _blank(image, stored[~hidden])
    if (top, left, height, width) == (0, 0, rows, cols):
        return replace(image, stored=stored, masked=len(masks))
    return replace(image, stored=stored, masked=len(masks), cropped=crop, position=_moved(image, top, left))


def cut(values: NDArray[Any], rectangle: Rectangle) -> NDArray[Any]:
    """That part of (rows, cols, ...), in C order."""
    top, left, height, width = rectangle
    return np.ascontiguousarray(values[top : top + height, left : left + width])


def _blank(image: Slice, visible: NDArray[np.generic]) -> NDArray[Any]:
    """The stored value of a blanked pixel, () or (3,): padding where the file has it, else the darkest of the `visible` pixels.

    `visible`: (pixels,) or (pixels, 3), what is not blanked.
    """
    dtype = image.stored.dtype
    if image.palette is not None:
        darkest = int(np.argmin(image.palette.sum(axis=1, dtype=np.int64)))
        return np.asarray(image.palette_first + darkest).astype(dtype)
    if image.padding is not None and visible.ndim == 1 and _holds(dtype, image.padding[0]):
        return np.asarray(image.padding[0]).astype(dtype)
    luma = visible[:, 0] if image.photometric.startswith("YBR") and visible.ndim == 2 else visible
    if luma.dtype.kind == "f":
        luma = luma[np.isfinite(luma)]
    lowest = luma.min() if luma.size else np.zeros((), dtype)
    if not image.photometric.startswith("YBR"):
        return np.asarray(lowest)
    return np.array([lowest, *[1 << (image.bits_stored - 1)] * 2]).astype(dtype)  # chroma zero, PS3.3 C.7.6.3.1.2


def _holds(dtype: np.dtype[Any], value: int) -> bool:
    return dtype.kind == "f" or np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


def _moved(image: Slice, top: int, left: int) -> tuple[float, float, float] | None:
    if image.position is None or (top, left) == (0, 0):
        return image.position
    if image.orientation is None or image.spacing is None or image.spacing_source != _ORTHOGONAL:
        return None
    along_row, along_column = image.orientation[:3], image.orientation[3:]
    right, down = left * image.spacing[1], top * image.spacing[0]
    x, y, z = (
        start + right * row + down * column
        for start, row, column in zip(image.position, along_row, along_column, strict=True)
    )
    return x, y, z
