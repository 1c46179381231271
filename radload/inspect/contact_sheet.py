"""The contact sheet: one row per class, each sample in the windows of the default recipe, rendered by the loader's own kernel.

What is on the sheet is what a model sees, apart from its size: the aspect is kept (in millimetres where the spacing is known).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radload.dataset import Dataset
from radload.dataset.files import atomic_file
from radload.inspect.pick import Group, groups, picks
from radload.kernels import cpu, prepare
from radload.loading.decode import SAMPLE_ERRORS, decode_level, level_bytes
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import FIXED, PRESETS, Recipe, Window, default_recipe
from radload.sources.slice import Units

COLUMNS, CELL, GAP, MARGIN = 12, 112, 4, 18  # pixels
TITLE, CAPTION, HEADER = 30, 15, 52
BACKGROUND, EMPTY, WHITE, GREY, ACCENT = (14, 17, 22), (22, 26, 33), (236, 240, 245), (146, 156, 170), (122, 190, 255)
MAX_ROWS = 40
GREYS = 56  # in the palette: a smaller file, and no eye sees the difference


@dataclass(frozen=True)
class Cell:
    """One picture: (rows, cols) uint8, or None where the sample could not be read; and its caption."""

    picture: NDArray[np.uint8] | None
    caption: str


def write_contact_sheet(dataset: Dataset, path: Path, columns: int = COLUMNS, cell: int = CELL) -> list[str]:
    """Write the sheet of `dataset` (its label set in use) as a PNG. Returns sentences that the user should read.

    Args:
        columns: pictures per row; cell: side of a picture, pixels.
    """
    renderer = Renderer(dataset, cell)
    found = groups(dataset)
    shown = found[:MAX_ROWS]
    notes = [f"the contact sheet shows the first {MAX_ROWS} of {len(found)} rows"] if len(found) > MAX_ROWS else []
    height = HEADER + len(shown) * (TITLE + cell + CAPTION) + MARGIN
    width = 2 * MARGIN + columns * (cell + GAP) - GAP
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _header(draw, dataset)
    unreadable = 0
    for number, group in enumerate(shown):
        top = HEADER + number * (TITLE + cell + CAPTION)
        cells, used = _cells(renderer, dataset, group, columns)
        unreadable += sum(entry.picture is None for entry in cells)
        _title(draw, (MARGIN, top), group, used, width, _patients(dataset, group))
        for column, entry in enumerate(cells):
            _cell(sheet, draw, (MARGIN + column * (cell + GAP), top + TITLE), cell, entry)
    if unreadable:
        notes.append(f"{unreadable} pictures are missing: their samples could not be read")
    with atomic_file(path) as file:
        sheet.quantize(palette=_palette(), dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return notes


class Renderer:
    """Renders samples of one data set in the default recipe, at any size."""

    def __init__(self, dataset: Dataset, cell: int) -> None:
        self._dataset, self._cell = dataset, cell
        self.recipe = default_recipe(3, mean=(0.0,), std=(1.0,))  # y itself, 0 to 1
        self._norm = prepare.normalisation(self.recipe.mean, self.recipe.std)
        self._planner: Callable[[tuple[int, int]], Planner] = cache(self._make_planner)

    def _make_planner(self, size: tuple[int, int]) -> Planner:
        return Planner(self._dataset.index, Settings(size, self.recipe, "float32", 1.0, "full", None, 0))

    def row_of(self, row: int) -> str:
        """The row of the recipe's table that holds for a sample."""
        index = self._dataset.index
        series = index.series[int(index.records[row]["series"])]
        units = int(series["units"])
        return self.recipe.row(index.modalities[int(series["modality"])], units == Units.HU, units == Units.DISPLAY)

    def windows(self, row: int) -> list[tuple[int, Window]]:
        """The different windows of a sample, with the channel that shows each."""
        entries = self.recipe.windows[self.row_of(row)]
        return [(channel, window) for channel, window in enumerate(entries) if window not in entries[:channel]]

    def render(self, row: int) -> NDArray[np.float32]:
        """(channels, height, width), 0 to 1, the sample fitted into the cell with its aspect kept. Raises one of SAMPLE_ERRORS."""
        record = self._dataset.index.records[row]
        planner = self._planner(fit(record, self._cell))
        plan = planner.plan(np.array([row], np.int64), 0, np.zeros(1, np.int64))
        level = int(plan.levels[0])
        data = level_bytes(self._dataset.shards, plan.records[0], level)
        coded = decode_level(data, plan.records[0], level, float(plan.pivot[0]))
        out = np.empty((self.recipe.channels, *planner.settings.size), np.float32)
        cpu.render_into(coded, plan.samples[:1], plan.windows[:1], self._norm, out, tables=plan.tables)
        return out


def fit(record: np.void, cell: int) -> tuple[int, int]:
    """(height, width) in pixels of an image inside a square cell, in proportion to its millimetres, or its pixels."""
    height, width = float(record["rows"]), float(record["cols"])
    steps = float(record["spacing_row"]), float(record["spacing_col"])
    if all(np.isfinite(step) and step > 0 for step in steps) and 0.05 < steps[0] / steps[1] < 20:
        height, width = height * steps[0], width * steps[1]
    scale = cell / max(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def name_of(window: Window) -> str:
    """A window's short name for a caption: that of the preset where it is one."""
    if window.rule != FIXED:
        return {"percentiles": "p0.5-p99.5", "from_zero": "0-p99.5", "display": "as stored"}[window.rule]
    for name, pair in PRESETS.items():
        if pair == (window.centre, window.width):
            return name.replace("_", " ")
    return f"{window.centre:g}/{window.width:g}"


def describe(recipe: Recipe, table_row: str) -> str:
    """The windows of a row of the recipe's table, in words."""
    unit = " HU" if table_row == "CT" else ""
    words = []
    for window in dict.fromkeys(recipe.windows[table_row]):
        if window.rule == FIXED:
            words.append(f"{name_of(window)} {window.centre:g}/{window.width:g}{unit}")
        else:
            words.append(window.describe())
    return ", ".join(words)


def _cells(renderer: Renderer, dataset: Dataset, group: Group, columns: int) -> tuple[list[Cell], list[str]]:
    """Pictures of a row, a sample's windows side by side, and the windows used, in words."""
    cells: list[Cell] = []
    used: dict[str, None] = {}
    for row in islice(picks(dataset, group.rows), columns):
        windows = renderer.windows(row)
        if len(cells) + len(windows) > columns:
            break
        used[describe(renderer.recipe, renderer.row_of(row))] = None
        try:
            planes = renderer.render(row)
        except SAMPLE_ERRORS:
            cells += [Cell(None, "unreadable")] * len(windows)
            continue
        for channel, window in windows:
            picture = np.rint(np.clip(planes[channel], 0, 1) * 255).astype(np.uint8)
            record = dataset.index.records[row]
            size = f"{record['rows']} x {record['cols']}"
            cells.append(Cell(picture, name_of(window) if len(windows) > 1 else size))
    return cells, list(used)


def _patients(dataset: Dataset, group: Group) -> int:
    return len(np.unique(dataset.index.series["patient"][dataset.index.records["series"][group.rows]]))


@cache
def _palette() -> Image.Image:
    """Greys for the pictures, and the colours of text with their soft edges: fixed, so that no sheet changes another's look."""
    colours = [(level, level, level) for level in np.linspace(0, 255, GREYS).round().astype(int).tolist()]
    for text in (WHITE, GREY, ACCENT):
        for share in (0.2, 0.4, 0.6, 0.8, 1.0):
            mixed = [round(b + (t - b) * share) for b, t in zip(BACKGROUND, text, strict=True)]
            colours.append((mixed[0], mixed[1], mixed[2]))
    colours += [BACKGROUND, EMPTY]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in colours for value in colour])
    return palette


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with Matplotlib: the same picture on every machine."""
    file = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file), size)


def _header(draw: ImageDraw.ImageDraw, dataset: Dataset) -> None:
    manifest = dataset.manifest
    labels = f"label set {dataset.labels.name}" if dataset.labels is not None else "no labels: one row per modality"
    draw.text((MARGIN, 12), "radload", WHITE, _font(17, bold=True))
    text = f"{manifest.samples:,} samples, {manifest.series:,} series, {manifest.patients:,} patients · {labels}"
    draw.text((MARGIN + 92, 16), text, GREY, _font(12))


def _title(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], group: Group, used: list[str], width: int, patients: int
) -> None:
    x, y = place[0], place[1] + 7
    name = _shortened(draw, group.name, _font(14, bold=True), width // 3)
    draw.text((x, y), name, WHITE, _font(14, bold=True))
    x += int(draw.textlength(name, _font(14, bold=True))) + 14
    counts = f"{len(group.rows):,} sample{'s' * (len(group.rows) != 1)} of {patients:,} patient{'s' * (patients != 1)}"
    draw.text((x, y + 2), counts, GREY, _font(11))
    x += int(draw.textlength(counts, _font(11))) + 14
    windows = _shortened(draw, "window: " + " · ".join(used), _font(11), width - x - MARGIN)
    draw.text((x, y + 2), windows, ACCENT, _font(11))


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "…", font) > room:
        text = text[:-1]
    return text + "…"


def _cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], cell: int, entry: Cell) -> None:
    x, y = place
    draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=(0, 0, 0) if entry.picture is not None else EMPTY)
    if entry.picture is not None:
        height, width = entry.picture.shape
        sheet.paste(Image.fromarray(entry.picture), (x + (cell - width) // 2, y + (cell - height) // 2))
    draw.text((x + 1, y + cell + 1), entry.caption, GREY, _font(9))
