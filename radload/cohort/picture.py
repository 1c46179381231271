"""The flow diagram: what was kept goes down, what was left out goes to the right (STARD 2015, CONSORT 2010)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from radload.cohort.cohort import Cohort
from radload.cohort.counts import Count
from radload.cohort.flow import Flow
from radload.dataset.files import atomic_file
from radload.dataset.schema import SPLITS

# inches, from the upper left corner
WIDTH, MARGIN, GAP = 9.6, 0.3, 0.42
LINE, PADDING = 0.205, 0.13
LEFT, RIGHT = (MARGIN, 4.2), (5.0, WIDTH - MARGIN - 5.0)  # x, width of the two columns
MAX_REASONS: Final = 8
INK, EDGE, KEPT, LEFT_OUT, SPLIT = "#1b1f24", "#57606a", "#eef4fb", "#f6f6f6", "#e9f5ec"


@dataclass(frozen=True, slots=True)
class _Box:
    title: str
    lines: tuple[str, ...]

    @property
    def height(self) -> float:
        return LINE * (1 + len(self.lines)) + 2 * PADDING


def write_flow(cohort: Cohort, path: Path) -> None:
    """Draw the flow of a cohort as a PNG."""
    flow = cohort.flow
    steps = _steps(flow)
    splits = [_split(name, count) for name, count in zip(SPLITS, flow.counts, strict=False)]
    heights = [max(kept.height, out.height if out else 0) for kept, out in steps]
    height = 2 * MARGIN + sum(heights) + GAP * len(steps) + splits[0].height
    figure = Figure(figsize=(WIDTH, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(height, 0)
    axes.axis("off")
    top, middle = MARGIN, LEFT[0] + LEFT[1] / 2
    for number, ((kept, out), room) in enumerate(zip(steps, heights, strict=True)):
        _draw(axes, kept, LEFT[0], top, LEFT[1], KEPT)
        last = number == len(steps) - 1
        if not last:
            _arrow(axes, (middle, top + kept.height), (middle, top + room + GAP))
        if out is not None:
            centre = top + min(kept.height, out.height) / 2
            _draw(axes, out, RIGHT[0], top, RIGHT[1], LEFT_OUT)
            _arrow(axes, (LEFT[0] + LEFT[1], centre), (RIGHT[0], centre))
        top += room + GAP
    _draw_splits(axes, splits, (middle, top - GAP - heights[-1] + steps[-1][0].height), top)
    with atomic_file(path) as file:
        figure.savefig(file, format="png")


def _steps(flow: Flow) -> list[tuple[_Box, _Box | None]]:
    """What is kept at each step, and what is left out there."""
    total = flow.counts[-1]
    images = flow.files - flow.ignored
    ignored = _Box(f"No image: {_n(flow.ignored, 'file')}", ())
    rejected = _Box(f"Rejected: {_n(flow.rejected, 'file')}", _reasons(flow.excluded))
    frames = flow.frames or {}
    lost = _Box(f"Left out of packed files: {_n(sum(frames.values()), 'frame')}", _reasons(frames))
    without = _Box(f"Patients without a packed image: {flow.without_image}", ())
    packed = tuple(f"{name}: {text}" for name in ("patients", "studies", "series") if (text := total.text(name)))
    return [
        (_Box(f"Files found: {flow.files:,}", ()), ignored if flow.ignored else None),
        (_Box(f"Files with an image: {images:,}", ()), rejected if flow.rejected else None),
        (_Box(f"Files packed: {flow.packed:,}", ()), lost if frames else None),
        (
            _Box(f"Samples (slices): {total.text('samples') or '–'}", packed),
            without if flow.without_image != "0" else None,
        ),
    ]


def _reasons(counts: dict[str, int]) -> tuple[str, ...]:
    names = list(counts)
    shown = names if len(names) <= MAX_REASONS else names[: MAX_REASONS - 1]
    lines = [f"{name}: {counts[name]:,}" for name in shown]
    if len(names) > len(shown):
        rest = names[len(shown) :]
        lines.append(f"{len(rest)} other reasons: {sum(counts[name] for name in rest):,}")
    return tuple(lines)


def _split(name: str, count: Count) -> _Box:
    lines = [f"{what}: {count.text(what) or '–'}" for what in ("patients", "studies", "series", "samples")]
    return _Box(name, tuple(lines))


def _n(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


def _draw(axes: Axes, box: _Box, x: float, y: float, width: float, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.06"
    axes.add_patch(FancyBboxPatch((x, y), width, box.height, boxstyle=style, fc=colour, ec=EDGE, lw=0.9))
    axes.text(x + 0.14, y + PADDING + LINE / 2, box.title, size=10, weight="bold", color=INK, va="center")
    for number, line in enumerate(box.lines):
        axes.text(x + 0.14, y + PADDING + LINE * (number + 1.5), line, size=9.2, color=INK, va="center")


def _draw_splits(axes: Axes, splits: list[_Box], start: tuple[float, float], top: float) -> None:
    """Side by side under the last step, each with an arrow from a rail."""
    width = (WIDTH - 2 * MARGIN - 2 * GAP) / len(splits)
    rail = top - GAP / 2
    centres = [MARGIN + number * (width + GAP) + width / 2 for number in range(len(splits))]
    axes.plot([start[0], start[0]], [start[1], rail], color=EDGE, lw=1)
    axes.plot([min(centres), max(centres)], [rail, rail], color=EDGE, lw=1)
    for box, centre in zip(splits, centres, strict=True):
        _arrow(axes, (centre, rail), (centre, top))
        _draw(axes, box, centre - width / 2, top, width, SPLIT)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": EDGE, "lw": 1, "shrinkA": 0, "shrinkB": 0})
