"""Plans of several steps at once, before they are asked for.

Order and plan are some three hundred calls of NumPy, which cost nearly as much for 50 draws as for 500: a batch of 50 took 12 microseconds
per slice alone, and takes 2 among its next twenty. What a step gets is a function of (epoch, step) all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radload.dataset.schema import Flag
from radload.loading.order.order import Order
from radload.loading.planning.draws import plan_draws
from radload.loading.planning.neighbours import Drawn, rows_of
from radload.loading.planning.plan import BatchPlan, Planner

DRAWS = 1024  # views of slices that are planned in one go, about: more saves little, and forks would wait for pieces meanwhile
_TABLES = Flag.MODALITY_LUT | Flag.VOI_LUT


@dataclass(frozen=True, slots=True)
class Step:
    """What a rank gets at one step.

    Attributes:
        positions: (batch,) of its draws in the epoch. valid: (batch,) False for padding. elements: (batch,) of the split, -1 for padding.
        places: (n,) in the batch, of what is no padding. rows: (n,) of the index, drawn there.
        plan: of these; None: not made yet.
    """

    positions: NDArray[np.int64]
    elements: NDArray[np.int64]
    valid: NDArray[np.bool_]
    places: NDArray[np.int64]
    rows: NDArray[np.int64]
    plan: BatchPlan | None


class Ahead:
    """Steps of one rank, in whatever order; those that follow each other cost least. For one thread.

    Args:
        drawn: rows of the index that the order's elements are.
    """

    def __init__(self, order: Order, drawn: Drawn, planner: Planner) -> None:
        self._order, self._drawn, self._planner = order, drawn, planner
        settings = planner.settings
        batch = order.global_batch if order.homes else order.batch_size
        self._most = max(1, DRAWS // (batch * settings.views.total * settings.neighbours.slices))
        self._epoch, self._first = 0, 0
        self._steps: list[Step] = []

    def step(self, epoch: int, step: int) -> tuple[Step, BatchPlan]:
        """A step and the plan of its draws. Raises IndexError: the epoch has no such step."""
        if epoch != self._epoch or not self._first <= step < self._first + len(self._steps):
            self._look(epoch, step)
        found = self._steps[step - self._first]
        plan = found.plan
        if plan is None:
            plan = plan_draws(self._planner, found.rows, epoch, found.positions[found.places])
        return found, plan

    def _look(self, epoch: int, step: int) -> None:
        """Look at steps from this one on: one where a run begins, and twice as many each time, so that the first batch is soon there."""
        after = (self._epoch, self._first + len(self._steps))
        if after[1] == self._order.steps:
            after = (self._epoch + 1, 0)
        count = min(2 * len(self._steps), self._most) if (epoch, step) == after else 1
        steps = range(step, min(step + max(count, 1), max(self._order.steps, step + 1)))
        draws = self._order.draws_of(epoch, steps)
        self._steps = self._planned(epoch, *draws)
        self._epoch, self._first = epoch, step

    def _planned(
        self, epoch: int, positions: NDArray[np.int64], elements: NDArray[np.int64], valid: NDArray[np.bool_]
    ) -> list[Step]:
        """Steps of draws (steps, batch), as `Order.draws_of` gives them."""
        rows = rows_of(self._drawn, elements[valid])
        plan = None
        # Tables, up to 512 kB for one sample, are held for one batch at a time.
        if len(rows) and not (self._planner.index.records["flags"][rows] & _TABLES).any():
            plan = plan_draws(self._planner, rows, epoch, positions[valid])
        found, at = [], 0
        for i, there in enumerate(valid):
            places = np.flatnonzero(there)
            own = slice(at, at + len(places))
            part = None if plan is None else plan.part(own)
            found.append(Step(positions[i], elements[i], there, places, rows[own], part))
            at = own.stop
        return found
