"""The measure of mixing: pairs of one group, counted."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radload.loading.order.mixing import pair_rate, perfect_rate


@given(groups=st.lists(st.integers(0, 4), min_size=2, max_size=40), batch=st.integers(2, 9), apart=st.integers(0, 3))
def test_it_counts_pairs(groups: list[int], batch: int, apart: int) -> None:
    batches = [groups[i : i + batch] for i in range(0, len(groups) - batch + 1, batch)]
    if len(batches) <= apart:
        with pytest.raises(ValueError, match=r"batches of"):
            pair_rate(np.array(groups), batch, apart)
        return
    pairs = (
        [pair for one in batches for pair in combinations(one, 2)]
        if not apart
        else [pair for one, other in zip(batches, batches[apart:], strict=False) for pair in product(one, other)]
    )
    assert pair_rate(np.array(groups), batch, apart) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


def test_a_shuffle_has_the_perfect_rate() -> None:
    groups = np.repeat(np.arange(50), np.arange(1, 51) * 8)
    shuffled = np.random.default_rng(0).permutation(groups)
    assert perfect_rate(np.array([0, 0, 1])) == pytest.approx(1 / 3)
    for apart in (0, 1, 5):
        assert pair_rate(shuffled, 50, apart) == pytest.approx(perfect_rate(groups), rel=0.05)
