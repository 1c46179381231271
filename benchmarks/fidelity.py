"""How far batches from reduced resolution levels are from full decodes, on anybody's shards: a table per modality and window.

    python benchmarks/fidelity.py shards                           # every modality; sizes 112, 224 and 320
    python benchmarks/fidelity.py shards --sizes 224 --slacks 1.5 --limit 40

Whole images as in evaluation, through the loader's own plan, decoder and kernel; each beside the same image decoded in full. Values
are y, 0 to 1 after the window, so an error of 0.01 is 1 % of the window's width. CT in HU is measured in six windows, 80 to
2,000 HU wide; those under 200 HU too, which the loader decodes in full. Only images that a slack serves from a level count.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.kernels import cpu, prepare
from radload.loading.decode import SAMPLE_ERRORS, decode_level, level_bytes
from radload.loading.planning.plan import BatchPlan, Planner, Settings
from radload.loading.planning.recipe import CT, FIXED, OTHER, PRESETS, Recipe, Window, default_recipe
from radload.sources.slice import Units

SIZES, SLACKS = (112, 224, 320), (1.0, 1.25, 1.5, 2.0)
CT_WINDOWS = ("brain", "liver", "soft_tissue", "lung", "bone", "broad")
LIMIT = 24  # images of each (modality, stored type, size)
_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Images of one kind, at one output size and slack, from levels and in full.

    Attributes:
        kind: modality; window: its name, or the recipe's rule; size: side of the output in pixels.
        slack: level_slack; levels: level -> images; images: how many came from a level; of: how many of the kind were looked at.
        psnr: dB, of the mean squared error over all pixels, peak 1; mean, p999: mean and 99.9th percentile of the absolute error.
    """

    kind: str
    window: str
    size: int
    slack: float
    levels: dict[int, int]
    images: int
    of: int
    psnr: float
    mean: float
    p999: float


def measure(
    shards: Path, sizes: Sequence[int] = SIZES, slacks: Sequence[float] = SLACKS, limit: int = LIMIT
) -> list[Fidelity]:
    """Every kind of image in a data set; up to `limit` of each modality, stored type and size of image."""
    index = open_index(shards, read_manifest(shards))
    rows = choose_rows(index, limit)
    found = []
    with ShardFiles(shards, index.shard_names) as files:
        for size in sizes:
            found += _measure_size(index, files, rows, size, slacks)
    return sorted(found, key=lambda one: (one.kind != CT, one.kind, one.size))


def choose_rows(index: Index, limit: int) -> NDArray[np.int64]:
    """Up to `limit` rows of each modality, stored type and size, spread evenly."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    modality = index.series["modality"][index.records["series"]]
    for row, record in enumerate(index.records):
        groups[int(modality[row]), int(record["dtype"]), int(record["rows"]), int(record["cols"])].append(row)
    picked = [
        group[i]
        for group in groups.values()
        for i in np.unique(np.linspace(0, len(group) - 1, min(limit, len(group))).astype(int))
    ]
    return np.array(sorted(picked), np.int64)


def _measure_size(
    index: Index, files: ShardFiles, rows: NDArray[np.int64], size: int, slacks: Sequence[float]
) -> list[Fidelity]:
    def planned(recipe: Recipe, **options: Any) -> tuple[Planner, BatchPlan]:
        settings = Settings((size, size), recipe, "float32", augment=None, seed=0, **options)
        planner = Planner(index, settings)
        return planner, planner.plan(rows, 0, np.arange(len(rows)))

    # Levels by the loader's rule under windows of which none is narrow.
    levels = {s: planned(default_recipe(), level_slack=s, resolution="auto")[1].levels for s in slacks}
    series = index.series[index.records[rows]["series"]]
    names = np.array(index.modalities)[series["modality"]]
    plain = (names == CT) & (series["units"] == Units.HU)
    # (kind, window, slack) -> level and absolute errors of each image
    errors: dict[tuple[str, str, float], list[tuple[int, NDArray[np.float32]]]] = defaultdict(list)
    looked: dict[str, int] = defaultdict(int)
    for part, windows in ((plain, CT_WINDOWS[:3]), (plain, CT_WINDOWS[3:]), (~plain, ("recipe",))):
        _, plan = planned(_recipe(windows), level_slack=1.0, resolution="full")
        for place in np.flatnonzero(part):
            kind = (str(names[place]) or "unknown") + " (no HU)" * bool(names[place] == CT and not plain[place])
            if windows[0] in (CT_WINDOWS[0], "recipe"):
                looked[kind] += 1
            wanted = {int(levels[s][place]) for s in slacks} - {0}
            try:
                full = _render(files, plan, int(place), 0, size) if wanted else None
                reduced = {k: np.abs(_render(files, plan, int(place), k, size) - full) for k in wanted}
            except SAMPLE_ERRORS:
                continue  # `radload audit` names what is damaged
            for slack in slacks:
                if level := int(levels[slack][place]):
                    for c, window in enumerate(windows):
                        errors[kind, window, slack].append((level, reduced[level][c].ravel()))
    return [
        _summarise(kind, window, size, slack, found, looked[kind]) for (kind, window, slack), found in errors.items()
    ]


def _recipe(windows: Sequence[str]) -> Recipe:
    """CT through the named windows, everything else as by default; y is left as it is."""
    base = default_recipe(_CHANNELS).windows
    if windows[0] == "recipe":
        return Recipe("levels", base, mean=(0.0,), std=(1.0,))
    row = tuple(Window(FIXED, *PRESETS[name]) for name in windows)
    return Recipe("levels", {CT: row, OTHER: base[OTHER]}, mean=(0.0,), std=(1.0,))


def _render(files: ShardFiles, plan: BatchPlan, place: int, level: int, size: int) -> NDArray[np.float32]:
    """(C, size, size) of one sample, from a level."""
    record = plan.records[place]
    coded = decode_level(level_bytes(files, record, level), record, level, float(plan.pivot[place]))
    sample = plan.samples[place : place + 1].copy()
    sample["level"] = level
    out = np.empty((_CHANNELS, size, size), np.float32)
    norm = prepare.normalisation([0.0] * _CHANNELS, 1.0)
    cpu.render_into(coded, sample, plan.windows[place : place + 1], norm, out, tables=plan.tables)
    return out


def _summarise(
    kind: str, window: str, size: int, slack: float, found: list[tuple[int, NDArray[np.float32]]], of: int
) -> Fidelity:
    error = np.concatenate([one for _, one in found])
    squared = float(np.square(error, dtype=np.float64).mean())
    used, counts = np.unique([level for level, _ in found], return_counts=True)
    levels = {int(k): int(n) for k, n in zip(used, counts, strict=True)}
    psnr = -10 * np.log10(squared) if squared else np.inf
    return Fidelity(
        kind,
        window,
        size,
        slack,
        levels,
        len(found),
        of,
        float(psnr),
        float(error.mean()),
        float(np.quantile(error, 0.999)),
    )


def table(found: Sequence[Fidelity], slacks: Sequence[float] = SLACKS) -> list[str]:
    """Markdown: a line per kind, window and size; "PSNR dB / mean / 99.9 % (levels)" per slack."""
    lines = ["| images | window | size | " + " | ".join(f"slack {s:g}" for s in slacks) + " |"]
    lines.append("|---|---|---|" + "---|" * len(slacks))
    cells = {(one.kind, one.window, one.size, one.slack): one for one in found}
    for kind, window, size in dict.fromkeys((one.kind, one.window, one.size) for one in found):
        texts = [cell(cells.get((kind, window, size, slack))) for slack in slacks]
        width = f"{PRESETS[window][1]:g} HU, {window.replace('_', ' ')}" if window in PRESETS else window
        lines.append(f"| {kind} | {width} | {size} | " + " | ".join(texts) + " |")
    return lines


def cell(one: Fidelity | None) -> str:
    """One figure of the table."""
    if one is None:
        return "all in full"
    levels = ", ".join(f"{count} x {level}" for level, count in one.levels.items())
    return f"{one.psnr:.1f} / {one.mean:.4f} / {one.p999:.3f} ({levels} of {one.of})"


def main() -> None:
    """Prints the table of a data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--slacks", type=float, nargs="+", default=SLACKS)
    parser.add_argument("--limit", type=int, default=LIMIT, help="images of each modality, stored type and size")
    options = parser.parse_args()
    print("PSNR in dB / mean / 99.9 % of the error in y (images x level)")
    print("\n".join(table(measure(options.shards, options.sizes, options.slacks, options.limit), options.slacks)))


if __name__ == "__main__":
    main()
