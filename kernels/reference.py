"""The definition of the fused operation, in plain NumPy and float64: slow and obvious. Every other kernel is measured against it.

For one grey sample `coded` (h, w) at resolution level k of an image of (rows, cols) pixels, in this order:

    value = (coded - bias) * slope + intercept      modality value, PS3.3 C.11.1.1.2
    y = voi_c(value)                                 in [0, 1], PS3.3 C.11.2.1.2; one plane per window c
    y = 1 - y                                        where low values are white (MONOCHROME1)
    y = 0                                            where coded is padding, NaN or infinite
    y = resample(y)                                  triangle filter over the crop, antialiased; over the turned crop, see `centres`
    y = 0                                            where the crop leaves the image: at outputs whose centre is not in it
    y = clip(y, 0, 1) ** gamma                       where gamma is not 1
    y = y + noise * normal(pixel)                    one number per pixel for all planes, outside of the image too; not clipped
    y = (y - mean_c) / std_c

The fast kernels agree to 1e-5 in y before the power, which magnifies what is near black.

The window comes before the resampling: the other order averages air with bone before it asks what is soft tissue. Flips come before the
noise: pixel 0 is the output's first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radload.kernels.philox import normals
from radload.kernels.prepare import Voi, rotation

Floats = NDArray[np.float64]
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the Y of PS3.3 C.7.6.3.1.2's YBR_FULL
SIGMOID_FACTOR = 4.0  # PS3.3 C.11.2.1.3.1


@dataclass(frozen=True, slots=True)
class Window:
    """One plane's VOI. `table` (entries,) in [0, 1] maps coded value `first` + i to table[i] (only for Voi.TABLE)."""

    function: Voi
    centre: float = 0.0
    width: float = 1.0
    table: Floats | None = None
    first: int = 0


def luma(rgb: NDArray[np.generic]) -> Floats:
    """Grey value (h, w) of a colour image (h, w, 3), in the units of `rgb`: what the window is applied to."""
    return np.asarray(rgb.astype(np.float64) @ np.array(LUMA))


def voi(value: ArrayLike, function: Voi, centre: float, width: float) -> Floats:
    """Modality values to [0, 1], any shape. LINEAR needs width >= 1, the others width > 0 (PS3.3 C.11.2.1.2.1, C.11.2.1.3).

    Raises:
        ValueError: a width out of its range, or a function that has no formula (TABLE).
    """
    x = np.asarray(value, np.float64)
    if not width >= 1 if function == Voi.LINEAR else not width > 0:
        raise ValueError(f"window width {width} is out of range for {function.name}")
    if function == Voi.LINEAR:
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        ramp = (x - (centre - 0.5)) / ((width - 1) or 1.0) + 0.5  # width 1 is a step: no x is between
        return np.where(x <= low, 0.0, np.where(x > high, 1.0, ramp))
    if function == Voi.LINEAR_EXACT:
        low, high = centre - width / 2, centre + width / 2
        return np.where(x <= low, 0.0, np.where(x > high, 1.0, (x - centre) / width + 0.5))
    if function == Voi.SIGMOID:
        exponent = np.clip(-SIGMOID_FACTOR * (x - centre) / width, -700.0, 700.0)
        return np.asarray(1.0 / (1.0 + np.exp(exponent)))
    raise ValueError(f"{function!r} has no formula: give its table to render()")


def weights(n_in: int, level: int, full: int, start: float, extent: float, n_out: int) -> Floats:
    """Resampling along one axis as a matrix (n_out, n_in); rows sum to 1.

    Sample i of level k lies at i * 2**k + 0.5 on the full image's axis, whose pixel j covers [j, j + 1). Output o is the triangle around
    start + (o + 0.5) * scale of half-width max(scale, 2**k), scale = extent / n_out, over the samples inside the crop
    [start, start + extent) only. At level 0 with an integer crop this is torch's interpolate(mode="bilinear", antialias=True).
    Rows of outputs that lie outside the image (`shown`) mean nothing.

    Args:
        n_in: samples along the axis, ceil(full / 2**level).
        start, extent: the crop in pixels of the full image, which it may leave.

    Raises:
        ValueError: sizes that do not fit together, or a crop without any of the image.
    """
    step = 2**level
    if n_in != -(-full // step) or n_in < 1 or n_out < 1:
        raise ValueError(f"{n_in} samples are not level {level} of {full} pixels, or no output ({n_out})")
    if not (extent > 0 and start < full and start + extent > 0):
        raise ValueError(f"crop [{start}, {start} + {extent}) shows nothing of the image of {full} pixels")
    position = np.arange(n_in) * float(step) + 0.5
    scale = extent / n_out
    centre = start + (np.arange(n_out) + 0.5) * scale
    allowed = (position >= start) & (position < start + extent)
    if not allowed.any():
        allowed[np.argmin(np.abs(position - (start + extent / 2)))] = True
    distance = np.abs(position[None, :] - centre[:, None])  # (n_out, n_in)
    weight = np.maximum(0.0, 1.0 - distance / max(scale, step)) * allowed
    nearest = np.argmin(np.where(allowed, distance, np.inf), axis=1)
    empty = np.flatnonzero(weight.sum(axis=1) == 0)
    weight[empty, nearest[empty]] = 1.0
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def shown(full: int, start: float, extent: float, n_out: int) -> NDArray[np.bool_]:
    """(n_out,) which outputs of an axis lie in the image, for a crop that may leave it: those whose centre is in [0, full).

    Where no centre is (an image smaller than one output), the output that contains the middle of what is left of the image shows it.
    """
    scale = extent / n_out
    centre = start + (np.arange(n_out) + 0.5) * scale
    inside = (centre >= 0) & (centre < full)
    if not inside.any():
        middle = (max(start, 0.0) + min(start + extent, float(full))) / 2
        inside[min(max(math.floor((middle - start) / scale), 0), n_out - 1)] = True
    return inside


def nearest(full: int, start: float, extent: float, n_out: int) -> NDArray[np.int64]:
    """(n_out,) the pixel that contains the centre of each output of an axis, -1 where `shown` is False; arguments as for `weights`."""
    pixel = np.floor(start + (np.arange(n_out) + 0.5) * (extent / n_out)).astype(np.int64)
    return np.where(shown(full, start, extent, n_out), pixel.clip(0, full - 1), -1)


def centres(
    full: tuple[int, int], crop: tuple[float, float, float, float], size: tuple[int, int], angle: float
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Where the outputs of a turned crop lie in the image: y and x of their centres in pixels of the full image, and which are shown.

    The grid of outputs is turned about the middle of what the crop shows of the image, in units of outputs, and then laid over the
    crop. So the picture turns as if it had been resized first: right angles stay right angles on the screen, and in the body where the
    output's pixels are square in millimetres. The middle of what is shown stays where it is, so no rotation turns an image out of its
    frame.

    Args:
        full: (rows, cols) of the image; crop: (top, left, height, width), which may leave it; size: (rows, cols) of the output;
        angle: degrees, counter-clockwise.

    Returns:
        (rows, cols) float64, float64 and bool. Shown are centres in the image, and the output that contains the middle.
    """
    cosine, sine = rotation(angle)
    scale, middle, at = [], [], []
    for axis in (0, 1):
        start, extent, n_out = crop[axis], crop[axis + 2], size[axis]
        scale.append(extent / n_out)
        middle.append((max(start, 0.0) + min(start + extent, float(full[axis]))) / 2)
        at.append((middle[axis] - start) / scale[axis])  # in outputs
    a, b = (np.arange(n) + 0.5 - q for n, q in zip(size, at, strict=True))
    y = middle[0] + ((cosine * a)[:, None] + (sine * b)[None, :]) * scale[0]
    x = middle[1] + ((cosine * b)[None, :] - (sine * a)[:, None]) * scale[1]
    inside = (y >= 0) & (y < full[0]) & (x >= 0) & (x < full[1])
    inside[tuple(min(max(math.floor(q), 0), n - 1) for n, q in zip(size, at, strict=True))] = True
    return y, x, inside


def turn(
    y: Floats,
    level: int,
    full: tuple[int, int],
    crop: tuple[float, float, float, float],
    size: tuple[int, int],
    angle: float,
) -> Floats:
    """Planes (C, h, w) at resolution level `level` resampled over a turned crop: (C, rows, cols); arguments as of `centres`.

    Each output is the average of the image's samples, weighted by the product of two triangles along its rows and columns around the
    output's centre, of the half-widths that `weights` has. That is the right filter at any angle: a circle in the output stays the
    same ellipse in the image however the output is turned. Unlike an upright crop's, the filter sees the image beyond the crop's edge:
    where it does not reach beyond it, an angle that goes to 0 gives what `weights` gives.
    """
    at_y, at_x, inside = centres(full, crop, size, angle)
    result = np.zeros((len(y), *size))
    for o in range(size[0]):
        factors = []
        for axis, at in ((0, at_y[o]), (1, at_x[o])):
            half = max(crop[axis + 2] / size[axis], 2.0**level)
            position = np.arange(y.shape[axis + 1]) * 2.0**level + 0.5
            centre = np.clip(at, 0, full[axis])  # of the output with the middle, whose centre may lie beyond
            factors.append(np.maximum(0.0, 1.0 - np.abs(position[None, :] - centre[:, None]) / half))  # (cols, n_in)
        vertical, horizontal = (f / np.where(inside[o], f.sum(axis=1), 1.0)[:, None] for f in factors)
        result[:, o] = np.einsum("cpj,pj->cp", vertical @ y, horizontal) * inside[o]
    return result


def planes(
    coded: NDArray[np.generic],
    windows: Sequence[Window],
    *,
    slope: float = 1.0,
    intercept: float = 0.0,
    bias: float = 0.0,
    invert: bool = False,
    padding: tuple[float, float] | None = None,
) -> Floats:
    """Windowed planes (C, h, w) in [0, 1] before resampling; `padding` is an inclusive range of coded values."""
    x = coded.astype(np.float64)
    blank = ~np.isfinite(x)
    x[blank] = 0.0
    if padding is not None:
        blank |= (x >= padding[0]) & (x <= padding[1])
    result = np.empty((len(windows), *x.shape))
    for y, window in zip(result, windows, strict=True):
        if window.function == Voi.TABLE and window.table is not None:
            index = np.clip(np.rint(x) - window.first, 0, len(window.table) - 1)
            y[...] = window.table[index.astype(np.int64)]
        else:
            y[...] = voi((x - bias) * slope + intercept, window.function, window.centre, window.width)
        if invert:
            y[...] = 1.0 - y
        y[blank] = 0.0
    return result


def render(
    coded: NDArray[np.generic],
    windows: Sequence[Window],
    size: tuple[int, int],
    *,
    full: tuple[int, int] | None = None,
    level: int = 0,
    crop: tuple[float, float, float, float] | None = None,
    flip: tuple[bool, bool] = (False, False),
    slope: float = 1.0,
    intercept: float = 0.0,
    bias: float = 0.0,
    invert: bool = False,
    padding: tuple[float, float] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    angle: float = 0.0,
    gamma: float = 1.0,
    noise: float = 0.0,
    key: tuple[int, int] = (0, 0),
) -> Floats:
    """The whole operation for one sample; see the module's text.

    Args:
        coded: (h, w) values as the codec gives them (stored + bias).
        windows: one per output plane.
        size: (rows, cols) of the output.
        full: (rows, cols) of the image that `coded` is a level of; coded's own shape at level 0.
        crop: (top, left, height, width) in pixels of the full image, which it may leave; all of it by default.
        flip: (horizontal, vertical) mirror of the output.
        padding: inclusive range of coded values that are no image content.
        mean, std: per plane, 0 and 1 by default.
        angle: degrees, counter-clockwise; 0 is the upright crop. gamma: above 0. noise, key: deviation in y; see philox.normals.

    Returns:
        (C, rows, cols) float64.

    Raises:
        ValueError: as `weights` and `voi`.
    """
    rows, cols = full if full is not None else coded.shape
    top, left, height, width = crop if crop is not None else (0, 0, rows, cols)
    y = planes(coded, windows, slope=slope, intercept=intercept, bias=bias, invert=invert, padding=padding)
    if angle:
        y = turn(y, level, (rows, cols), (top, left, height, width), size, angle)
    else:
        vertical = weights(coded.shape[0], level, rows, top, height, size[0])
        horizontal = weights(coded.shape[1], level, cols, left, width, size[1])
        y = vertical @ y @ horizontal.T
        y = y * np.outer(shown(rows, top, height, size[0]), shown(cols, left, width, size[1]))
    if flip[0]:
        y = y[:, :, ::-1]
    if flip[1]:
        y = y[:, ::-1, :]
    if gamma != 1:
        y = np.clip(y, 0.0, 1.0) ** gamma
    if noise:
        y = y + noise * normals(key, size[0] * size[1]).reshape(size)
    m = np.zeros(len(windows)) if mean is None else np.asarray(mean, np.float64)
    s = np.ones(len(windows)) if std is None else np.asarray(std, np.float64)
    return np.asarray((y - m[:, None, None]) / s[:, None, None])


def render_mask(
    mask: NDArray[np.integer],
    size: tuple[int, int],
    *,
    crop: tuple[float, float, float, float] | None = None,
    flip: tuple[bool, bool] = (False, False),
    angle: float = 0.0,
) -> NDArray[np.int32]:
    """A label mask under the geometry of `render`: each output is the label of the pixel that contains its centre, 0 outside the image.

    Args:
        mask: (h, w) labels at full resolution; the others as for `render`.

    Returns:
        (rows, cols) int32.
    """
    rows, cols = mask.shape
    top, left, height, width = crop if crop is not None else (0, 0, rows, cols)
    if angle:
        at_y, at_x, inside = centres((rows, cols), (top, left, height, width), size, angle)
        label = mask[np.floor(at_y).clip(0, rows - 1).astype(int), np.floor(at_x).clip(0, cols - 1).astype(int)]
        result = np.where(inside, label, 0).astype(np.int32)
    else:
        y, x = nearest(rows, top, height, size[0]), nearest(cols, left, width, size[1])
        result = np.where((y[:, None] < 0) | (x[None, :] < 0), 0, mask[np.ix_(y, x)]).astype(np.int32)
    return result[:: -1 if flip[1] else 1, :: -1 if flip[0] else 1]
