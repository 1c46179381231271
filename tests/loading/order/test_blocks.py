"""Sampler "blocks": each sample once, in runs that a reader meets as sequences, and mixed as a perfect shuffle within every batch."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.loading.order import blocks
from radload.loading.order.blocks import Blocks
from radload.loading.order.mixing import pair_rate, perfect_rate
from radload.loading.order.order import Order

LIMIT = 1.5  # times the same-patient rate of a perfect shuffle


def epoch_of(sampler: Blocks, epoch: int = 0) -> NDArray[np.int64]:
    return sampler.elements(epoch, np.arange(sampler.samples), sampler.samples)


@settings(max_examples=150, deadline=None)
@given(
    samples=st.integers(1, 700),
    block=st.integers(2, 40),
    runs=st.integers(1, 200),
    seed=st.integers(-(2**63), 2**63 - 1),
    epoch=st.integers(0, 2**32 - 1),
)
def test_each_sample_comes_once(samples: int, block: int, runs: int, seed: int, epoch: int) -> None:
    sampler = Blocks(samples, seed, block, runs)
    drawn = epoch_of(sampler, epoch)
    assert np.array_equal(np.sort(drawn), np.arange(samples))
    some = np.arange(0, samples, 3)[::-1]
    assert np.array_equal(sampler.elements(epoch, some, 0), drawn[some]), "a draw depends on no other"


def test_cursors_walk_through_runs() -> None:
    """Draws of one cursor follow each other in the split, but for one step in `block` (and where its piece ends)."""
    sampler = Blocks(40_000, 3, 32, 200)
    walks = epoch_of(sampler).reshape(-1, 200)
    follow = (np.diff(walks, axis=0) == 1).mean()
    assert 1 - 1 / 32 - 2 / 200 < follow < 1 - 1 / 32 + 1 / 200
    starts = (np.diff(walks, axis=0) != 1).sum(axis=1)
    assert starts.max() < 4 * starts.mean(), "cursors do not all come to a new run together"


def test_hardly_a_batch_holds_two_samples_of_a_run() -> None:
    """Only where two cursors' pieces share a run: a fifth as often as in a perfect shuffle, at most."""
    sampler = Blocks(40_000, 3, 32, 200)
    positions = np.arange(40_000)
    _, _, run = sampler.stretches(0, positions)
    assert pair_rate(run, 50) < 0.2 * perfect_rate(run)


def test_stretches_are_what_is_left_of_a_run() -> None:
    """And no stretch leaves the split, also where a run goes over its end to its beginning."""
    sampler = Blocks(1_003, 9, 16, 24)
    for epoch in range(5):
        elements, left, run = sampler.stretches(epoch, np.arange(1_003))
        assert np.array_equal(elements, epoch_of(sampler, epoch))
        assert left.min() == 1 and left.max() == 16 and (elements + left <= 1_003).all()
        where = {int(e): int(r) for e, r in zip(elements, run, strict=True)}
        for element, count, number in zip(elements, left, run, strict=True):
            assert all(where[int(element) + i] == number for i in range(count))


def test_epochs_cut_elsewhere() -> None:
    """Neighbours in the split are parted in another place each time, and every sample may begin a run."""
    sampler = Blocks(320, 1, 32, 10)
    first = np.stack([epoch_of(sampler, epoch)[0] for epoch in range(200)])
    assert len(set((first % 32).tolist())) > 25
    assert all(
        not np.array_equal(epoch_of(sampler, one), epoch_of(sampler, other)) for one, other in pairwise(range(5))
    )


def test_the_first_draw_is_any_sample() -> None:
    """Over epochs, chi-square with 19 degrees of freedom below its 99.99 % point."""
    sampler = Blocks(1_000, 5, 32, 64)
    first = np.array([sampler.elements(epoch, np.array([17]), 0)[0] for epoch in range(4_000)])
    count = np.bincount(first // 50, minlength=20)
    assert (((count - 200) ** 2) / 200).sum() < 50.8


def test_a_run_stays_with_its_rank() -> None:
    """Rounds are whole global batches, so what is read ahead is read by the rank that uses it."""
    sampler = Blocks(6_400, 2, 16, blocks.ROUND * 48)
    owners: dict[int, set[int]] = {}
    for rank in range(4):
        order = Order(6_400, 12, rank, 4, 2, sampler=sampler)
        for step in range(order.steps):
            _, _, run = sampler.stretches(0, order.positions(step)[0])
            for number in run.tolist():
                owners.setdefault(number, set()).add(rank)
    split = sum(len(ranks) > 1 for ranks in owners.values())
    assert split <= sampler.runs, "only the run in which one piece ends and the next begins"


def patients(count: int, seed: int) -> NDArray[np.int64]:
    """Patient of each sample: one to three series of 1 to some 700 slices (log-normal around 80) each, one after the other."""
    rng = np.random.default_rng(seed)
    sizes = [
        max(1, int(n))
        for _ in range(count)
        for n in [rng.lognormal(np.log(80), 0.9, rng.integers(1, 4)).clip(1, 700).sum()]
    ]
    return np.repeat(np.arange(count), sizes)


@pytest.mark.parametrize(("people", "batch"), [(300, 64), (300, 256), (2_000, 64), (2_000, 256)])
def test_a_batch_is_mixed_as_by_a_perfect_shuffle(people: int, batch: int) -> None:
    """With the defaults the same-patient rate within a batch, and in batches that follow each other, is at most 1.5 of it."""
    patient = patients(people, 0)
    perfect = perfect_rate(patient)
    sampler = Blocks(len(patient), 7, blocks.BLOCK, blocks.ROUND * batch)
    drawn = patient[epoch_of(sampler)]
    for apart in range(blocks.ROUND):
        assert pair_rate(drawn, batch, apart) <= LIMIT * perfect
    in_order = pair_rate(patient, batch)
    assert in_order > 10 * perfect, "the measure sees what is not mixed"
    window = np.random.default_rng(0).permuted(patient[: len(patient) // 8192 * 8192].reshape(-1, 8192), axis=1).ravel()
    assert pair_rate(window, batch) > LIMIT * perfect, "a shuffle buffer of 8,192 samples would not do"


def test_a_draw_costs_the_same_anywhere() -> None:
    """A billion rows, the millionth epoch, the last step."""
    one = Order(10**9, 256, sampler=Blocks(10**9, 1, 32, 1024))
    took = []
    for epoch, step in ((0, 0), (10**6, one.steps - 1)):
        start = time.process_time()
        _, elements, _ = one.draws(epoch, step)
        took.append(time.process_time() - start)
        assert elements.min() >= 0 and elements.max() < 10**9
    assert max(took) < 2, "CPU time; a list of a billion takes more"
