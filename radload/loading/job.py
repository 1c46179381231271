"""One requested batch in the loader process, and what a piece of it came to."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radload.errors import RadloadError
from radload.loading import protocol
from radload.loading.deliver import Deliverer
from radload.loading.planning.plan import BatchPlan
from radload.loading.reader import Failure

_ERROR_LENGTH = 4000  # characters of an error that is told: twice that, escaped, fits into a message
_LONGEST = 16  # draws of a piece
Counts = Counter[tuple[str, str]]  # of failures, by shard and kind
Explain = Callable[[Exception], protocol.Message]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a piece of a batch: failures (`failed` in number, the first of them by name), draws out of the cache, and what ended it."""

    failed: int = 0
    hits: int = 0
    named: tuple[Failure, ...] = ()
    counts: Counts | None = None
    error: protocol.Message | None = None


@dataclass
class Job:
    """A requested batch, and what has come of it so far.

    Attributes:
        places: in the batch, of the plan's draws; positions: of these, in the epoch.
        slot, arrays: where it goes.
        left: draws that are not done.
    """

    id: int
    epoch: int
    plan: BatchPlan
    places: NDArray[np.int64]
    positions: NDArray[np.int64]
    slot: int
    arrays: dict[str, NDArray[Any]]
    left: int
    failed: int = 0
    hits: int = 0
    failures: list[Failure] = field(default_factory=list)
    counts: Counts = field(default_factory=Counter)
    error: protocol.Message | None = None

    def pieces(self, workers: int, done: int = 0) -> list[range]:
        """Its draws from `done` on, in equal pieces: two or more for each worker, so that all end together, yet worth handing out."""
        count = len(self.places)
        length = -(-count // max(2 * workers, -(-count // _LONGEST)))
        return [range(start, min(start + length, count)) for start in range(done, count, length)]

    def add(self, count: int, outcome: Outcome) -> bool:
        """`count` more draws are done; returns whether these were the last."""
        self.hits += outcome.hits
        self.error = self.error or outcome.error
        if outcome.failed:
            self.failed += outcome.failed
            self.failures.extend(outcome.named)
            self.counts.update(outcome.counts or {})
        self.left -= count
        return self.left == 0

    def answer(self) -> protocol.Message:
        """What the consumer is told."""
        if self.error is not None:
            return {"id": self.id, "error": self.error}
        named = sorted((f.key, f.reason, f.shard, f.kind) for f in self.failures)[: protocol.NAMED_FAILURES]
        counts = [[*where, count] for where, count in self.counts.most_common(protocol.COUNTED_SHARDS)]
        return {"id": self.id, "failed": self.failed, "failures": named, "counts": counts, "hits": self.hits}


def work(deliverer: Deliverer, job: Job, piece: range, tools: Any, explain: Explain) -> Outcome:
    """Do a piece of a batch; `tools` are those of the thread, `explain` makes a message of an error."""
    failures: list[Failure] = []
    hits = 0
    try:
        places, positions = (a[piece.start : piece.stop].tolist() for a in (job.places, job.positions))
        for i in deliverer.quick(job.arrays, places, job.plan, piece, tools):
            draw = deliverer.deliver(job.arrays, places[i], job.plan, piece[i], job.epoch, positions[i], tools)
            if draw.failures:
                failures.extend(draw.failures)
            hits += draw.hits
    except Exception as error:  # noqa: BLE001 - whatever it is, the consumer must hear of it
        return Outcome(error=explain(error))
    if not failures:
        return Outcome(hits=hits)
    counts = Counter((failure.shard, failure.kind) for failure in failures)
    return Outcome(len(failures), hits, tuple(failures[: protocol.NAMED_FAILURES]), counts)


def describe(error: BaseException) -> protocol.Message:
    """An error as a message: the user's sentence, or what a bug report needs."""
    if isinstance(error, RadloadError):
        return {"kind": type(error).__name__, "text": str(error)[:_ERROR_LENGTH]}
    detail = "".join(traceback.format_exception(error))[-_ERROR_LENGTH:]
    return {"kind": "", "text": f"{type(error).__name__}: {error}"[:_ERROR_LENGTH], "detail": detail}
