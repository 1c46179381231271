"""What could not be read in an epoch: named in the log while that helps, counted by shard and kind, summed up, and limited."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Any

from radload.errors import AgreedEnd, RadloadError
from radload.loading.agree import Agreement
from radload.loading.process import Delivery
from radload.loading.reader import UNOPENED, Failure

REMEMBERED = 1000  # failures kept by name
LOGGED = 10  # lines of the log per epoch that name a sample or a shard; the rest is counted
_SHOWN = 5  # shards named in a summary, of all ranks or of one
_EXAMPLES = 3  # reasons told when the run ends, per rank

Counts = Counter[tuple[str, str]]  # by (shard, kind)

_log = logging.getLogger("radload")


class Failures:
    """Counts the failures of one rank, and of all of them where there is an agreement.

    Args:
        max_failures: as Loader takes it; samples: per epoch, of this rank; world_size: ranks.
        evaluation: what is bad is left out, not replaced; agreement: over the ranks; None: each rank counts by itself.

    Attributes:
        named: what failed since the start, in order, the first REMEMBERED.
        failed: in this epoch, on this rank; total: on all ranks, where they agree.
        counts: in this epoch, on this rank, by shard and kind.
    """

    def __init__(
        self,
        max_failures: float,
        samples: int,
        world_size: int,
        evaluation: bool,
        agreement: Agreement | None,
    ) -> None:
        counted = samples * (world_size if agreement is not None else 1)
        self.limit = math.ceil(max_failures * counted) if max_failures < 1 else int(max_failures)
        self.named: list[Failure] = []
        self._agreement, self._world_size = agreement, world_size
        self._done = "left out" if evaluation else "replaced by others"
        self.reset()

    def reset(self) -> None:
        """Start an epoch."""
        self.failed = self.total = 0
        self.counts: Counts = Counter()
        self._recent: list[str] = []
        self._said: set[str] = set()

    def add(self, delivery: Delivery, epoch: int) -> None:
        """Count what one batch says, and log it."""
        if not delivery.failed:
            return
        self.failed += delivery.failed
        self.counts.update(delivery.counts)
        self.named.extend(delivery.failures[: REMEMBERED - len(self.named)])
        for failure in delivery.failures:
            self._say(failure, epoch)
        self._recent = [failure.reason for failure in delivery.failures[-_EXAMPLES:]]

    def _say(self, failure: Failure, epoch: int) -> None:
        """One line per sample, or per shard that is gone; after LOGGED of them in an epoch, one that says so."""
        about = failure.shard if failure.kind == UNOPENED else failure.key
        if about in self._said or len(self._said) > LOGGED:
            return
        self._said.add(about)
        if len(self._said) > LOGGED:
            _log.warning(
                "more samples of epoch %d cannot be read: from here on they are only counted, and summed up at its end",
                epoch,
            )
        elif failure.kind == UNOPENED:
            _log.warning("%s; its samples are %s", failure.reason, self._done)
        else:
            _log.warning("sample %s cannot be read and was %s: %s", failure.key, self._done, failure.reason)

    def verdict(self, epoch: int, error: RadloadError | None) -> RadloadError | None:
        """What ends the run after a step, if anything does: `error`, which this rank met in it, or too many failures.

        With an agreement this is a collective, after which all ranks end or none; then all with the same AgreedEnd.
        """
        if self._agreement is None:
            self.total = self.failed
            if error is not None or self.failed <= self.limit:
                return error
            return RadloadError(self._too_many(epoch, self.counts, self._recent))
        try:
            self.total, broken = self._agreement.sums(self.failed, error is not None)
            if not broken and self.total <= self.limit:
                return None
            reports = self._agreement.reports(self._report(error))
        except RadloadError as lost:
            return error or lost
        return AgreedEnd(self._ending(epoch, reports))

    def _report(self, error: RadloadError | None) -> dict[str, Any]:
        counts = [[*where, count] for where, count in self.counts.most_common(4 * _SHOWN)]
        text = None if error is None else str(error)[:1000]
        return {"failed": self.failed, "counts": counts, "recent": [r[:300] for r in self._recent], "error": text}

    def _ending(self, epoch: int, reports: list[dict[str, Any]]) -> str:
        broken = [(rank, report["error"]) for rank, report in enumerate(reports) if report["error"] is not None]
        if broken:
            ranks = ", ".join(str(rank) for rank, _ in broken)
            return f"rank {ranks} of {len(reports)} cannot go on, so all ranks end: {broken[0][1]}"
        counts: Counts = Counter()
        for report in reports:
            counts.update({(shard, kind): count for shard, kind, count in report["counts"]})
        by_rank = ", ".join(f"rank {rank}: {report['failed']}" for rank, report in enumerate(reports))
        recent = [reason for report in reports for reason in report["recent"]][: 2 * _EXAMPLES]
        return self._too_many(epoch, counts, recent, f" ({by_rank})")

    def _too_many(self, epoch: int, counts: Counts, recent: list[str], ranks: str = "") -> str:
        return (
            f"{self.total} samples of epoch {epoch} cannot be read{ranks}, more than max_failures allows ({self.limit}): "
            f"{summary(counts, self.total)}; the last of them: {'; '.join(recent)}"
        )

    def finish(self, epoch: int) -> None:
        """Say at the end of an epoch what it was short of, and start the next one."""
        if self.failed:
            ranks = f" of this rank ({self.total} on all {self._world_size})" if self._agreement is not None else ""
            _log.warning(
                "epoch %d: %d samples%s could not be read and were %s: %s",
                epoch, self.failed, ranks, self._done, summary(self.counts, self.failed),
            )  # fmt: skip
        self.reset()


def summary(counts: Counts, total: int) -> str:
    """ "train/000001.tar: 100 cannot be opened, 3 wrong checksum; train/000002.tar: 1 is cut; 4 in others"."""
    shards: dict[str, list[str]] = {}
    told = 0
    for (shard, kind), count in counts.most_common():
        if shard in shards or len(shards) < _SHOWN:
            shards.setdefault(shard, []).append(f"{count} {kind}")
            told += count
    parts = [f"{shard}: {', '.join(kinds)}" for shard, kinds in shards.items()]
    return "; ".join([*parts, f"{total - told} in others"] if told < total else parts)
