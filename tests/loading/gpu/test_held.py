"""The directory of what a device keeps: a place counts once it was filled, and comes back when it never will be."""

from __future__ import annotations

from radload.loading.gpu.held import ALIGN, ALL, Held, HeldImage


def test_a_place_counts_when_its_batch_was_copied() -> None:
    held = Held(10 * ALIGN)
    assert held.reserve((1, 0, 0.0), 7, 100, 1, (5, 10)) == 0
    assert held.find((1, 0, 0.0)) is None
    assert held.reserve((1, 0, 0.0), 8, 100, 1, (5, 10)) is None, "on its way already"
    held.settle([6], [5], 7)
    assert held.find((1, 0, 0.0)) is None
    held.settle([7], [], 0)
    assert held.find((1, 0, 0.0)) == HeldImage(0, 1, 5, 10)
    assert held.find((1, 1, 0.0)) is None and held.find((1, 0, 2.0)) is None
    assert held.reserve((1, 0, 0.0), 9, 100, 1, (5, 10)) is None


def test_what_cannot_be_trusted_is_kept_no_more() -> None:
    held = Held(4 * ALIGN)
    assert held.reserve((1, 0, 0.0), 1, ALIGN, 1, (4, 8)) == 0
    held.settle([1], [], 0)
    held.settle([], [ALL], 0)
    assert held.find((1, 0, 0.0)) is None and held.reserve((2, 0, 0.0), 2, ALIGN, 1, (4, 8)) is None


def test_what_is_given_up_leaves_its_place() -> None:
    held = Held(4 * ALIGN)
    places = [held.reserve((row, 0, 0.0), row, 2 * ALIGN, 1, (8, 8)) for row in range(3)]
    assert places == [0, 2 * ALIGN, None]
    held.settle([], [1], 0)
    assert held.reserve((9, 0, 0.0), 9, 2 * ALIGN, 1, (8, 8)) == 2 * ALIGN
    held.settle([], [], 5)  # batch 0 was cancelled
    assert held.reserve((10, 0, 0.0), 10, 2 * ALIGN - 1, 1, (8, 8)) == 0
    held.settle([0, 9, 10], [], 11)
    assert [held.find((row, 0, 0.0)) is not None for row in (0, 1, 9, 10)] == [False, False, True, True]
