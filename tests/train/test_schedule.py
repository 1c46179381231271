"""The learning rate is a pure function of the step: rises in a line, falls as half a cosine, and depends on nothing else."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.train.schedule import lr_at


@given(st.integers(1, 5000), st.floats(0, 0.9), st.floats(1e-6, 10))
def test_one_rise_then_one_fall_within_bounds(total: int, warmup: float, peak: float) -> None:
    rates = [lr_at(step, total, peak, warmup) for step in range(total)]
    top = rates.index(max(rates))
    assert top == min(round(warmup * total), total - 1)
    assert rates[top] == pytest.approx(peak)
    assert all(a < b for a, b in pairwise(rates[: top + 1]))
    assert all(a > b for a, b in pairwise(rates[top:]))
    assert min(rates) > 0


def test_halfway_through_the_cosine_is_half_the_peak() -> None:
    assert lr_at(60, 110, 0.4, 10 / 110) == pytest.approx(0.2)
    assert lr_at(0, 110, 0.4, 10 / 110) == pytest.approx(0.4 / 11)
    assert lr_at(109, 110, 0.4, 10 / 110) == pytest.approx(0.2 * (1 + math.cos(math.pi * 0.99)))
