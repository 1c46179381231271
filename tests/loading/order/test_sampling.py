"""Samplers are arithmetic: the same for ever and on any number of ranks, exact in their shares, and nothing comes twice too early."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.errors import FormatError
from radload.loading.order.blocks import Blocks
from radload.loading.order.order import Order
from radload.loading.order.permutation import permuted
from radload.loading.order.sampling import OWN_ATTEMPTS, Patients, RowLists, Sampler, Strata, Uniform

SIZES = np.array([200, 3, 61, 1, 40])  # rows of five groups, which a split of 305 rows holds in this order
GROUP = np.repeat(np.arange(5), SIZES)


def lists(sizes: NDArray[Any] = SIZES, rows: Any = None) -> RowLists:
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    total = int(sizes.sum())
    rows = np.arange(total, dtype=np.uint64) + np.uint64(1000) if rows is None else rows
    return RowLists(rows, starts[:, None], sizes[:, None], 1000, 1000 + total, "the list")


def make(name: str, seed: int = 11) -> Sampler:
    total = int(SIZES.sum())
    if name == "uniform":
        return Uniform(total, seed)
    if name == "blocks":
        return Blocks(total, seed, 7, 96)
    if name == "patient":
        return Patients(lists(np.array([3] * 100 + [1] * 5)), seed, total)
    quotas = np.ones(5, np.int64) if name == "balanced" else np.array([7, 1, 3, 2, 5])
    return Strata(lists(), quotas, total, seed, total)


def order(name: str, batch: int, rank: int = 0, world: int = 1, seed: int = 11) -> Order:
    sampler = make(name, seed)
    return Order(sampler.samples, batch, rank, world, seed, sampler=sampler)


def run(one: Order, epochs: int) -> NDArray[np.int64]:
    """All elements drawn, step by step."""
    return np.concatenate([one.draws(e, s)[1] for e in range(epochs) for s in range(one.steps)])


NAMES = ["uniform", "balanced", "weights", "patient", "blocks"]

# A run that is resumed with a newer radload must see the same order: never change these.
GOLDEN = {
    "uniform": "40a747113a5e18ef0e961b3064605b30",
    "balanced": "b5680ce69a6a4e999d29521bd970a299",
    "weights": "085132c8c328b52611d13883716f6d47",
    "patient": "62322f1bff9bb0a7ca8a010eed18eb90",
    "blocks": "0f8ddd2ca9174dd963864b99ed62d11d",
}


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    drawn = run(order(name, 48), 5)
    assert hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest()[:32] == GOLDEN[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_a_global_batch_is_the_same_draws_on_any_number_of_ranks(name: str, world: int) -> None:
    """Global batch 48: each draw with its position."""
    whole = order(name, 48)
    parts = [order(name, 48 // world, rank, world) for rank in range(world)]
    assert {part.steps for part in parts} == {whole.steps}
    for epoch in range(3):
        for step in range(whole.steps):
            together = [part.draws(epoch, step) for part in parts]
            for of_parts, of_whole in zip(zip(*together, strict=True), whole.draws(epoch, step), strict=True):
                assert np.array_equal(np.concatenate(of_parts), of_whole)


@pytest.mark.parametrize("name", NAMES)
def test_epochs_and_seeds_differ(name: str) -> None:
    first, second = order(name, 35), order(name, 35, seed=12)
    one = [first.draws(epoch, 0)[1].tolist() for epoch in range(6)] + [second.draws(0, 0)[1].tolist()]
    assert len({tuple(drawn) for drawn in one}) == 7


def occasions(drawn: NDArray[np.int64], group: int) -> list[list[int]]:
    """What was drawn of a group, pass by pass: as many draws as it has rows."""
    own = drawn[GROUP[drawn] == group].tolist()
    size = int(SIZES[group])
    return [own[i : i + size] for i in range(0, len(own) - size + 1, size)]


@pytest.mark.parametrize("batch", [48, 7, 305])
def test_balanced_takes_classes_equally_and_all_of_a_class_before_any_again(batch: int) -> None:
    """The last batch of an epoch leaves draws out; the passes go on as if it had not."""
    drawn = run(order("balanced", batch), 9)
    counts = np.bincount(GROUP[drawn], minlength=5)
    assert counts.max() - counts.min() <= 1, "every block holds each class once: far inside of binomial bounds"
    for group, size in enumerate(SIZES):
        passes = occasions(drawn, group)
        assert len(passes) >= 2
        assert all(len(set(one)) == size for one in passes)
        if size > 3:
            assert all(one != other for one, other in pairwise(passes)), "each pass is another order"


def test_weights_are_kept_in_every_block() -> None:
    drawn = run(order("weights", 18), 40)
    blocks = GROUP[drawn].reshape(-1, 18)
    assert (np.stack([np.bincount(b, minlength=5) for b in blocks]) == [7, 1, 3, 2, 5]).all()
    for group, size in enumerate(SIZES):
        assert all(len(set(one)) == size for one in occasions(drawn, group))
    # Within a block every place is as likely for a class as its share: chi-square, 17 degrees of freedom, p = 0.0001.
    places = np.array([np.flatnonzero(b == 1)[0] for b in blocks])
    expected = len(blocks) / 18
    assert (((np.bincount(places, minlength=18) - expected) ** 2) / expected).sum() < 45.1


def test_classes_of_a_batch_follow_no_pattern() -> None:
    """In batches that cut blocks, the class of a draw is independent of its place in the batch (chi-square, 4 degrees, p = 0.0001)."""
    drawn = GROUP[run(order("balanced", 7), 60)].reshape(-1, 7)
    for place in range(7):
        expected = len(drawn) / 5
        assert (((np.bincount(drawn[:, place], minlength=5) - expected) ** 2) / expected).sum() < 23.5


def test_patients_come_once_per_epoch_and_go_through_their_slices() -> None:
    one = order("patient", 35)  # divides 105 patients
    sizes = np.array([3] * 100 + [1] * 5)
    patient = np.repeat(np.arange(105), sizes)
    epochs = [run_epoch(one, epoch) for epoch in range(6)]
    for drawn in epochs:
        assert sorted(patient[drawn].tolist()) == list(range(105))
    for first in (0, 3):  # three slices, three epochs
        seen = Counter(np.concatenate(epochs[first : first + 3]).tolist())
        assert all(seen[row] == (1 if row < 300 else 3) for row in range(305))
    cut = order("patient", 48)
    for epoch in range(3):
        assert len(set(patient[run_epoch(cut, epoch)].tolist())) == 96, (
            "what fills no batch is left out, nobody comes twice"
        )


def run_epoch(one: Order, epoch: int) -> NDArray[np.int64]:
    return np.concatenate([one.draws(epoch, step)[1] for step in range(one.steps)])


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=12),
    data=st.data(),
    batch=st.integers(1, 40),
    seed=st.integers(-(2**63), 2**63 - 1),
)
def test_no_class_repeats_before_it_is_through(sizes: list[int], data: st.DataObject, batch: int, seed: int) -> None:
    """For any classes and shares, over the ends of epochs; counts within a block of the shares."""
    quotas = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(sizes), max_size=len(sizes))))
    total = sum(sizes)
    sampler = Strata(lists(np.array(sizes)), quotas, total, seed, total)
    one = Order(total, min(batch, total), seed=seed, sampler=sampler)
    drawn, group = run(one, 3), np.repeat(np.arange(len(sizes)), sizes)
    counts = np.bincount(group[drawn], minlength=len(sizes))
    assert (np.abs(counts - len(drawn) * quotas / quotas.sum()) <= quotas).all()
    for which, size in enumerate(sizes):
        own = drawn[group[drawn] == which].tolist()
        for start in range(0, len(own), size):
            part = own[start : start + size]
            assert len(set(part)) == len(part)


class _Endless:
    """A row list of any length: entry i is row i."""

    def __getitem__(self, at: NDArray[np.int64]) -> NDArray[np.uint64]:
        return np.asarray(at).astype(np.uint64)


@pytest.mark.parametrize("name", ["balanced", "patient"])
def test_a_draw_costs_the_same_anywhere(name: str) -> None:
    """A billion rows, the millionth epoch, the last step: no list, no counting from the start."""
    sizes = np.full(1000, 1_000_000) if name == "balanced" else np.full(100_000, 10_000)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows = RowLists(_Endless(), starts[:, None], sizes[:, None], 0, 10**9, "rows")  # type: ignore[arg-type]
    sampler: Sampler = Patients(rows, 1, 10**9)
    if name == "balanced":
        sampler = Strata(rows, np.ones(1000, np.int64), 10**9, 1, 10**9)
    one = Order(sampler.samples, 256, sampler=sampler)
    took = []
    for epoch, step in ((0, 0), (10**6, one.steps - 1)):
        start = time.process_time()
        _, elements, _ = one.draws(epoch, step)
        took.append(time.process_time() - start)
        assert elements.min() >= 0 and elements.max() < 10**9
    assert max(took) < 2, "CPU time; a list of a billion takes more"


@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 64, 200])
def test_many_permutations_at_once_are_bijections(n: int) -> None:
    turns = np.repeat(np.arange(50), n)
    found = permuted(np.full(50 * n, n), 5, turns % 7, turns, np.tile(np.arange(n), 50)).reshape(50, n)
    assert (np.sort(found, axis=1) == np.arange(n)).all()
    alone = permuted(np.array([n, 17]), 5, np.array([3, 1]), np.array([10, 0]), np.array([n // 2, 4]))
    assert alone[0] == found[10, n // 2], "what else is asked for changes nothing"


@pytest.mark.parametrize("n", [2, 3, 5, 32, 33, 40])
def test_many_permutations_are_uniform(n: int) -> None:
    """Over turns each element stands equally often at a place: chi-square against its 99.99 % point (Wilson and Hilferty)."""
    turns = np.arange(20_000)
    for place in (0, n - 1):
        count = np.bincount(
            permuted(np.full(20_000, n), 9, np.full(20_000, 4), turns, np.full(20_000, place)), minlength=n
        )
        square = (((count - 20_000 / n) ** 2) / (20_000 / n)).sum()
        free = n - 1
        assert square < free * (1 - 2 / (9 * free) + 3.72 * (2 / (9 * free)) ** 0.5) ** 3


@pytest.mark.parametrize("name", ["balanced", "weights"])
def test_a_stand_in_is_of_the_same_class(name: str) -> None:
    one = order(name, 48)
    _, elements, _ = one.draws(2, 1)
    for place, element in enumerate(elements):
        found = [one.stand_in(2, 48 + place, attempt) for attempt in range(8)]
        own = [GROUP[row] == GROUP[element] for row in found]
        assert all(own[:OWN_ATTEMPTS])
        if GROUP[element] == 3:  # the only one of its class: the others come to its help
            assert found[0] == element and not all(own)
    assert one.stand_in(2, 48, 0) == one.stand_in(2, 48, 0)


def test_a_stand_in_is_of_the_same_patient() -> None:
    one = order("patient", 35)
    _, elements, _ = one.draws(1, 0)
    patient = np.repeat(np.arange(105), [3] * 100 + [1] * 5)
    for place, element in enumerate(elements):
        found = [one.stand_in(1, place, attempt) for attempt in range(8)]
        assert {int(patient[row]) for row in found[:OWN_ATTEMPTS]} == {int(patient[element])}
        assert len({int(patient[row]) for row in found[OWN_ATTEMPTS:]}) > 1


def test_rows_of_another_split_are_refused() -> None:
    rows = np.arange(305, dtype=np.uint64) + np.uint64(1000)
    rows[:200] = 999
    sampler = Strata(lists(rows=rows), np.ones(5, np.int64), 305, 11, 305)
    with pytest.raises(FormatError, match="another split"):
        run(Order(305, 48, sampler=sampler), 1)


def test_pieces_of_a_group_are_one_list() -> None:
    """Without a split a class has a piece per split."""
    found = RowLists(
        np.arange(12, dtype=np.uint64), np.array([[0, 6, 9], [3, 8, 9]]), np.array([[3, 2, 0], [3, 1, 3]]), 0, 12, "x"
    )
    assert found.sizes(np.array([0, 1])).tolist() == [5, 7]
    assert found.elements(np.zeros(5, np.int64), np.arange(5)).tolist() == [0, 1, 2, 6, 7]
    assert found.elements(np.ones(7, np.int64), np.arange(7)).tolist() == [3, 4, 5, 8, 9, 10, 11]
