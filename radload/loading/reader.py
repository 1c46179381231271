"""Reading one draw: its bytes, checked; and where they are bad, another sample by a fixed rule, or nothing.

In training a damaged sample is replaced by a fixed function of the draw (seed, epoch, position, attempt) that the order's sampler
defines, so every run and every rank replaces it by the same one. In evaluation nothing takes its place: the row is marked as not valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from radload.codecs.encoded import BytesLike
from radload.dataset.schema import key_text
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample, RadloadError
from radload.loading.buffers import Buffers
from radload.loading.cache.levels import Cache
from radload.loading.decode import SAMPLE_ERRORS, level_bytes
from radload.loading.masks import read_mask
from radload.loading.order.sampling import Uniform
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.neighbours import Drawn
from radload.loading.planning.plan import BatchPlan, Planner

UNOPENED = "cannot be opened"  # kind of failure of all samples of a shard that is gone
ATTEMPTS = 8  # stand-ins tried for one draw before the data set counts as broken

_REASON_LENGTH = 400  # characters of a reason: those of a batch travel in one message

T = TypeVar("T")
StandIn = Callable[[int, int, int], int]  # epoch, position, attempt: element of the split, see order.Order.stand_in
Unpack = Callable[[BytesLike, np.void, int, float, Buffers | None], T]  # see decode.decode_level


@dataclass(frozen=True, slots=True)
class Failure:
    """A sample that could not be read: its key, and why; its shard, and why in few words (errors.CorruptSample.kind)."""

    key: str
    reason: str
    shard: str = ""
    kind: str = ""


class Draw(NamedTuple, Generic[T]):
    """What a draw gave. A tuple: one is made for every draw, and a frozen dataclass takes twice as long.

    Attributes:
        content: of the drawn sample or of its stand-in; None where it failed and nothing may replace it.
        plan, place: draw `place` of `plan` is described by it (another plan than asked for, for a stand-in).
        failures: samples that were tried in vain.
        mask: (rows, cols) labels of the content at full resolution; None where it has none, or none are wanted.
        slices: contents of the drawn sample and its neighbours, from before to after.
        hits: how many of them came out of the cache.
    """

    content: T | None
    plan: BatchPlan
    place: int
    failures: tuple[Failure, ...]
    mask: NDArray[Any] | None = None
    slices: tuple[T, ...] = ()
    hits: int = 0


class Reader(Generic[T]):
    """Reads draws of one split. Safe to share between threads.

    Args:
        unpack: what is made of a sample's bytes.
        rows: of the index that are drawn from; replace: whether stand-ins are used.
        stand_in: which one; None: any of the split.
        cache: of what `unpack` gives; samples that cannot be read are never in it.
    """

    def __init__(
        self,
        files: ShardFiles,
        planner: Planner,
        rows: Drawn,
        replace: bool,
        unpack: Unpack[T],
        stand_in: StandIn | None = None,
        cache: Cache[T] | None = None,
    ) -> None:
        self._files, self._planner, self._rows, self._replace, self._unpack = files, planner, rows, replace, unpack
        self._cache = cache
        self._stand_in = stand_in or Uniform(len(rows), planner.settings.seed).any_of

    def read(self, plan: BatchPlan, place: int, epoch: int, position: int, buffers: Buffers | None = None) -> Draw[T]:
        """Read draw `place` of a plan, drawn at `position` of `epoch`: one decode of each slice, whatever the views.

        A neighbour that cannot be read costs the draw, as the drawn slice itself does.

        With this thread's `buffers` the content lasts until they are used again; without, it is the caller's.

        Raises:
            RadloadError: the sample and all its stand-ins are bad.
        """
        failures: list[Failure] = []
        for attempt in range(ATTEMPTS + 1):
            contents: list[T] = []
            first, hits = place * plan.slices, 0
            middle = first + plan.slices // 2
            record = plan.records[middle]
            own = buffers if plan.slices == 1 else None  # buffers hold one slice
            try:
                for entry in range(first, first + plan.slices):
                    record = plan.records[entry]
                    content, hit = self._content(plan, entry, own)
                    contents.append(content)
                    hits += hit
                record = plan.records[middle]
                mask = self._mask(int(plan.rows[middle]), record)
            except SAMPLE_ERRORS as error:
                failures.append(self._failure(record, error))
            else:
                content = contents[plan.slices // 2]
                return Draw(content, plan, place, tuple(failures), mask, tuple(contents), hits)
            if not self._replace:
                return Draw(None, plan, place, tuple(failures))
            self._planner.index.files.check()
            row = self._rows[self._stand_in(epoch, position, attempt)]
            plan, place = plan_draws(self._planner, np.array([row]), epoch, np.array([position])), 0
        raise RadloadError(
            f"sample {failures[0].key} and {ATTEMPTS} others drawn in its place cannot be read "
            f"({failures[-1].reason}): most of the split is damaged, restore it from a copy"
        )

    def _content(self, plan: BatchPlan, place: int, buffers: Buffers | None) -> tuple[T, bool]:
        """What an entry of a plan holds, and whether the cache had it."""
        record, level, pivot = plan.records[place], int(plan.levels[place]), float(plan.pivot[place])
        if self._cache is None:
            return self._unpack(level_bytes(self._files, record, level, buffers), record, level, pivot, buffers), False
        row = int(plan.rows[place])
        found = self._cache.get(row, level, pivot)
        if found is not None:
            return found, True
        content = self._unpack(level_bytes(self._files, record, level, buffers), record, level, pivot, buffers)
        self._cache.put(row, level, pivot, content)
        return content, False

    def _failure(self, record: np.void, error: Exception) -> Failure:
        shard = int(record["shard"])
        self._files.forget(shard)
        kind = error.kind if isinstance(error, CorruptSample) else UNOPENED
        name = self._files.names[shard] if shard < len(self._files.names) else f"shard {shard}"
        return Failure(key_text(int(record["key"])), str(error)[:_REASON_LENGTH], name, kind)

    def _mask(self, row: int, record: np.void) -> NDArray[Any] | None:
        planner = self._planner
        return read_mask(self._files, planner.index, row, record) if planner.settings.masks else None
