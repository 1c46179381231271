"""What a dataclass may hold comes back from Arrow as it was, nested as deep as it may be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import IntEnum, StrEnum
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.pack.arrow_kinds import kind_of


class Colour(IntEnum):
    RED = 7
    BLUE = 9


class Way(StrEnum):
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Inner:
    way: Way
    pairs: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner | None
    points: tuple[tuple[float, float, float], ...] | None
    numbers: frozenset[int]
    names: frozenset[str]
    colour: Colour
    day: date | None
    sure: bool
    many: tuple[Inner, ...]


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
whole = st.integers(-(2**63), 2**63 - 1)
inner = st.builds(Inner, st.sampled_from(Way), st.lists(st.tuples(words, st.none() | whole), max_size=3).map(tuple))
finite = st.floats(allow_nan=False)
outer = st.builds(
    Outer,
    words,
    st.none() | inner,
    st.none() | st.lists(st.tuples(finite, finite, finite), max_size=3).map(tuple),
    st.frozensets(whole, max_size=3),
    st.frozensets(words, max_size=3),
    st.sampled_from(Colour),
    st.none() | st.dates(),
    st.booleans(),
    st.lists(inner, max_size=2).map(tuple),
)


@given(st.lists(outer, min_size=1, max_size=4))
def test_values_come_back_as_they_were(values: list[Outer]) -> None:
    kind = kind_of(Outer)
    array = pa.array([kind.encode(value) for value in values], kind.type)
    assert [kind.decode(value) for value in array.to_pylist()] == values


@pytest.mark.parametrize("hint", [dict[str, int], str | int, list[int], complex, Any, tuple])
def test_an_annotation_without_a_type_is_an_error(hint: Any) -> None:
    with pytest.raises(TypeError, match="no column type is known"):
        kind_of(hint)
