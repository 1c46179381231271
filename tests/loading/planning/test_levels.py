"""The level of a draw follows from sample, crop and output size only, and never loses what the output needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.errors import UsageError
from radload.loading.planning.levels import check_resolution, choose_levels

TABLE = [
    # crop height, width, safe levels, narrow, output, slack -> level
    (512, 512, 5, False, (224, 224), 1.0, 1),
    (447, 512, 5, False, (224, 224), 1.0, 0),
    (448, 448, 5, False, (224, 224), 1.0, 1),
    (512, 512, 5, False, (224, 224), 1.5, 1),
    (300, 300, 5, False, (224, 224), 1.5, 1),
    (512, 512, 5, False, (128, 128), 1.0, 2),
    (512, 512, 1, False, (128, 128), 1.0, 1),
    (512, 512, 0, False, (128, 128), 1.0, 0),
    (512, 512, 5, True, (128, 128), 1.0, 0),
    (4096, 3000, 5, False, (224, 224), 1.0, 3),
    (4096, 3000, 5, False, (64, 200), 1.0, 3),
    (100, 100, 5, False, (224, 224), 1.0, 0),
]


@pytest.mark.parametrize(("height", "width", "safe", "narrow", "size", "slack", "level"), TABLE)
def test_table(
    height: int, width: int, safe: int, narrow: bool, size: tuple[int, int], slack: float, level: int
) -> None:
    box = np.array([[3, 5, height, width]])
    assert choose_levels(box, np.array([safe], np.uint8), np.array([narrow]), size, slack).tolist() == [level]
    assert choose_levels(box, np.array([safe]), np.array([narrow]), size, slack, "full").tolist() == [0]


@given(
    height=st.integers(1, 9000),
    width=st.integers(1, 9000),
    safe=st.integers(0, 5),
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    slack=st.sampled_from([1.0, 1.25, 1.5, 2.0]),
)
def test_it_is_the_largest_level_that_has_enough(
    height: int, width: int, safe: int, size: tuple[int, int], slack: float
) -> None:
    box = np.array([[0, 0, height, width]])
    level = int(choose_levels(box, np.array([safe]), np.array([False]), size, slack)[0])

    def enough(k: int) -> bool:
        return height / 2**k >= size[0] / slack and width / 2**k >= size[1] / slack

    assert level == 0 or enough(level)
    assert level == safe or not enough(level + 1)


def test_an_empty_batch() -> None:
    assert choose_levels(np.zeros((0, 4), np.int64), np.zeros(0, np.uint8), np.zeros(0, bool), (8, 8)).tolist() == []


@pytest.mark.parametrize(("resolution", "slack"), [("half", 1.0), ("auto", 0.0), ("auto", float("nan"))])
def test_bad_arguments_are_refused(resolution: str, slack: float) -> None:
    with pytest.raises(UsageError):
        check_resolution(resolution, slack)
