"""The picture of a run: loss and accuracy over the steps, from its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from radload.dataset.files import atomic_file

BACKGROUND, PANEL, GRID, TEXT, MUTED = "#0e1116", "#141922", "#2a313c", "#ecf0f5", "#929caa"
TRAIN, VAL, CHANCE = "#7abeff", "#ffb454", "#6b7583"


def write_curves(log: list[dict[str, Any]], path: Path, *, modality_only: float, title: str) -> None:
    """Write loss and accuracy of a run's log (lines of log.jsonl) as a PNG.

    Args:
        modality_only: accuracy that somebody reaches who tells the modality and nothing else.
    """
    train = [line for line in log if line["kind"] == "train" and line["loss"] is not None]
    val = [line for line in log if line["kind"] == "val"]
    figure = Figure(figsize=(10, 3.9), dpi=110, facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    loss, accuracy = figure.subplots(1, 2)
    _panel(loss, "Loss (cross-entropy)")
    loss.plot(
        [line["epoch"] for line in train], [line["loss"] for line in train], color=TRAIN, label="train, smoothed labels"
    )
    loss.plot(
        [line["epoch"] for line in val],
        [line["loss"] for line in val],
        color=VAL,
        marker="o",
        ms=3,
        label="unseen patients",
    )
    loss.set_ylim(bottom=0)
    _panel(accuracy, "Accuracy (top 1)")
    accuracy.plot([line["epoch"] for line in train], [line["accuracy"] for line in train], color=TRAIN, label="train")
    accuracy.plot(
        [line["epoch"] for line in val],
        [line["top1"] for line in val],
        color=VAL,
        marker="o",
        ms=3,
        label="unseen patients",
    )
    accuracy.axhline(modality_only, color=CHANCE, ls="--", lw=1.2, label=f"modality alone: {modality_only:.0%}")
    accuracy.set_ylim(0, 1.02)
    accuracy.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if val:
        last = val[-1]
        accuracy.annotate(
            f"{last['top1']:.0%}", (last["epoch"], last["top1"]), xytext=(-4, -16), textcoords="offset points",
            color=VAL, weight="bold", ha="right",
        )  # fmt: skip
    for panel in (loss, accuracy):
        panel.legend(
            frameon=False, labelcolor=TEXT, fontsize=8.5, loc="upper right" if panel is loss else "lower right"
        )
    figure.suptitle(title, color=TEXT, fontsize=11, x=0.01, ha="left")
    with atomic_file(path) as file:
        figure.savefig(file, format="png", facecolor=BACKGROUND, metadata={"Software": None})


def _panel(axes: Axes, title: str) -> None:
    axes.set_facecolor(PANEL)
    axes.set_title(title, color=MUTED, fontsize=9.5, loc="left")
    axes.set_xlabel("epoch", color=MUTED, fontsize=9)
    axes.tick_params(colors=MUTED, labelsize=8.5)
    axes.grid(color=GRID, lw=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
