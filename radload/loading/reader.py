"""Reading one draw: its bytes, checked; and where they are bad, another sample by a fixed rule, or nothing.

In training a damaged sample is replaced by a fixed function of the draw (seed, epoch, position, attempt) that the order's sampler
defines, so every run and every rank replaces it by the same one. In evaluation nothing takes its place: the row is marked as not valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import key_text
from radload.dataset.shards import ShardFiles
from radload.errors import RadloadError
from radload.loading.decode import SAMPLE_ERRORS, level_bytes
from radload.loading.draws import plan_draws
from radload.loading.masks import read_mask
from radload.loading.neighbours import Drawn
from radload.loading.plan import BatchPlan, Planner
from radload.loading.sampling import Uniform

ATTEMPTS = 8  # stand-ins tried for one draw before the data set counts as broken

T = TypeVar("T")
StandIn = Callable[[int, int, int], int]  # epoch, position, attempt: element of the split, see order.Order.stand_in
Unpack = Callable[[bytes, np.void, int, float], T]  # bytes, record, level, pivot: see decode.decode_level


@dataclass(frozen=True, slots=True)
class Failure:
    """A sample that could not be read: its key, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Draw(Generic[T]):
    """What a draw gave.

    Attributes:
        content: of the drawn sample or of its stand-in; None where it failed and nothing may replace it.
        plan, place: draw `place` of `plan` is described by it (another plan than asked for, for a stand-in).
        failures: samples that were tried in vain.
        mask: (rows, cols) labels of the content at full resolution; None where it has none, or none are wanted.
        slices: contents of the drawn sample and its neighbours, from before to after.
    """

    content: T | None
    plan: BatchPlan
    place: int
    failures: tuple[Failure, ...]
    mask: NDArray[Any] | None = None
    slices: tuple[T, ...] = ()


class Reader(Generic[T]):
    """Reads draws of one split. Safe to share between threads.

    Args:
        unpack: what is made of a sample's bytes.
        rows: of the index that are drawn from; replace: whether stand-ins are used.
        stand_in: which one; None: any of the split.
    """

    def __init__(
        self,
        files: ShardFiles,
        planner: Planner,
        rows: Drawn,
        replace: bool,
        unpack: Unpack[T],
        stand_in: StandIn | None = None,
    ) -> None:
        self._files, self._planner, self._rows, self._replace, self._unpack = files, planner, rows, replace, unpack
        self._stand_in = stand_in or Uniform(len(rows), planner.settings.seed).any_of

    def read(self, plan: BatchPlan, place: int, epoch: int, position: int) -> Draw[T]:
        """Read draw `place` of a plan, drawn at `position` of `epoch`: one decode of each slice, whatever the views.

        A neighbour that cannot be read costs the draw, as the drawn slice itself does.

        Raises:
            RadloadError: the sample and all its stand-ins are bad.
        """
        failures: list[Failure] = []
        for attempt in range(ATTEMPTS + 1):
            contents: list[T] = []
            first = place * plan.slices
            middle = first + plan.slices // 2
            record = plan.records[middle]
            try:
                for entry in range(first, first + plan.slices):
                    record, level = plan.records[entry], int(plan.levels[entry])
                    data = level_bytes(self._files, record, level)
                    contents.append(self._unpack(data, record, level, float(plan.pivot[entry])))
                record = plan.records[middle]
                mask = self._mask(int(plan.rows[middle]), record)
            except SAMPLE_ERRORS as error:
                failures.append(Failure(key_text(int(record["key"])), str(error)))
            else:
                return Draw(contents[plan.slices // 2], plan, place, tuple(failures), mask, tuple(contents))
            if not self._replace:
                return Draw(None, plan, place, tuple(failures))
            row = self._rows[self._stand_in(epoch, position, attempt)]
            plan, place = plan_draws(self._planner, np.array([row]), epoch, np.array([position])), 0
        raise RadloadError(
            f"sample {failures[0].key} and {ATTEMPTS} others drawn in its place cannot be read "
            f"({failures[-1].reason}): most of the split is damaged, restore it from a copy"
        )

    def _mask(self, row: int, record: np.void) -> NDArray[Any] | None:
        planner = self._planner
        return read_mask(self._files, planner.index, row, record) if planner.settings.masks else None
