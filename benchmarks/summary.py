"""The last table of `pytest benchmarks`: what each benchmark noted (slices per second first), beside its median time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

FIRST = ("slices/s", "slices/CPU s")


def table(benchmarks: Iterable[Any]) -> list[str]:
    """One line per benchmark: name, median in milliseconds, and what its `extra_info` holds; empty where nothing was timed."""
    timed = [one for one in benchmarks if one.stats is not None and one.stats.rounds]
    if not timed:
        return []
    width = max(len(one.name) for one in timed)
    lines, group = [], None
    for one in sorted(timed, key=lambda one: (one.group or "", one.fullname)):
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
