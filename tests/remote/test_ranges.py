"""Ranges asked for ahead: what lies together in one request, every range as if it had been read alone."""

from __future__ import annotations

import os
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radload.errors import RadloadError
from radload.remote.ranges import Ranges

CONTENT = [os.urandom(1 << 20), os.urandom(1 << 20)]


class Objects:
    def __init__(self) -> None:
        self.reads: list[tuple[str, int, int]] = []
        self.wait = Event()
        self.wait.set()

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        self.wait.wait(10)
        self.reads.append((name, offset, length))
        if name == "bad":
            raise RadloadError("cannot be reached")
        return CONTENT[int(name)][offset : offset + length]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 900_000), st.integers(1, 100_000)), max_size=30))
def test_every_range_is_its_own_bytes(asked: list[tuple[int, int, int]]) -> None:
    store = Objects()
    ranges = Ranges(store, ["0", "1"])  # type: ignore[arg-type]
    ranges.ask([a[0] for a in asked], [a[1] for a in asked], [a[2] for a in asked])
    for shard, offset, length in set(asked):
        assert ranges.take(shard, offset, length) == CONTENT[shard][offset : offset + length]
        assert ranges.take(shard, offset, length) is None, "given once"
    assert len(store.reads) <= len(set(asked))
    ranges.close()


def test_neighbours_are_one_request() -> None:
    store = Objects()
    ranges = Ranges(store, ["0", "1"])  # type: ignore[arg-type]
    assert ranges.ask([0, 0, 0, 1], [0, 60_000, 400_000, 60_000], [50_000] * 4) == 3
    assert ranges.take(0, 60_000, 50_000) == CONTENT[0][60_000:110_000]
    assert ranges.take(1, 60_000, 50_000) == CONTENT[1][60_000:110_000]
    assert ranges.take(0, 400_000, 50_000) == CONTENT[0][400_000:450_000]
    assert sorted(store.reads) == [("0", 0, 110_000), ("0", 400_000, 50_000), ("1", 60_000, 50_000)]
    ranges.close()


@pytest.mark.parametrize("shards", [[0], [0, 0]])
def test_what_fails_is_left_to_the_reader(shards: list[int]) -> None:
    ranges = Ranges(Objects(), ["bad"])  # type: ignore[arg-type]
    ranges.ask(shards, [0, 10][: len(shards)], [10] * len(shards))
    assert all(ranges.take(0, offset, 10) is None for offset in (0, 10))
    ranges.close()


def test_what_was_dropped_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader that was moved leaves ranges that nobody reads: the oldest are forgotten."""
    monkeypatch.setattr("radload.remote.ranges._REMEMBERED", 4)
    store = Objects()
    store.wait.clear()
    ranges = Ranges(store, ["0", "1"])  # type: ignore[arg-type]
    for i in range(8):
        ranges.ask([0], [i * 100_000], [10])
    store.wait.set()
    assert [ranges.take(0, i * 100_000, 10) is not None for i in range(8)] == [False] * 4 + [True] * 4
    ranges.close()
