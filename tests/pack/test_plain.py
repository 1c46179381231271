"""What goes into the private folder as JSON comes back equal, and nothing else comes back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.pack.plain import dumps, loads


class Colour(IntEnum):
    RED = 3


@dataclass(frozen=True)
class Inner:
    numbers: tuple[float, ...]
    pair: tuple[int, str | None] | None
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Outer:
    name: str
    path: Path
    kind: Literal["a", "b"]
    flag: bool
    inner: Inner | None
    some: frozenset[int] = frozenset()
    table: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    parts: tuple[Inner, ...] = ()


floats = st.floats(allow_nan=False)
names = st.text(st.characters(exclude_categories=()), max_size=8)
whole = st.integers(-(1 << 80), 1 << 80)
inners = st.builds(Inner, st.lists(floats).map(tuple), st.none() | st.tuples(whole, st.none() | names))
outers = st.builds(
    Outer,
    names,
    names.map(lambda name: Path("/", name.replace("\0", "0"))),
    st.sampled_from(["a", "b"]),
    st.booleans(),
    st.none() | inners,
    st.frozensets(whole, max_size=5),
    st.dictionaries(whole, st.tuples(whole, whole), max_size=3),
    st.lists(inners, max_size=3).map(tuple),
)


@given(outers)
def test_what_goes_in_comes_back(value: Outer) -> None:
    back = loads(Outer, dumps(value))
    assert back == value and dumps(back) == dumps(value), "1 and 1.0, or -0.0 and 0.0, are equal but not the same"


def test_numbers_that_equal_nothing_come_back() -> None:
    back = loads(Inner, dumps(Inner((math.nan, math.inf), None)))
    assert math.isnan(back.numbers[0]) and back.numbers[1] == math.inf


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"[1]",
        b'{"name": 1}',
        b"nothing",
        b'["x", "/", "c", true, null, [], [], []]',
        b'["x", "/", "a", "yes", null, [], [], []]',
        b'["x", "/", "a", true, [[1.5], null, "GREEN"], [], [], []]',
        b"[" * 100_000,
    ],
)
def test_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(Outer, content)


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes cannot be written"):
        dumps(Inner((b"x",), None))  # type: ignore[arg-type]
