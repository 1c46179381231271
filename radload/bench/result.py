"""What a measurement found, and the sentence that says what it means. No measuring here, no printing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from radload.bench.cold import Cold
from radload.bench.counters import Memory
from radload.bench.needs import Need

READ, DECODE, KERNEL, LOADER = "read", "decode", "kernel", "loader"
STAGES = (READ, DECODE, KERNEL)
_FROM_STORAGE = 0.5  # share of the loader's bytes above which storage, not the page cache, was measured
_NAMES = {READ: "reading", DECODE: "decoding", KERNEL: "the kernel"}


@dataclass(frozen=True, slots=True)
class Result:
    """All figures; rates are in slices per second, sizes in bytes, times in seconds.

    Attributes:
        settings: what was asked for, by the names of the options; samples: of the split; threads: of the loader and of each stage.
        rounds: name of a stage or "loader" -> its rate in every round; rounds of all of them took turns.
        levels: resolution level -> share of the draws; asked, raw: bytes read per sample, and of its stored pixels uncompressed.
        cold: reading without the page cache, or why it is not known.
        from_storage: share of the loader's bytes that did not come out of the page cache; None where the kernel does not say.
        first_batch: from `Loader(...)` to its first batch.
        loader_cores, consumer_cores: CPU seconds per second of the loader's process and of the consumer's.
        memory: of the loader's process at the end. unreadable: of the draws.
        cores_free: share of the time of its threads that the machine gave to decoding and kernel, which never wait: 1 where it is quiet.
        need: what a network takes, where asked for.
    """

    settings: Mapping[str, Any]
    samples: int
    threads: int
    rounds: Mapping[str, tuple[float, ...]]
    levels: Mapping[int, float]
    asked: float
    raw: float
    cold: Cold | str
    from_storage: float | None
    first_batch: float
    loader_cores: float
    consumer_cores: float
    memory: Memory
    unreadable: int
    cores_free: float
    need: Need | None = None

    def rate(self, name: str) -> float:
        """Median of a stage's rounds, or of the loader's."""
        return median(self.rounds[name])

    @property
    def together(self) -> float:
        """What the three stages allow when each sample passes through all of them on the same threads."""
        return 1 / sum(1 / self.rate(name) for name in STAGES)

    @property
    def stored(self) -> bool:
        """Whether the loader read from storage rather than from the page cache."""
        return self.from_storage is not None and self.from_storage > _FROM_STORAGE

    @property
    def limit(self) -> str:
        """The slowest stage; reading counts as from storage where the loader read from there."""
        rates = {name: self.rate(name) for name in STAGES}
        if self.stored and isinstance(self.cold, Cold):
            rates[READ] = min(rates[READ], self.cold.rate)
        return min(rates, key=lambda name: rates[name])

    @property
    def verdict(self) -> str:
        """One sentence: what is the limit, what the rest could give, and where asked whether it is enough."""
        limit = self.limit
        from_storage = limit == READ and self.stored and isinstance(self.cold, Cold)
        slowest = self.cold.rate if from_storage and isinstance(self.cold, Cold) else self.rate(limit)
        cores = f"{self.threads} thread{'s' * (self.threads != 1)}"
        first, second = (name for name in STAGES if name != limit)
        others = f"{_NAMES[first]} could give {say(self.rate(first))}, {_NAMES[second]} {say(self.rate(second))}"
        name = f"{_NAMES[limit]}{' from storage' if from_storage else ''}"
        share = f", {self.rate(LOADER) / self.together:.0%} of what the three allow together" if not self.stored else ""
        text = (
            f"{name} is the limit: {say(slowest)} slices/s on {cores}; {others}; "
            f"the loader delivers {say(self.rate(LOADER))}{share}"
        )
        return f"{text}{self._need()}."

    def _need(self) -> str:
        if self.need is None:
            return ""
        need, rate = self.need, self.rate(LOADER)
        what = f"{need.arch} on {need.where} takes {say(need.rate)} ({need.origin}"
        what += f", at {need.size} pixels)" if need.size != self.settings["size"] else ")"
        if rate >= need.rate:
            return f", and {what}: the network is the limit"
        return f", but {what}: the loader is the limit, {need.rate / rate:.1f} times too slow on this machine"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, medians and verdict included."""
        content = asdict(self)
        content["rounds"] = {name: list(rates) for name, rates in self.rounds.items()}
        content["cold"] = None if isinstance(self.cold, str) else content["cold"]
        content["cold_unknown"] = self.cold if isinstance(self.cold, str) else None
        content["levels"] = {str(level): share for level, share in self.levels.items()}
        medians = {name: self.rate(name) for name in (*STAGES, LOADER)}
        return {**content, "medians": medians, "together": self.together, "limit": self.limit, "verdict": self.verdict}


def say(rate: float) -> str:
    """A rate with two significant digits above 100, because a third would not come out again: 3,912 as 3,900."""
    if rate < 100:
        return f"{rate:.1f}" if rate < 10 else f"{rate:.0f}"
    digits = 10 ** (len(str(int(rate))) - 2)
    return f"{round(rate / digits) * digits:,}"
