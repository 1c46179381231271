"""What DICOM says about a pixel, one pixel at a time and from the standard's text alone: slow, obvious, and without a line of radload."""

from __future__ import annotations

import math
from collections.abc import Sequence

Pixel = tuple[int, ...]  # one value per sample
Table = tuple[int, int, Sequence[int]]  # (first value mapped, bits of an entry, entries)


def native_frame(
    data: bytes,
    frame: int,
    rows: int,
    cols: int,
    *,
    samples: int,
    planar: int,
    allocated: int,
    stored: int,
    high: int,
    signed: bool,
    big: bool,
    swapped: bool,
    chroma_422: bool,
) -> list[Pixel]:
    """The pixels of one frame, row by row (PS3.5 section 8, PS3.3 C.7.6.3.1.2 and C.7.6.3.1.3).

    Args:
        data: value of Pixel Data; swapped: 8-bit cells lie in big-endian 16-bit words (OW).
    """

    def cell(index: int) -> int:
        if allocated == 1:
            return data[index // 8] >> (index % 8) & 1
        size = allocated // 8
        start = index * size
        if swapped:
            start ^= 1
        return int.from_bytes(data[start : start + size], "big" if big else "little")

    def value(index: int) -> int:
        bits = cell(index) >> (high + 1 - stored) & ((1 << stored) - 1)
        return bits - (1 << stored) if signed and bits >> (stored - 1) else bits

    pixels: list[Pixel] = []
    count = rows * cols
    for pixel in range(count):
        if chroma_422:  # Y1 Y2 Cb Cr
            first = frame * count * 2 + pixel // 2 * 4
            pixels.append((value(first + pixel % 2), value(first + 2), value(first + 3)))
        elif planar:
            pixels.append(tuple(value((frame * samples + sample) * count + pixel) for sample in range(samples)))
        else:
            pixels.append(tuple(value((frame * count + pixel) * samples + sample) for sample in range(samples)))
    return pixels


def look_up(value: float, table: Table) -> int:
    """PS3.3 C.11.1.1.1, C.11.2.1.1, C.7.6.3.1.5: below the first value the first entry, beyond the end the last."""
    first, _, entries = table
    return entries[min(max(int(value) - first, 0), len(entries) - 1)]


def modality(value: int, slope: str | None, intercept: str | None, table: Table | None = None) -> float:
    """PS3.3 C.11.1: a table, or output = m * SV + b; what is absent is 1 or 0."""
    if table is not None:
        return float(look_up(value, table))
    return float(slope if slope is not None else 1) * value + float(intercept if intercept is not None else 0)


def usable_windows(function: str | None, windows: Sequence[tuple[str, str]]) -> list[tuple[float, float]]:
    """PS3.3 C.11.2.1.2.1: width >= 1 for LINEAR; C.11.2.1.3: width > 0 for the others."""
    numbers = [(float(centre), float(width)) for centre, width in windows]
    return [one for one in numbers if (one[1] >= 1 if function in (None, "LINEAR") else one[1] > 0)]


def window(x: float, function: str | None, centre: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2 with the output range 0 to 1."""
    if function == "SIGMOID":
        exponent = -4 * (x - centre) / width
        return 0.0 if exponent > 700 else 1 / (1 + math.exp(exponent))
    if function == "LINEAR_EXACT":
        if x <= centre - width / 2:
            return 0.0
        return 1.0 if x > centre + width / 2 else (x - centre) / width + 0.5
    if x <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    if x > centre - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (centre - 0.5)) / (width - 1) + 0.5


def voi_table(x: float, table: Table) -> float:
    """PS3.3 C.11.2.1.1: entries span 0 to 2**bits - 1."""
    return look_up(x, table) / (2 ** table[1] - 1)


def low_is_white(photometric: str, presentation: str | None) -> bool:
    """PS3.3 C.7.6.3.1.2 and C.11.6.1.2: MONOCHROME1 and INVERSE say the same."""
    return photometric == "MONOCHROME1" or presentation == "INVERSE"


def rgb_of_ybr(pixel: Pixel, bits: int) -> tuple[float, float, float]:
    """The inverse of PS3.3 C.7.6.3.1.2's YBR_FULL, by Cramer's rule on its printed coefficients; limited to the range."""
    half, top = 2 ** (bits - 1), 2**bits - 1
    y, b, r = float(pixel[0]), float(pixel[1] - half), float(pixel[2] - half)
    m = ((0.2990, 0.5870, 0.1140), (-0.1687, -0.3313, 0.5000), (0.5000, -0.4187, -0.0813))

    def determinant(a: Sequence[Sequence[float]]) -> float:
        return (
            a[0][0] * (a[1][1] * a[2][2] - a[1][2] * a[2][1])
            - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
            + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0])
        )

    def replaced(column: int) -> list[list[float]]:
        return [
            [new if i == column else old for i, old in enumerate(row)] for row, new in zip(m, (y, b, r), strict=True)
        ]

    red, green, blue = (min(max(determinant(replaced(i)) / determinant(m), 0.0), float(top)) for i in range(3))
    return red, green, blue
