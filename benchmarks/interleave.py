"""Loaders that take turns: every round each of them runs alone for a while, so that what disturbs the machine disturbs all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from radload.bench.counters import cpu_seconds, descendants, wait_until_idle


@dataclass
class Contestant:
    """One that takes turns: `turn(seconds)` gives slices per second.

    Attributes:
        kind: "radload", "peer", or "limit" (a part of the work alone, no loader).
        difference: largest difference of its pixels from torch's own arithmetic in full resolution; None for a limit.
        rates, cores: of every round; slices per second, and CPU seconds per second of all processes. skipped: why it did not run.
    """

    name: str
    kind: str
    turn: Callable[[float], float] | None = None
    difference: float | None = None
    skipped: str | None = None
    rates: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    note: str = ""  # what else was measured, for the end of its line

    @property
    def rate(self) -> float:
        """Median over the rounds."""
        return median(self.rates)


def taking(batches: Iterator[Any], batch_size: int, ready: int, unit: int = 1) -> Callable[[float], float]:
    """A turn that takes batches.

    `ready` batches may have been prepared since the last turn and are not counted; batches are counted in multiples of `unit`,
    the number of workers, whose batches come in bunches.
    """

    def turn(seconds: float) -> float:
        for _ in range(ready + unit):
            next(batches)
        start = now = time.perf_counter()
        count = 0
        while now - start < seconds or count % unit or not count:
            next(batches)
            count, now = count + 1, time.perf_counter()
        return count * batch_size / (now - start)

    return turn


def run_rounds(contestants: list[Contestant], rounds: int, seconds: float) -> None:
    """Let all that are not skipped take turns, and note their rates; each starts when the one before has become idle."""
    for number in range(rounds):
        for one in contestants[:: -1 if number % 2 else 1]:  # back and forth: nobody always follows the same one
            if one.turn is None:
                continue
            own = os.getpid()
            wait_until_idle(descendants(own))
            pids = [own, *descendants(own)]
            start, cpu = time.perf_counter(), cpu_seconds(pids) + _ended()
            rate = one.turn(seconds)
            wall, used = time.perf_counter() - start, cpu_seconds(pids) + _ended() - cpu
            one.rates.append(rate)
            one.cores.append(used / wall)


def _ended() -> float:
    """CPU seconds of processes that this one started, and that have ended: what measures a limit is forked for a turn."""
    times = os.times()
    return times.children_user + times.children_system
