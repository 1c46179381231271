"""A state is refused wherever its position would mean other samples, with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from radload.errors import UsageError
from radload.loading.state import make_state, read_state

FACTS = {
    "fingerprint": "ab", "generation": 0, "split": "train", "samples": 100, "global_batch": 8, "seed": 1, "shuffle": True,
    "drop_last": True, "fit": "pad", "spacing": [1.0, 0.5],
    "sampler": "weights", "weights": {"a": 1, "b": 3}, "strata": "ab", "blocks": None,
}  # fmt: skip


def test_it_survives_json() -> None:
    state = json.loads(json.dumps(make_state(FACTS, 3, 5)))
    assert read_state(state, FACTS, steps=12) == (3, 5)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("fingerprint", "cd"), ("generation", 1), ("split", "val"), ("samples", 99), ("global_batch", 16), ("seed", 2),
        ("shuffle", False), ("drop_last", False), ("fit", "crop"), ("spacing", None), ("spacing", [1.0, 1.0]),
        ("blocks", [32, 64]), ("sampler", "uniform"), ("weights", None), ("weights", {"a": 2, "b": 3}), ("strata", "cd"),
    ],
)  # fmt: skip
def test_another_order_is_refused_by_name(name: str, other: Any) -> None:
    with pytest.raises(UsageError, match=name):
        read_state(make_state(FACTS, 0, 0), {**FACTS, name: other}, steps=12)


def test_the_remedy_for_another_global_batch_counts_the_ranks() -> None:
    state = make_state({**FACTS, "global_batch": 48}, 0, 0)
    with pytest.raises(UsageError, match="batch_size=16 on 3 ranks"):
        read_state(state, FACTS, steps=12, world_size=3)
    with pytest.raises(UsageError, match="5 ranks cannot divide 48"):
        read_state(state, FACTS, steps=12, world_size=5)


@pytest.mark.parametrize(
    "change", [{"position": 13}, {"position": -1}, {"epoch": -1}, {"version": 9}, {"position": None}]
)
def test_a_state_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        read_state({**make_state(FACTS, 0, 0), **change}, FACTS, steps=12)


def test_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="state_dict"):
        read_state({"epoch": 1}, FACTS, steps=12)
