"""Random numbers are a function of what they are drawn for: the published generator, the same for ever."""

from __future__ import annotations

import numpy as np
import pytest

from radload.loading.order.random import philox, stand_in, uniform, words

# Random123 (Salmon et al. 2011), kat_vectors: philox4x32 with 10 rounds. Counter, key, result.
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_published_vectors(counter: str, key: str, result: str) -> None:
    c, k, r = ([int(w, 16) for w in text.split()] for text in (counter, key, result))
    assert philox(np.array(c, np.uint64), (k[0], k[1])).tolist() == r


def test_golden() -> None:
    """Changing these changes every augmentation of a run that is resumed."""
    assert words(42, 7, np.array([0, 2**33 + 5]), 1, 5).tolist() == GOLDEN


GOLDEN = [
    [1691421484, 4174525207, 2082569680, 3928782067, 3902890844],
    [3783011465, 3570645877, 413019776, 2084872129, 1093986453],
]


def test_a_draw_depends_on_its_own_numbers_only() -> None:
    positions = np.arange(1000)
    whole = uniform(words(1, 2, positions, 0, 23))
    assert np.array_equal(uniform(words(1, 2, positions[500:501], 0, 23)), whole[500:501])
    assert np.array_equal(uniform(words(1, 2, positions, 0, 7)), whole[:, :7])


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 3}, {"view": 1}, {"seed": 1 + 2**40}])
def test_everything_it_is_drawn_for_matters(change: dict[str, int]) -> None:
    base = {"seed": 1, "epoch": 2, "view": 0}
    arguments = base | change
    one = uniform(words(base["seed"], base["epoch"], np.arange(50), base["view"], 4))
    other = uniform(words(arguments["seed"], arguments["epoch"], np.arange(50), arguments["view"], 4))
    assert not np.any(one == other)


def test_uniform() -> None:
    drawn = uniform(words(9, 0, np.arange(20_000), 0, 4))
    assert drawn.min() > 0 and drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 0.004 and abs(drawn.var() - 1 / 12) < 0.001
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.02


def test_stand_ins_are_inside_and_differ_by_attempt() -> None:
    drawn = [[stand_in(1, 0, p, attempt, 1000) for attempt in range(8)] for p in range(200)]
    assert np.min(drawn) >= 0 and np.max(drawn) < 1000
    assert all(len(set(row)) > 4 for row in drawn)
    assert abs(np.mean(drawn) / 499.5 - 1) < 0.05
    assert stand_in(1, 0, 0, 0, 1) == 0
