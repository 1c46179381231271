"""How an image is laid into the output: what keeps its proportions, and what keeps its millimetres.

A frame is the box of an image, in pixels of the full image, that the whole output shows; where it is larger than the image,
what lies outside shows the window's floor. Proportions are physical where the pixel spacing, or at least its ratio, is
known, and those of square pixels elsewhere.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import Flag, key_text
from radload.errors import UsageError

STRETCH, PAD, CROP = "stretch", "pad", "crop"
FITS = (STRETCH, PAD, CROP)
Spacing = tuple[float, float]

_log = logging.getLogger("radload")

MIN_SPACING, MAX_SPACING = 0.001, 1000  # millimetres per output pixel that may be asked for
MAX_RATIO = 20.0  # of the pixel's sides; beyond it the spacing is an error of the file and counts as unknown
MM_RANGE = (1e-4, 1e3)  # a pixel of 0.1 micrometres to one of a metre; others are no millimetres


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of a batch.

    Attributes:
        extents: (n, 2) float64: height and width in pixels of the full image; may exceed the image.
        framed: (n,) bool: the frame holds; False: the whole image is stretched over the output, whatever its proportions.
        fixed: (n,) bool: the frame is a number of millimetres, which no augmentation changes.
    """

    extents: NDArray[np.float64]
    framed: NDArray[np.bool_]
    fixed: NDArray[np.bool_]


def check_fit(fit: str | None, spacing: object) -> tuple[str, Spacing | None]:
    """`fit` by name ("pad" where None and a spacing is given, else "stretch") and the spacing as (row, col). Raises UsageError."""
    if fit is not None and fit not in FITS:
        raise UsageError(f"fit={fit!r} is unknown: choose one of {', '.join(map(repr, FITS))}")
    if spacing is None:
        return fit or STRETCH, None
    try:
        pair = (spacing, spacing) if isinstance(spacing, int | float) else tuple(spacing)  # type: ignore[arg-type]
        row, col = (float(v) for v in pair)
    except (TypeError, ValueError):
        row = col = float("nan")
    if not all(MIN_SPACING <= v <= MAX_SPACING for v in (row, col)):
        raise UsageError(
            f"spacing={spacing!r} cannot be used: give millimetres per output pixel, {MIN_SPACING} to {MAX_SPACING}, or (row, col)"
        )
    return fit or PAD, (row, col)


def _proportional(records: NDArray[np.void]) -> NDArray[np.bool_]:
    """(n,) whether spacing_row and spacing_col say how long a pixel is beside its width."""
    with np.errstate(divide="ignore", invalid="ignore"):
        row, col = (records[name].astype(np.float64) for name in ("spacing_row", "spacing_col"))
        ratio = row / col
    return np.asarray((row > 0) & (col > 0) & (ratio <= MAX_RATIO) & (ratio >= 1 / MAX_RATIO))


def has_millimetres(records: NDArray[np.void]) -> NDArray[np.bool_]:
    """(n,) whether the spacing of RECORDs is in millimetres, not unknown and not only a ratio."""
    known = _proportional(records) & ((records["flags"] & Flag.RATIO) == 0)
    for name in ("spacing_row", "spacing_col"):
        known &= (records[name] >= MM_RANGE[0]) & (records[name] <= MM_RANGE[1])
    return np.asarray(known)


def count_unscaled(records: NDArray[np.void], fit: str, say: bool) -> int:
    """How many of RECORDs (n,) no spacing in millimetres can hold for; the first of them is named in the log where `say`."""
    unknown = records["key"][~has_millimetres(records)]
    if len(unknown) and say:
        _log.warning(
            "sample %s has no pixel spacing in millimetres: it and all like it follow fit=%r instead of spacing "
            "(Loader.unscaled counts them)",
            key_text(int(unknown[0])),
            fit,
        )
    return len(unknown)


def frames(records: NDArray[np.void], size: tuple[int, int], fit: str, spacing: Spacing | None) -> Frames:
    """Frames of RECORDs (n,) for an output of `size` (height, width) in pixels.

    "pad" shows the whole image and "crop" fills the whole output, both centred and with the image's proportions. With a
    `spacing` in millimetres per output pixel, samples whose millimetres are known show exactly size * spacing; `fit` holds for
    the others.
    """
    rows, cols = records["rows"].astype(np.float64), records["cols"].astype(np.float64)
    height, width = float(size[0]), float(size[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        row, col = records["spacing_row"].astype(np.float64), records["spacing_col"].astype(np.float64)
        ratio = np.where(_proportional(records), row / col, 1.0)  # of a pixel's length to its width
        fixed = has_millimetres(records) if spacing is not None else np.zeros(len(records), np.bool_)
        # One side of the frame is exactly the image's: the longer one (pad), or the shorter one (crop).
        tall = rows * ratio * width >= cols * height
        by_rows = tall if fit == PAD else ~tall
        extents = np.stack(
            [
                np.where(by_rows, rows, cols * height / (width * ratio)),
                np.where(by_rows, rows * ratio * width / height, cols),
            ],
            axis=1,
        )
        if spacing is not None:
            millimetres = np.stack([height * spacing[0] / row, width * spacing[1] / col], axis=1)
            extents = np.where(fixed[:, None], millimetres, extents)
    return Frames(extents, fixed | (fit != STRETCH), fixed)
