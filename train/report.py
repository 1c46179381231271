"""Curves of one or several runs from their logs: a picture (curves.png) and a page (report.html) that needs nothing beside it.

    python train/report.py runs/a                        # runs/a/curves.png, runs/a/report.html
    python train/report.py runs/a runs/b --out compared

Every number in log.jsonl that changes gets a panel, so what a loop of your own logs is shown too.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any, Final

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from radload.dataset.files import atomic_file
from radload.errors import RadloadError, UsageError
from radload.train.arguments import Parser
from radload.train.bootstrap import as_text
from radload.train.log import read_log
from radload.train.output import writing_to

# First the panels that everybody looks at; what else is logged follows by name.
TITLES: Final = {
    "loss": "loss",
    "accuracy": "accuracy in training",
    "top1": "accuracy, unseen patients",
    "balanced_accuracy": "balanced accuracy, unseen patients",
    "auroc": "AUROC, unseen patients",
    "lr": "learning rate",
    "images_per_s": "images per second",
    "data_wait": "share of time waiting for data",
    "memory_mib": "memory, MiB",
}
_SHARES: Final = ("accuracy", "top1", "balanced_accuracy", "auroc", "data_wait", "data_wait_p50", "top5")
_NO_CURVE: Final = ("kind", "step", "epoch")
_COLUMNS: Final = 3
_BACKGROUND, _PANEL, _GRID, _TEXT, _MUTED = "#0e1116", "#141922", "#2a313c", "#ecf0f5", "#929caa"


@dataclass(frozen=True)
class Run:
    """One run: a short name, its log, and run.json and val.json where they are ({} where not)."""

    name: str
    log: list[dict[str, Any]]
    about: dict[str, Any]
    verdict: dict[str, Any]

    def points(self, kind: str, key: str) -> tuple[list[float], list[float]]:
        """Where (epoch, or step) and what, of the lines of a kind that have a number there."""
        lines = [line for line in self.log if line.get("kind") == kind and _is_number(line.get(key))]
        return [float(line.get("epoch", line.get("step", 0))) for line in lines], [float(line[key]) for line in lines]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs in `folders`, by names that tell them apart.

    Raises:
        UsageError: a folder without a log, or with an empty one.
    """
    runs = []
    for folder, name in zip(folders, _names(folders), strict=True):
        path = folder / "log.jsonl"
        if not path.is_file():
            raise UsageError(f"{folder} holds no log.jsonl: give the folder that `train/pretrain.py --out` wrote")
        log = [line for line in read_log(path) if isinstance(line, dict)]
        if not log:
            raise UsageError(f"{path} has no whole line yet: wait for the run's first, or give another")
        details = [json.loads(p.read_bytes()) if (p := folder / n).is_file() else {} for n in ("run.json", "val.json")]
        runs.append(Run(name, log, details[0], details[1]))
    return runs


def panels(runs: Sequence[Run]) -> list[str]:
    """Names of the logged numbers, in the order of their panels: those of TITLES, then the others; without constant ones."""
    found: dict[str, set[float]] = {}
    for run in runs:
        for line in run.log:
            for key, value in line.items():
                if key not in _NO_CURVE and _is_number(value):
                    found.setdefault(key, set()).add(value)
    known = [key for key in TITLES if key in found]
    return known + sorted(key for key, values in found.items() if key not in TITLES and len(values) > 1)


def draw(runs: Sequence[Run], path: Path) -> None:
    """Write all panels as one PNG: training as a line, validation as a line with dots."""
    names = panels(runs)
    rows = max(-(-len(names) // _COLUMNS), 1)  # a log of skipped steps alone has no numbers to draw
    figure = Figure(figsize=(4.4 * _COLUMNS, 2.9 * rows + 0.4), dpi=110, facecolor=_BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, key in zip(grid, names, strict=False):
        _panel(axes, runs, key)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, labelcolor=_TEXT, fontsize=9)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", facecolor=_BACKGROUND, metadata={"Software": None})


def _panel(axes: Axes, runs: Sequence[Run], key: str) -> None:
    axes.set_facecolor(_PANEL)
    axes.set_title(TITLES.get(key, key.replace("_", " ")), color=_MUTED, fontsize=9.5, loc="left")
    colours = colormaps["Set2"].colors  # type: ignore[attr-defined]
    for place, run in enumerate(runs):
        for kind, style in (("train", {"lw": 1.2}), ("val", {"lw": 1.0, "ls": "--", "marker": "o", "ms": 3})):
            x, y = run.points(kind, key)
            if x:
                label = run.name + (", unseen patients" if kind == "val" else "")
                axes.plot(x, y, color=colours[place % len(colours)], label=label, **style)
    if key in _SHARES:
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if key != "auroc" else f"{value:.1f}")
    axes.set_xlabel("epoch", color=_MUTED, fontsize=8.5)
    axes.tick_params(colors=_MUTED, labelsize=8)
    axes.grid(color=_GRID, lw=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)


def write_page(runs: Sequence[Run], picture: Path, path: Path) -> None:
    """Write the page: the verdicts, the picture, the last figures and the options in which the runs differ."""
    data = base64.b64encode(picture.read_bytes()).decode("ascii")
    keys = panels(runs)
    last = [(run.name, *(_last(run, key) for key in keys)) for run in runs]
    options = [run.about.get("config", {}) for run in runs]
    names = sorted({key for one in options for key in one})
    differ = [key for key in names if any(a.get(key) != b.get(key) for a, b in pairwise(options))]
    shown = differ if len(runs) > 1 else [key for key in names if options[0][key] is not None]
    page = _PAGE.substitute(
        title=escape(", ".join(run.name for run in runs)),
        verdicts=_table(("run", "per", "samples", "balanced accuracy", "AUROC"), [row for run in runs for row in _verdict(run)]),
        picture=f'<img alt="Curves of {escape(", ".join(run.name for run in runs))}" src="data:image/png;base64,{data}">',
        last=_table(("run", *(TITLES.get(key, key.replace("_", " ")) for key in keys)), last),
        heading="Options in which the runs differ" if len(runs) > 1 else "Options",
        options=_table(("option", *(run.name for run in runs)), [(key, *(one.get(key, "") for one in options)) for key in shown]),
    )  # fmt: skip
    with atomic_file(path) as file:
        file.write(page.encode())


def _verdict(run: Run) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for level in ("slice", "patient"):
        found = run.verdict.get(level, {})
        found = found.get("mean", {}) if level == "patient" else found
        if found:
            rows.append(
                (
                    run.name,
                    level,
                    str(found["samples"]),
                    as_text(found.get("balanced_accuracy")),
                    as_text(found.get("auroc")),
                )
            )
    return rows


def _last(run: Run, key: str) -> str:
    """The newest value, of the validation where that has one."""
    for kind in ("val", "train"):
        values = run.points(kind, key)[1]
        if values:
            return f"{values[-1]:.4g}"
    return ""


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError("the same folder is given twice: give each run once")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "<p>None.</p>"
    top = "".join(f"<th>{escape(str(name))}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: dark; }
body { margin: 0; background: #0e1116; color: #ecf0f5; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin-top: 2.2rem; }
img { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { color: #929caa; font-weight: 600; }
th, td { padding: .3rem 1.1rem .3rem 0; border-bottom: 1px solid #2a313c; text-align: left; white-space: nowrap; }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<h2>On patients never seen</h2>
$verdicts
<h2>Curves</h2>
$picture
<h2>Last figures</h2>
$last
<h2>$heading</h2>
$options
</main>
</body>
</html>
""")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code: 0 written, 2 what the user can put right."""
    parser = Parser("report.py", "Draws the logs of training runs.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--out", type=Path, help="folder to write (default: the first run's)")
    try:
        options = parser.parse_args(argv)
        runs = read_runs(options.runs)
        out: Path = options.out or options.runs[0]
        with writing_to(out):
            out.mkdir(parents=True, exist_ok=True)
            draw(runs, out / "curves.png")
            write_page(runs, out / "curves.png", out / "report.html")
    except RadloadError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{out / 'report.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
