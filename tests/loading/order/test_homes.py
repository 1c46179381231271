"""Draws go to the rank at home with them: same global batches, full batches, and all ranks agree without a word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.loading.order.homes import home, share_out
from radload.loading.order.order import Order
from radload.loading.order.sampling import Uniform


def slow(elements: list[int], ranks: int) -> list[int]:
    """The rule, draw by draw."""
    homes = home(np.array(elements), ranks).tolist()
    room = [len(elements) // ranks] * ranks
    found = [-1] * len(elements)
    for i, owner in enumerate(homes):
        if room[owner]:
            room[owner] -= 1
            found[i] = owner
    for i, rank in enumerate(found):
        if rank < 0:
            found[i] = next(r for r in range(ranks) if room[r])
            room[found[i]] -= 1
    return found


@settings(max_examples=100, deadline=None)
@given(
    ranks=st.integers(1, 9),
    each=st.integers(1, 12),
    low=st.integers(0, 2**40),
    seed=st.integers(0, 2**32 - 1),
    span=st.sampled_from((1, 7, 10**6)),
)
def test_the_rule(ranks: int, each: int, low: int, seed: int, span: int) -> None:
    """Also where elements come twice, as weighted draws do."""
    elements = low + np.random.default_rng(seed).integers(0, span, ranks * each)
    found = share_out(elements, ranks)
    assert found.tolist() == slow(elements.tolist(), ranks)
    assert np.bincount(found, minlength=ranks).tolist() == [each] * ranks


def test_golden() -> None:
    """Two ranks of different versions of radload must agree: never change these."""
    assert home(np.arange(16), 4).tolist() == GOLDEN


GOLDEN = [0, 0, 1, 3, 1, 1, 1, 1, 1, 0, 1, 2, 2, 2, 0, 2]


def test_homes_are_even_and_know_no_runs() -> None:
    counts = np.bincount(home(np.arange(80_000), 8))
    assert counts.min() > 9_600 and counts.max() < 10_400  # 4 standard deviations of 94
    neighbours = home(np.arange(80_000), 8)
    assert abs(float(np.mean(neighbours[1:] == neighbours[:-1])) - 1 / 8) < 0.006


@pytest.mark.parametrize("world", [1, 2, 4, 8])
@pytest.mark.parametrize("sampler", [False, True])
def test_global_batches_are_the_same_sets(world: int, sampler: bool) -> None:
    """With and without homes, for any number of ranks: positions, and what stands at them."""
    draws = Uniform(1003, 7) if sampler else None
    plain = Order(1003, 64, seed=7, sampler=draws)
    ranks = [Order(1003, 64 // world, r, world, 7, sampler=draws, homes=True) for r in range(world)]
    assert {order.steps for order in ranks} == {plain.steps}
    for epoch in (0, 3):
        for step in range(plain.steps):
            positions, elements, _ = plain.draws(epoch, step)
            parts = [order.draws(epoch, step) for order in ranks]
            assert all(len(p) == 64 // world and v.all() and (np.diff(p) > 0).all() for p, _, v in parts)
            joined = sorted(zip(*(np.concatenate([part[i] for part in parts]).tolist() for i in (0, 1)), strict=True))
            assert joined == list(zip(positions.tolist(), elements.tolist(), strict=True))


def test_most_draws_are_at_home() -> None:
    """Of batches of 256 on 8 ranks some 2 % go elsewhere; without homes 7 of 8 do."""

    def at_home(homes: bool) -> float:
        orders = [Order(100_000, 256, r, 8, homes=homes) for r in range(8)]
        drawn: list[NDArray[np.bool_]] = [
            home(order.draws(0, step)[1], 8) == order.rank for order in orders for step in range(10)
        ]
        return float(np.mean(drawn))

    assert at_home(True) > 0.96
    assert abs(at_home(False) - 1 / 8) < 0.02


def test_what_a_rank_keeps() -> None:
    elements = np.arange(1000)
    orders = [Order(1000, 10, r, 4, homes=True) for r in range(4)]
    assert np.array_equal(sum(order.own(elements).astype(int) for order in orders), np.ones(1000, int))
    assert Order(1000, 10, 1, 4).own(elements).all()


def test_only_in_training() -> None:
    with pytest.raises(ValueError, match="homes go with shuffle and drop_last"):
        Order(100, 10, 0, 2, shuffle=False, homes=True)
    with pytest.raises(IndexError, match="step 10 of 10"):
        Order(100, 5, 0, 2, homes=True).draws(0, 10)
