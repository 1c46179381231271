"""Pictures of the review: a projection with rulers in pixels, from which rectangles are read off, and a row of examples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radload.pack.redact import Rectangle

BACKGROUND, WHITE, GREY, ACCENT = (14, 17, 22), (236, 240, 245), (146, 156, 170), (255, 176, 64)
LEFT, TOP, EDGE = 46, 24, 12  # pixels of the rulers, and of the margin on the other sides
_SMALLEST, _LARGEST = 384, 1600  # pixels of the longer side as shown
_GAP: Final = 6
_COLUMNS: Final = ("maximum over all frames", "minimum", "mean", "single frames")
THUMB: Final = 220  # side of an example's square

ContactRow: TypeAlias = tuple[str, str, Sequence[Image.Image]]  # name of a group, facts, thumbnails


def with_rulers(grey: NDArray[np.uint8], region: Rectangle | None = None) -> Image.Image:
    """A (rows, cols) uint8 picture with rulers in its own pixels; small ones are shown larger. `region` is framed."""
    rows, cols = grey.shape
    scale = _scale(max(rows, cols))
    width, height = max(round(cols * scale), 1), max(round(rows * scale), 1)
    way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    sheet = Image.new("RGB", (LEFT + width + EDGE, TOP + height + EDGE), BACKGROUND)
    sheet.paste(Image.fromarray(grey).resize((width, height), way), (LEFT, TOP))
    draw = ImageDraw.Draw(sheet)
    step = _step(max(rows, cols))
    for at in range(0, cols + 1, step):
        x = LEFT + round(at * scale)
        draw.line((x, TOP - 5, x, TOP - 1), GREY)
        draw.text((x, TOP - 7), str(at), GREY, font(10), anchor="ms")
    for at in range(0, rows + 1, step):
        y = TOP + round(at * scale)
        draw.line((LEFT - 5, y, LEFT - 1, y), GREY)
        draw.text((LEFT - 8, y), str(at), GREY, font(10), anchor="rm")
    if region is not None:
        top, left, tall, wide = region
        corners = (
            LEFT + round(left * scale) - 1,
            TOP + round(top * scale) - 1,
            LEFT + round((left + wide) * scale),
            TOP + round((top + tall) * scale),
        )
        draw.rectangle(corners, outline=ACCENT)
    return sheet


def thumbnail(grey: NDArray[np.uint8]) -> Image.Image:
    """A (rows, cols) uint8 picture fitted into a square of THUMB pixels."""
    scale = THUMB / max(grey.shape)
    width, height = max(round(grey.shape[1] * scale), 1), max(round(grey.shape[0] * scale), 1)
    way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    square = Image.new("RGB", (THUMB, THUMB), (0, 0, 0))
    small = Image.fromarray(grey).resize((width, height), way)
    square.paste(small, ((THUMB - width) // 2, (THUMB - height) // 2))
    return square


def row_of(thumbnails: Sequence[Image.Image]) -> Image.Image:
    """Thumbnails side by side."""
    sheet = Image.new("RGB", (max(len(thumbnails), 1) * (THUMB + _GAP) - _GAP, THUMB), BACKGROUND)
    for number, one in enumerate(thumbnails):
        sheet.paste(one, (number * (THUMB + _GAP), 0))
    return sheet


def contact_sheet(rows: Sequence[ContactRow]) -> Image.Image:
    """A row per group, its thumbnails in the order of _COLUMNS."""
    columns = max((len(pictures) for _, _, pictures in rows), default=1)
    tall, head = 30 + THUMB + 14, EDGE + 22
    sheet = Image.new("RGB", (2 * EDGE + columns * (THUMB + _GAP) - _GAP, head + len(rows) * tall), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, title in enumerate(_COLUMNS[:columns]):
        draw.text((EDGE + number * (THUMB + _GAP), EDGE), title, ACCENT, font(12))
    for number, (name, facts, pictures) in enumerate(rows):
        y = head + number * tall
        draw.text((EDGE, y), name, WHITE, font(14, bold=True))
        x = EDGE + int(draw.textlength(name, font(14, bold=True))) + 14
        draw.text((x, y + 2), shortened(draw, facts, sheet.width - x - EDGE), GREY, font(12))
        sheet.paste(row_of(pictures), (EDGE, y + 26))
    return sheet


def shortened(draw: ImageDraw.ImageDraw, text: str, room: int) -> str:
    """`text`, cut to `room` pixels."""
    if draw.textlength(text, font(12)) <= room:
        return text
    while text and draw.textlength(text + "…", font(12)) > room:
        text = text[:-1]
    return text + "…"


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib: the same picture on every machine."""
    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file), size)


def _scale(side: int) -> float:
    if side > _LARGEST:
        return _LARGEST / side
    return float(max(1, _SMALLEST // side)) if side else 1.0


def _step(side: int) -> int:
    """Pixels between two marks of a ruler: at most 16 marks."""
    return next((step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if side / step <= 16), 5000)
