"""From plans of single images to plans of draws: all their views, of all their slices, at one level per slice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radload.kernels.prepare import SAMPLE
from radload.loading.planning.plan import BatchPlan, Planner

_OF_THE_SLICE = ("rows", "cols", "level", "padding_first", "padding_last")  # all else in SAMPLE is the draw's


def plan_draws(planner: Planner, rows: NDArray[np.int64], epoch: int, positions: NDArray[np.int64]) -> BatchPlan:
    """Plan draws of `rows` (n,) at `positions` (n,) of an epoch, as the planner's settings ask for them.

    The plan has an entry for every slice of every draw; `further` are its other views. A slice is decoded at the lowest level
    that one of its views needs, so the level is a function of the sample and its crops still.
    """
    settings = planner.settings
    slices, views = settings.neighbours.slices, settings.views.total
    if slices == views == 1:
        return planner.plan(rows, epoch, positions)
    if slices > 1:
        rows, positions = planner.beside.rows(rows).reshape(-1), np.repeat(positions, slices)
    plans = [planner.plan(rows, epoch, positions, view) for view in range(views)]
    levels = np.minimum.reduce([plan.levels for plan in plans])
    plans = [_joined(plan, plans[0], levels, slices) for plan in plans]
    return replace(plans[0], further=tuple(plans[1:]))


def _joined(plan: BatchPlan, first: BatchPlan, levels: NDArray[np.int64], slices: int) -> BatchPlan:
    """One view's plan at the draws' levels, with the geometry of the drawn slice for all slices of a draw."""
    samples = plan.samples.copy()
    samples["level"] = levels
    if slices > 1:
        drawn = np.arange(len(samples)) // slices * slices + slices // 2
        for name in SAMPLE.names or ():
            if name not in _OF_THE_SLICE:
                samples[name] = samples[name][drawn]
    tables = first.tables if np.array_equal(first.tables, plan.tables) else plan.tables
    return replace(plan, levels=levels, samples=samples, tables=tables, slices=slices)
