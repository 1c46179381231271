"""What the fast kernels are told about a batch: two small tables, made for a whole batch at once (a few microseconds a sample).

WINDOW holds rescale, bias, VOI and inversion folded into y = clamp((x - x0) * gain + offset, 0, 1) of the coded value x.
Folding into gain * x + offset would lose digits in float32: at x = 65,000 and a width of 1 the offset is -65,000 and its rounding
0.004. Here x0 is the float32 nearest to the window's lower edge in coded units: x - x0 then has float32's full *relative* precision,
and `offset` carries what x0 lost (measured: 3e-7 at worst, coded values to 65,535, widths from 1).
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Voi(IntEnum):
    """What turns a modality value into [0, 1]; numbered like VOI LUT Function in the sources."""

    LINEAR = 1  # PS3.3 C.11.2.1.2.1
    LINEAR_EXACT = 2  # PS3.3 C.11.2.1.3.2
    SIGMOID = 3  # PS3.3 C.11.2.1.3.1
    TABLE = 4  # a table over coded values: a VOI LUT, or a modality LUT with its window


RAMP, SIGMOID, TABLE = 0, 1, 2  # WINDOW["kind"]

# One per sample and plane; fused.h has the same as a struct.
WINDOW = np.dtype(
    [
        ("x0", "<f4"),  # RAMP, SIGMOID: t = (x - x0) * gain + offset; TABLE: coded value of its first entry
        ("gain", "<f4"),
        ("offset", "<f4"),  # TABLE: y = entry * gain + offset (1 and 0, inverted -1 and 1)
        ("kind", "<i4"),
        ("start", "<i4"),  # of the table in the batch's pool of tables
        ("entries", "<i4"),
    ]
)

# One per sample: where its pixels lie in the full image and which of them are wanted; fused.h has the same as a struct.
SAMPLE = np.dtype(
    [
        ("top", "<f8"),  # crop box in pixels of the full image, which it may leave
        ("left", "<f8"),
        ("height", "<f8"),
        ("width", "<f8"),
        ("rows", "<i4"),  # size of the full image
        ("cols", "<i4"),
        ("level", "<i4"),
        ("flip", "<i4"),  # FLIP_HORIZONTAL | FLIP_VERTICAL
        ("padding_first", "<f4"),  # inclusive range of coded values; first > last: none
        ("padding_last", "<f4"),
        (
            "row_first",
            "<i4",
        ),  # outputs row_first..row_end - 1 and col_first..col_end - 1 lie in the image, before flips; the others are 0
        ("row_end", "<i4"),
        ("col_first", "<i4"),
        ("col_end", "<i4"),
        ("cosine", "<f8"),  # of the rotation
        ("sine", "<f8"),
        ("gamma", "<f4"),  # y ** gamma
        ("noise", "<f4"),  # standard deviation in units of y
        ("key_low", "<u4"),  # of the noise
        ("key_high", "<u4"),
        ("effects", "<i4"),  # TURNED | CURVED | NOISY: which of them do anything
        ("reserved", "<i4"),
    ]
)
EVERY = 2**31 - 1  # row_end, col_end: of an output of any size
FLIP_HORIZONTAL, FLIP_VERTICAL = 1, 2
TURNED, CURVED, NOISY = 1, 2, 4  # SAMPLE["effects"]

_HUGE = 1e30  # what gain and offset are clipped to: times a coded value it stays finite in float32
NO_TABLES = np.zeros(1, np.float32)  # the pool of a batch without tables


def _columns(value: ArrayLike, dtype: type) -> NDArray[Any]:
    """Per-sample values (N,) or a scalar, as (N, 1)."""
    return np.atleast_1d(np.asarray(value, dtype))[:, None]


def windows(
    function: ArrayLike,
    centre: ArrayLike,
    width: ArrayLike,
    *,
    slope: ArrayLike = 1.0,
    intercept: ArrayLike = 0.0,
    bias: ArrayLike = 0.0,
    invert: ArrayLike = False,
    integers: bool = True,
    table_first: ArrayLike = 0,
    table_start: ArrayLike = 0,
    table_entries: ArrayLike = 0,
) -> NDArray[np.void]:
    """Folds rescale, bias, window and inversion of a batch into WINDOW records.

    Args:
        function, centre, width: Voi codes, and modality units; (C,) for all samples alike or (N, C).
        slope, intercept, bias, invert: (N,) or one for all; modality value = (coded - bias) * slope + intercept.
        integers: the coded values are integers: a step (LINEAR of width 1) then falls exactly where float64 puts it.
        table_first, table_start, table_entries: (C,) or (N, C), read where function is TABLE: coded value of the first entry, place in the
            pool of tables, length. Slope, intercept and bias do not apply to a table, inversion does.

    Returns:
        (N, C) array of WINDOW.

    Raises:
        ValueError: an unknown function, a width out of range (LINEAR < 1, others <= 0), or numbers that are not finite.
    """
    voi = np.atleast_2d(np.asarray(function, np.int32))
    c, w = np.atleast_2d(np.asarray(centre, np.float64)), np.atleast_2d(np.asarray(width, np.float64))
    m, b, z = _columns(slope, np.float64), _columns(intercept, np.float64), _columns(bias, np.float64)
    inverted = _columns(invert, np.bool_)
    shape = np.broadcast_shapes(voi.shape, c.shape, w.shape, m.shape, b.shape, z.shape, inverted.shape)
    is_table, is_sigmoid, is_linear = voi == Voi.TABLE, voi == Voi.SIGMOID, voi == Voi.LINEAR
    if not np.all(is_linear | is_sigmoid | is_table | (voi == Voi.LINEAR_EXACT)):
        raise ValueError("a window's function is not LINEAR, LINEAR_EXACT, SIGMOID or TABLE")
    if not np.all(is_table | (np.where(is_linear, w >= 1, w > 0) & np.isfinite(c) & np.isfinite(w))):
        raise ValueError("a window's centre or width is not finite, or its width is below 1 (LINEAR) or not above 0")
    if not (np.isfinite(m).all() and np.isfinite(b).all() and np.isfinite(z).all()):
        raise ValueError("a rescale slope, an intercept or a bias is not finite")

    # t = (value - middle) / extent + half: 0 to 1 over a ramp, the exponent's argument of a sigmoid. As in reference.voi, to the last bit.
    middle, half = c - 0.5 * is_linear, 0.5 * ~is_sigmoid
    extent = np.where(is_sigmoid, w / 4, w - is_linear)
    edge = np.where(is_sigmoid, c, c - w / 2)  # where t is 0; c - 0.5 - (w - 1) / 2 of LINEAR is c - w / 2 too
    with np.errstate(all="ignore"):
        at = z + (edge - b) / m  # the edge in coded units; not finite where slope is 0
        gain = np.clip(m / extent, -_HUGE, _HUGE)
        flat = ~(np.abs(at) < _HUGE)
        value0 = b - z * m
        level = (value0 - middle) / extent + half  # t of coded value 0
        x0 = at.astype(np.float32)
        offset = (x0 - at) * gain
        step = (extent == 0) & ~is_table
        if integers:
            # Steep windows: t of the integer next to the edge, by the definition itself, so that no rounding of the edge is multiplied.
            near = np.rint(at)
            value = (near - z) * m + b
            steep = (np.abs(gain) >= 1) & (np.abs(near) < 2**23)
            x0 = np.where(steep, near, x0)
            offset = np.where(steep, (value - middle) / extent + half, offset)
            x0 = np.where(step, np.where((value > edge) == (m > 0), near - 0.5, near + 0.5), x0)
            offset = np.where(step, 0, offset)
        if step.any():
            gain = np.where(step, np.sign(m) * _HUGE, gain)
            level = np.where(step, value0 > edge, level)
            offset = np.where(step & (not integers), (x0 - at) * gain, offset)
        x0, gain, offset = np.where(flat, 0, x0), np.where(flat, 0, gain), np.where(flat, level, offset)
        offset = np.clip(offset, -_HUGE, _HUGE)

    result = np.zeros(shape, WINDOW)
    sign = np.where(inverted, -1.0, 1.0)
    result["x0"] = np.where(is_table, np.atleast_2d(table_first), x0)
    result["gain"] = np.where(is_table, sign, gain * sign)
    result["offset"] = np.where(is_table, inverted, offset * sign + (inverted & ~is_sigmoid))
    result["kind"] = np.where(is_table, TABLE, np.where(is_sigmoid, SIGMOID, RAMP))
    if is_table.any():
        result["start"], result["entries"] = np.atleast_2d(table_start), np.atleast_2d(table_entries)
        if np.any(is_table & ((result["start"] < 0) | (result["entries"] < 1))):
            raise ValueError("a window of function TABLE has no entries, or starts before the pool of tables")
    return result


def samples(
    rows: ArrayLike,
    cols: ArrayLike,
    *,
    level: ArrayLike = 0,
    crop: ArrayLike | None = None,
    flip: ArrayLike = 0,
    padding: ArrayLike | None = None,
    size: tuple[int, int] | None = None,
    angle: ArrayLike = 0.0,
    gamma: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    key: ArrayLike = (0, 0),
) -> NDArray[np.void]:
    """SAMPLE records of a batch.

    Args:
        rows, cols: (N,) or scalars: sizes of the full images in pixels.
        level: (N,) or one: 2**level is the distance of the coded samples in pixels of the full image.
        crop: (N, 4) or (4,) of (top, left, height, width) in pixels of the full image, floats allowed; all of it where None.
        flip: (N,) or one of FLIP_HORIZONTAL | FLIP_VERTICAL, applied to the output.
        padding: (N, 2) or (2,) inclusive range of coded values; first > last means none, as does None.
        size: (height, width) of the output, which crops that leave their image need.
        angle: (N,) or one: counter-clockwise rotation of what is shown, in degrees. gamma, noise: (N,) or one: y ** gamma, and the
            standard deviation of noise in y. key: (N, 2) or (2,) uint32: of the noise, see philox.normals.

    Returns:
        (N,) array of SAMPLE.

    Raises:
        ValueError: a size below 1, a level outside 0 to 30, a crop that shows nothing of its image, or one that leaves it without
            `size`; an angle, gamma or noise that is not finite, a gamma not above 0, or negative noise.
    """
    r, c, k, f = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, np.int32)) for v in (rows, cols, level, flip)))
    box = None if crop is None else np.atleast_2d(np.asarray(crop, np.float64))
    ends = None if padding is None else np.atleast_2d(np.asarray(padding, np.float32))
    count = max(len(r), 1 if box is None else len(box), 1 if ends is None else len(ends))
    count = max(
        count, *(len(np.asarray(v)) for v, one in ((angle, 0), (gamma, 0), (noise, 0), (key, 1)) if np.ndim(v) > one), 0
    )
    result = np.zeros(count, SAMPLE)
    result["rows"], result["cols"], result["level"], result["flip"] = r, c, k, f
    if np.any((result["rows"] < 1) | (result["cols"] < 1) | (result["level"] < 0) | (result["level"] > 30)):
        raise ValueError("an image has no pixels, or a level is outside 0 to 30")
    if box is None:
        result["height"], result["width"] = r, c
    else:
        result["top"], result["left"], result["height"], result["width"] = box.T
    result["row_end"], result["col_end"] = EVERY, EVERY
    for axis, (full, start, extent) in enumerate((("rows", "top", "height"), ("cols", "left", "width"))):
        first, length = result[start], result[extent]
        if not np.all((length > 0) & (length < np.inf) & (first < result[full]) & (first + length > 0)):
            raise ValueError("a crop is empty, not finite, or shows nothing of its image")
        out = np.flatnonzero((first < 0) | (first + length > result[full]))
        if len(out):
            if size is None:
                raise ValueError("a crop leaves its image: the size of the output is needed")
            edges = _shown(result[full][out], first[out], length[out], size[axis])
            for name, value in zip((("row_first", "row_end"), ("col_first", "col_end"))[axis], edges, strict=True):
                result[name][out] = value
    result["padding_first"], result["padding_last"] = (np.inf, -np.inf) if ends is None else ends.T
    _add_effects(result, angle, gamma, noise, key)
    return result


def _add_effects(
    samples: NDArray[np.void], angle: ArrayLike, gamma: ArrayLike, noise: ArrayLike, key: ArrayLike
) -> None:
    """Writes rotation, gamma and noise into SAMPLE records; arguments as of `samples`."""
    degrees = np.broadcast_to(np.asarray(angle, np.float64), samples.shape)
    samples["gamma"], samples["noise"] = gamma, noise
    samples["key_low"], samples["key_high"] = np.broadcast_to(np.asarray(key, np.uint32), (len(samples), 2)).T
    power, spread = samples["gamma"], samples["noise"]
    if not (np.isfinite(degrees).all() and np.all((power > 0) & (power < np.inf) & (spread >= 0) & (spread < np.inf))):
        raise ValueError("an angle is not finite, a gamma not above 0, or noise not above or at 0")
    samples["cosine"] = 1.0
    turned = np.flatnonzero(degrees)
    for i in turned:
        samples["cosine"][i], samples["sine"][i] = rotation(float(degrees[i]))
    for name, value in (("row_first", 0), ("row_end", EVERY), ("col_first", 0), ("col_end", EVERY)):
        samples[name][turned] = value  # what is shown of a rotated crop is no rectangle
    samples["effects"] = TURNED * (degrees != 0) + CURVED * (power != 1) + NOISY * (spread > 0)


def rotation(angle: float) -> tuple[float, float]:
    """Cosine and sine of degrees, for reference and kernels alike: pixels on an image's border depend on the last bit."""
    return math.cos(math.radians(angle)), math.sin(math.radians(angle))


def _shown(
    full: NDArray[np.int32], start: NDArray[np.float64], extent: NDArray[np.float64], n_out: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First output of an axis whose centre lies in the image, and the first after those; (N,) each. As reference.shown, to the last bit."""
    scale = extent / n_out
    edges = []
    for edge in (np.zeros(len(full)), full.astype(np.float64)):
        o = np.clip(np.ceil((edge - start) / scale - 0.5), 0, n_out).astype(np.int64)  # right up to rounding
        o -= (o > 0) & (start + (o - 1 + 0.5) * scale >= edge)
        o += (o < n_out) & (start + (o + 0.5) * scale < edge)
        edges.append(o)
    first, end = edges
    middle = (np.maximum(start, 0.0) + np.minimum(start + extent, full.astype(np.float64))) / 2
    only = np.clip(np.floor((middle - start) / scale), 0, n_out - 1).astype(np.int64)
    none = first >= end
    return np.where(none, only, first), np.where(none, only + 1, end)


def normalisation(mean: ArrayLike, std: ArrayLike) -> NDArray[np.float32]:
    """(C, 2) factors of y * scale + shift = (y - mean) / std.

    Raises:
        ValueError: a deviation that is not above 0, or numbers that are not finite.
    """
    m, s = np.broadcast_arrays(np.atleast_1d(np.asarray(mean, np.float64)), np.atleast_1d(np.asarray(std, np.float64)))
    if not (np.isfinite(m).all() and np.isfinite(s).all() and (s > 0).all()):
        raise ValueError("normalisation needs finite means and deviations above 0")
    return np.stack([1 / s, -m / s], axis=1).astype(np.float32)


def luma(rgb: NDArray[np.generic], pivot: float = 0.0) -> NDArray[np.float32]:
    """Grey values (h, w) float32 of a colour image (h, w, 3), ITU-R BT.601, less `pivot`, in the units of `rgb`; see reference.luma.

    Summed in float64 and counted from `pivot`: luma is no integer, and at coded values about 32,768 float32 keeps 1/256 of a
    level, which is 1e-5 in y of a window of 255 levels.
    """
    grey = rgb.astype(np.float64) @ np.array((0.299, 0.587, 0.114))
    grey -= pivot
    return np.asarray(grey, np.float32)
