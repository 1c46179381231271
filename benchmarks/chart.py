"""The chart of the README: slices per second as horizontal bars, radload beside its peers."""

from __future__ import annotations

from pathlib import Path

from interleave import Contestant
from matplotlib.figure import Figure

OWN, PEER, TEXT = "#1f6f8b", "#b9c0c7", "#333333"
DPI, WIDTH, BAR, MARGIN = 150, 8.0, 0.36, 1.15  # inches


def draw(contestants: list[Contestant], path: Path, cores: int | None = None) -> None:
    """Draw all that ran, limits apart, fastest on top; slower ones than 1 % of the fastest keep a visible sliver."""
    from radload.loading.arguments import core_share

    shown = sorted((one for one in contestants if one.rates and one.kind != "limit"), key=lambda one: one.rate)
    top = shown[-1].rate
    figure = Figure(figsize=(WIDTH, MARGIN + BAR * len(shown)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    colours = [OWN if one.kind == "radload" else PEER for one in shown]
    axes.barh(places, [one.rate for one in shown], color=colours, height=0.72)
    for place, one in zip(places, shown, strict=True):
        weight = "bold" if one.kind == "radload" else "normal"
        axes.text(one.rate + top * 0.01, place, f"{one.rate:,.0f}", va="center", color=TEXT, fontsize=9, weight=weight)
    axes.set_yticks(places, [one.name for one in shown], fontsize=9)
    for label, one in zip(axes.get_yticklabels(), shown, strict=True):
        label.set(color=TEXT, weight="bold" if one.kind == "radload" else "normal")
    axes.set_xlim(0, top * 1.12)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    number = cores if cores is not None else core_share()
    axes.set_title(
        f"CT slices per second on {number} CPU core{'s' * (number != 1)}",
        loc="left",
        fontsize=11,
        weight="bold",
        color=TEXT,
    )
    axes.set_xlabel(
        "512 x 512 stored values to windowed, antialiased, normalised 224 x 224 float32;\n"
        "shuffled batches, page cache warm, medians of turns taken in one run",
        fontsize=8,
        color=TEXT,
        loc="left",
    )
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(w_pad=0.12, h_pad=0.1)
    figure.savefig(path)
