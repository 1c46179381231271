"""The last tables of `pytest benchmarks`, and the same as JSON: what each benchmark noted, and radload beside its peers."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from interleave import Contestant

FIRST_RUN = "peers, medians of turns"  # what the chart shows
FIRST = ("slices/s", "slices/CPU s")
RUNS: pytest.StashKey[dict[str, list[Contestant]]] = pytest.StashKey()  # title of an interleaved run -> who took part


def table(benchmarks: Iterable[Any]) -> list[str]:
    """One line per benchmark: name, median in milliseconds, and what its `extra_info` holds; empty where nothing was timed."""
    timed = _timed(benchmarks)
    if not timed:
        return []
    width = max(len(one.name) for one in timed)
    lines, group = [], None
    for one in timed:
        if one.group != group:
            group = one.group
            lines += ["", f"{group or '':{width}}  {'median ms':>10}  {FIRST[0]:>9}  {FIRST[1]:>12}"]
        info = dict(one.extra_info)
        rates = [f"{info.pop(name):,}" if name in info else "" for name in FIRST]
        rest = "  ".join(f"{name} {value:,}" for name, value in info.items())
        lines.append(
            f"{one.name:{width}}  {one.stats.median * 1000:10,.3f}  {rates[0]:>9}  {rates[1]:>12}  {rest}".rstrip()
        )
    return lines[1:]


def peer_table(title: str, contestants: list[Contestant]) -> list[str]:
    """Medians of the interleaved run, fastest first, with how many times as fast each of ours is; then who did not run, and why."""
    ran = sorted((one for one in contestants if one.rates), key=lambda one: -one.rate)
    if not ran:
        return []
    own = [one for one in ran if one.kind == "radload"]
    width = max(len(title), *(len(one.name) for one in contestants))
    head = f"{title:{width}}  {FIRST[0]:>9}  {FIRST[1]:>12}  {'of all turns':>17}  {'max diff':>8}"
    lines = [f"{head}  " + "  ".join(f"{_short(one.name):>12}" for one in own)]
    for one in ran:
        per_cpu = one.rate / max(median(one.cores), 0.01)
        span = f"{min(one.rates):,.0f} to {max(one.rates):,.0f}"
        off = "" if one.difference is None else f"{one.difference:.1g}"
        ratios = "  ".join(f"{ratio(mine, one):>11.2f}x" for mine in own)
        lines.append(
            f"{one.name:{width}}  {one.rate:9,.0f}  {per_cpu:12,.0f}  {span:>17}  {off:>8}  {ratios}  {one.note}".rstrip()
        )
    lines += [f"{one.name:{width}}  not run: {one.skipped}" for one in contestants if one.skipped]
    if any(one.difference is not None for one in ran):
        lines.append(
            "max diff: from torch's own arithmetic on all pixels, in normalised units; a half level is another resample, so it differs"
        )
    return lines


def ratio(mine: Contestant, other: Contestant) -> float:
    """How many times as fast `mine` is as `other`: the median over the rounds, each compared with itself."""
    return median([a / b for a, b in zip(mine.rates, other.rates, strict=True)])


def write_json(path: Path, benchmarks: Iterable[Any], runs: dict[str, list[Contestant]]) -> None:
    """Everything that the tables show, and the rate of every round."""
    content = {
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
        },
        "benchmarks": [
            {"name": one.name, "group": one.group, "median_s": one.stats.median, "noted": dict(one.extra_info)}
            for one in _timed(benchmarks)
        ],
        "runs": {title: [_plain(one, contestants) for one in contestants] for title, contestants in runs.items()},
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _plain(one: Contestant, contestants: list[Contestant]) -> dict[str, Any]:
    own = [mine for mine in contestants if mine.kind == "radload" and mine.rates]
    return {
        "name": one.name,
        "kind": one.kind,
        "skipped": one.skipped,
        "slices_per_s": one.rate if one.rates else None,
        "rounds": one.rates,
        "cores": one.cores,
        "max_difference": one.difference,
        "note": one.note,
        "times_as_fast": {mine.name: ratio(mine, one) for mine in own} if one.rates else {},
    }


def _timed(benchmarks: Iterable[Any]) -> list[Any]:
    timed = [one for one in benchmarks if one.stats is not None and one.stats.rounds]
    return sorted(timed, key=lambda one: (one.group or "", one.fullname))


def _short(name: str) -> str:
    return name.removeprefix("radload ").removeprefix("HTJ2K, ").removeprefix("cache: ")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
