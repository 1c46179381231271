"""The order is arithmetic: a bijection of every epoch, the same for ever, and the same however many ranks share it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radload.errors import UsageError
from radload.loading.order.order import Order
from radload.loading.order.permutation import Permutation


def test_golden() -> None:
    """A run that is resumed with a newer radload must see the same order: never change these."""
    order = Permutation(100_003, seed=42, epoch=7).at(np.arange(100_003))
    assert order[:6].tolist() == GOLDEN_FIRST
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:32] == GOLDEN_HASH


GOLDEN_FIRST = [42667, 2307, 41089, 689, 84918, 28756]
GOLDEN_HASH = "0076ccf93a917a73bbbfc9c5130ba90e"


@pytest.mark.parametrize("n", range(1, 201))
def test_bijection_for_small_sizes(n: int) -> None:
    for epoch in (0, 1):
        assert np.array_equal(np.sort(Permutation(n, 3, epoch).at(np.arange(n))), np.arange(n))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 300_000), seed=st.integers(-(2**63), 2**63 - 1), epoch=st.integers(0, 2**32 - 1))
def test_bijection(n: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(Permutation(n, seed, epoch).at(np.arange(n))), np.arange(n))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(10**6, 2**48), seed=st.integers(0, 2**63 - 1))
def test_huge_sizes_take_no_memory(n: int, seed: int) -> None:
    positions = np.unique(np.random.default_rng(seed % 2**32).integers(0, n, 500))
    found = Permutation(n, seed, 0).at(positions)
    assert len(np.unique(found)) == len(positions)
    assert found.min() >= 0 and found.max() < n
    assert np.array_equal(Permutation(n, seed, 0).at(positions[::-1]), found[::-1]), (
        "a position's element depends on nothing else"
    )


def test_epochs_and_seeds_differ() -> None:
    n = 5_000
    first = Permutation(n, 1, 0).at(np.arange(n))
    for other in (Permutation(n, 1, 1), Permutation(n, 2, 0), Permutation(n, 2**40 + 1, 0)):
        assert np.mean(first == other.at(np.arange(n))) < 0.002


@pytest.mark.parametrize("n", [5, 130, 1000])
def test_uniform(n: int) -> None:
    """Over epochs every element comes equally often at a position, and neighbours do not stay neighbours."""
    epochs = 1200
    start = np.array([0, 1, n // 2])
    seen = np.stack([Permutation(n, 11, e).at(start) for e in range(epochs)])  # (epochs, 3)
    for column in seen.T:
        counts = np.bincount(column * 5 // n, minlength=5)
        expected = np.bincount(np.arange(n) * 5 // n, minlength=5) * epochs / n
        assert (((counts - expected) ** 2) / expected).sum() < 23.5, "chi-square with 4 degrees of freedom, p = 0.0001"
    gap = np.abs(seen[:, 0] - seen[:, 1])
    assert abs(gap.mean() / ((n + 1) / 3) - 1) < 0.08


def test_a_position_outside_is_refused() -> None:
    for bad in ([-1], [10]):
        with pytest.raises(IndexError):
            Permutation(10, 0, 0).at(np.array(bad))


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_ranks_together_see_what_one_sees(world: int) -> None:
    one = Order(100, batch_size=12, seed=5)
    parts = [Order(100, batch_size=12 // world, rank=r, world_size=world, seed=5) for r in range(world)]
    assert {part.steps for part in parts} == {one.steps} == {8}
    for step in range(one.steps):
        positions, elements, _ = one.draws(3, step)
        together = [part.draws(3, step) for part in parts]
        assert np.array_equal(np.concatenate([t[0] for t in together]), positions)
        assert np.array_equal(np.concatenate([t[1] for t in together]), elements)


def test_the_tail_left_out_changes() -> None:
    order = Order(30, batch_size=4, seed=1)
    missing = []
    for epoch in range(20):
        seen = np.concatenate([order.draws(epoch, s)[1] for s in range(order.steps)])
        assert len(seen) == len(set(seen.tolist())) == 28
        missing.append(frozenset(range(30)) - set(seen.tolist()))
    assert len(set(missing)) > 10


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(0, 200), batch=st.integers(1, 20), world=st.integers(1, 5))
def test_evaluation_covers_each_sample_once(samples: int, batch: int, world: int) -> None:
    orders = [Order(samples, batch, r, world, shuffle=False, drop_last=False) for r in range(world)]
    seen: list[int] = []
    for order in orders:
        for step in range(order.steps):
            _, elements, valid = order.draws(0, step)
            assert len(elements) == batch
            assert np.array_equal(elements >= 0, valid)
            seen += elements[valid].tolist()
    assert sorted(seen) == list(range(samples))
    assert len({order.steps for order in orders}) == 1


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 1), (0, 0)])
def test_a_rank_that_does_not_exist_is_refused(rank: int, world: int) -> None:
    with pytest.raises(UsageError, match="rank"):
        Order(10, 1, rank, world)


def test_slices_of_a_patient_meet_as_often_as_in_a_perfect_shuffle() -> None:
    """A patient's slices are neighbours in the shards; pairs of one patient in a batch stay within 4 standard deviations."""
    slices, patients, batch = 40, 500, 250
    order = Order(slices * patients, batch, seed=8)
    pairs = 0
    for epoch in range(4):
        for step in range(order.steps):
            counts = np.bincount(order.draws(epoch, step)[1] // slices)
            pairs += int((counts * (counts - 1) // 2).sum())
    expected = 4 * order.steps * batch * (batch - 1) / 2 * (slices - 1) / (slices * patients - 1)
    assert abs(pairs - expected) < 4 * expected**0.5
