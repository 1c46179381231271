"""What does not fit 16 bits exactly: kept as it is (`raw`), or scaled linearly to 16 bits, with the largest error recorded.

Scaled slice by slice: the range of a series is known only when its last slice has been decoded, and a slice's own range is never wider, so
its error is never larger. Slope and intercept are per slice in the index anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radload.codecs import htj2k
from radload.pack.colour import Picture
from radload.sources.slice import Slice

WideMode: TypeAlias = Literal["raw", "scale"]

_TOP: Final = 65_535


@dataclass(frozen=True, slots=True)
class Scaled:
    """A slice and its picture as they are encoded. max_error: see `to_sixteen_bits`."""

    image: Slice
    picture: Picture
    max_error: float | None


def to_sixteen_bits(image: Slice, picture: Picture, mode: WideMode) -> Scaled:
    """Scale `picture` to uint16 where it asks for it; the new slope and intercept give the same modality values but for `max_error`.

    coded = round((stored - lowest) / step), step the smallest that makes the range fit. Where whole numbers fit with step 1, they keep it:
    then nothing is lost. Padding becomes 0, and the image 1 to 65,535.

    `max_error` is the largest absolute difference of modality values, in their units, over pixels that are no padding, measured with the
    slope and intercept that are recorded: 0.0 where the picture is exact, None where it is not known (colour that was converted).

    Left as it is: what fits 16 bits exactly; values that are not finite, which no linear scale holds; stored values with a modality table,
    which are its indices; ranges beyond float64.
    """
    untouched = Scaled(image, picture, 0.0 if picture.exact else None)
    values: NDArray[Any] = picture.values
    if mode == "raw" or htj2k.can_hold(values) or image.modality_lut is not None or not np.isfinite(values).all():
        return untouched
    padded = _padded(values, picture.padding)
    content = values if padded is None else values[~padded]
    wide: NDArray[np.float64] = values.astype(np.float64)
    low, high = float(content.min()), float(content.max())
    first = 0 if padded is None else 1
    with np.errstate(over="ignore"):
        step = np.float64(high - low) / (_TOP - first)
    if step <= 1 and bool((np.rint(wide) == wide).all()):
        step = np.float64(1)
    if low == high:
        step = np.float64(1)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = float(image.slope * step)
        intercept = float(image.intercept + image.slope * (low - first * step))
        if not (np.isfinite(slope) and np.isfinite(intercept) and np.isfinite(step) and step > 0):
            return untouched
        coded = np.clip(np.rint((wide - low) / step) + first, first, _TOP).astype(np.uint16)
    if padded is not None:
        coded[padded] = 0
    error = np.abs(coded * slope + intercept - (wide * image.slope + image.intercept))
    largest = float((error if padded is None else error[~padded]).max())
    if not np.isfinite(largest):
        return untouched
    return Scaled(
        replace(image, slope=slope, intercept=intercept),
        replace(picture, values=coded, exact=False, padding=None if padded is None else (0, 0)),
        largest if picture.exact else None,
    )


def _padded(values: NDArray[Any], padding: tuple[int, int] | None) -> NDArray[np.bool_] | None:
    """Which pixels are padding; None where none is, or nothing else."""
    if padding is None:
        return None
    found: NDArray[np.bool_] = (values >= padding[0]) & (values <= padding[1])
    return found if found.any() and not found.all() else None
