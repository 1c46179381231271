"""A slice as the array that a shard holds: grey, or RGB with one colour model for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radload.sources.slice import Refused, Slice

ColourMode: TypeAlias = Literal["auto", "gray", "keep"]

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, the Y of YBR_FULL (PS3.3 C.7.6.3.1.2)


@dataclass(frozen=True, slots=True)
class Picture:
    """What is encoded.

    Attributes:
        values: (rows, cols) or (rows, cols, 3) RGB; photometric: of `values`.
        exact: no value differs from the stored ones (leaving out two equal channels changes none).
        padding: Pixel Padding Value range, None where it no longer applies.
    """

    values: NDArray[np.generic]
    photometric: str
    exact: bool
    padding: tuple[int, int] | None


def to_picture(image: Slice, mode: ColourMode) -> Picture:
    """Grey slices stay as they are. Palettes are applied (PS3.3 C.7.6.3.1.5) and YBR becomes RGB (C.7.6.3.1.2): not exact.

    Args:
        mode: "auto": colour whose channels are equal everywhere becomes grey; "keep": colour keeps three channels;
            "gray": all colour becomes luma.

    Raises:
        Refused: a colour model that the sources should not have let through, or a palette that is absent.
    """
    if image.photometric.startswith("MONOCHROME"):
        if image.stored.ndim != 2:
            raise Refused("unsupported-colour", f"{image.stored.ndim} dimensions of a grey image")
        return Picture(image.stored, image.photometric, image.exact, image.padding)
    if image.photometric == "PALETTE COLOR":
        colour, exact = _apply_palette(image), False
    elif image.photometric in ("YBR_FULL", "YBR_PARTIAL"):
        colour, exact = _ybr_to_rgb(image.stored, image.bits_stored, image.photometric == "YBR_PARTIAL"), False
    elif image.photometric == "RGB":
        colour, exact = image.stored, image.exact
    else:
        raise Refused("unsupported-colour", "a colour model that is neither grey, palette, RGB nor YBR")
    if colour.ndim != 3 or colour.shape[2] != 3:
        raise Refused("unsupported-colour", f"an array of {colour.ndim} dimensions where (rows, cols, 3) was expected")
    if mode != "keep" and bool((colour[..., 0] == colour[..., 1]).all() and (colour[..., 0] == colour[..., 2]).all()):
        return Picture(np.ascontiguousarray(colour[..., 0]), "MONOCHROME2", exact, None)
    if mode == "gray":
        return Picture(_luma(colour), "MONOCHROME2", False, None)
    return Picture(colour, "RGB", exact, None)


def _apply_palette(image: Slice) -> NDArray[np.generic]:
    """(rows, cols, 3) uint8 or uint16; indices below the first entry map to it, beyond the end to the last (C.7.6.3.1.5)."""
    if image.palette is None or not len(image.palette) or image.stored.dtype.kind not in "iu":
        raise Refused("unsupported-colour", "palette colour without a palette")
    index = np.clip(image.stored.astype(np.int64) - image.palette_first, 0, len(image.palette) - 1)
    palette = image.palette.astype(np.uint8 if image.palette_bits <= 8 else np.uint16)
    return palette[index]


def _ybr_to_rgb(stored: NDArray[np.generic], bits: int, partial: bool) -> NDArray[np.generic]:
    """Inverse of PS3.3 C.7.6.3.1.2 with chroma centred at half the range; rounded and clipped.

    `partial`: of 8 bits, luma fills 16 to 235 and chroma 16 to 240 (ITU-R BT.601), of more bits in proportion.
    """
    if stored.dtype.kind != "u" or stored.ndim != 3:
        raise Refused("unsupported-colour", "YBR that is not three unsigned channels")
    y, cb, cr = np.moveaxis(stored.astype(np.float64), 2, 0)
    half = float(1 << (bits - 1))
    cb, cr = cb - half, cr - half
    if partial:
        top, unit = 2 * half - 1, half / 128
        y, cb, cr = (y - 16 * unit) * top / (219 * unit), cb * top / (224 * unit), cr * top / (224 * unit)
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2)
    return _rounded(rgb, stored.dtype, 2 * half - 1)


def _luma(colour: NDArray[Any]) -> NDArray[np.generic]:
    values: NDArray[np.float64] = colour.astype(np.float64) @ _LUMA
    if colour.dtype.kind == "f":
        floats: NDArray[np.generic] = values.astype(colour.dtype)
        return floats
    return _rounded(values, colour.dtype, float(np.iinfo(colour.dtype).max))


def _rounded(values: NDArray[np.float64], dtype: np.dtype[Any], top: float) -> NDArray[np.generic]:
    bottom = float(np.iinfo(dtype).min)
    rounded: NDArray[np.generic] = np.clip(np.rint(values), bottom, top).astype(dtype)
    return rounded
