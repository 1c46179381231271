"""A state is refused wherever its position would mean other samples, with the reason."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from radload.errors import UsageError
from radload.loading import Loader
from radload.loading.state import make_state, read_state

FACTS = {
    "fingerprint": "ab", "generation": 0, "split": "train", "samples": 100, "global_batch": 8, "seed": 1, "shuffle": True,
    "drop_last": True, "fit": "pad", "spacing": [1.0, 0.5], "augment": {"rotate": 5.0},
    "views": {"count": 2}, "neighbours": [1, None, "repeat"],
    "sampler": "weights", "weights": {"a": 1, "b": 3}, "strata": "ab", "blocks": None,
}  # fmt: skip


def test_it_survives_json() -> None:
    state = json.loads(json.dumps(make_state(FACTS, 3, 5)))
    assert read_state(state, FACTS, steps=12) == (3, 5)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("fingerprint", "cd"), ("generation", 1), ("split", "val"), ("samples", 99), ("global_batch", 16), ("seed", 2),
        ("shuffle", False), ("drop_last", False), ("fit", "crop"), ("spacing", None), ("spacing", [1.0, 1.0]), ("neighbours", None),
        ("augment", None), ("views", None), ("blocks", [32, 64]),
        ("sampler", "uniform"), ("weights", None), ("weights", {"a": 2, "b": 3}), ("strata", "cd"),
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


def test_every_step_can_be_gone_on_from_on_any_number_of_ranks_within_a_second(ct_data: Path) -> None:
    """Two epochs of five global batches of 6: bit-equal batches from each of the ten places, the last as quick as the first."""
    options: dict[str, Any] = {"size": 24, "seed": 4, "threads": 1, "augment": "default"}
    run, states, took = [], [], []
    with Loader(ct_data, batch_size=6, **options) as loader:
        for _ in range(2):
            for batch in loader:
                run.append(batch)
                states.append(loader.state_dict())
    places = [(rank, world) for world in (1, 2, 3) for rank in range(world)]
    loaders = [Loader(ct_data, batch_size=6 // w, rank=r, world_size=w, **options) for r, w in places]
    for loader in loaders:
        next(iter(loader))  # the process has started, and its kernel is there
    for done, state in enumerate(states[:-1], 1):
        assert (state["epoch"], state["position"]) == divmod(done, 5)
        for (rank, world), loader in zip(places, loaders, strict=True):
            began = time.perf_counter()
            loader.load_state_dict(state)
            got = [next(iter(loader))]
            took.append(time.perf_counter() - began)
            if world == 1:  # and over the end of the epoch
                endless = itertools.chain.from_iterable(itertools.repeat(loader))
                got += itertools.islice(endless, min(2, len(run) - done - 1))
            part = slice(rank * (6 // world), (rank + 1) * (6 // world))
            for want, batch in zip(run[done:], got, strict=False):
                assert all(torch.equal(batch[name], want[name][part]) for name in ("image", "index", "label"))
    for loader in loaders:
        loader.close()
    assert statistics.median(took) < 1, "some may meet other work of the machine"


def test_the_billionth_epoch_is_as_near(ct_data: Path) -> None:
    with Loader(ct_data, batch_size=6, size=24, threads=1) as loader:
        next(iter(loader))
        for epoch, position in ((0, 3), (1_000_000_000, 3)):
            took = []
            for _ in range(3):
                began = time.perf_counter()
                loader.load_state_dict({**loader.state_dict(), "epoch": epoch, "position": position})
                next(iter(loader))
                took.append(time.perf_counter() - began)
                assert loader.epoch == epoch
            assert min(took) < 1


@pytest.mark.parametrize(("position", "epoch"), [(0, 3), (1, 4), (12, 4), (99, 4)])
def test_a_state_of_another_version_goes_on_at_the_next_pass(position: int, epoch: int) -> None:
    """99: the version before had more steps."""
    now = {**FACTS, "generation": 2, "fingerprint": "cd", "samples": 70, "strata": "cd"}
    state = make_state(FACTS, 3, position)
    with pytest.raises(UsageError, match=r"generation=0.*another version.*version=0.*allow_new_version"):
        read_state(state, now, steps=12)
    assert read_state(state, now, steps=12, allow_new_version=True) == (epoch, 0)


def test_what_is_no_matter_of_versions_is_refused_all_the_same() -> None:
    state = make_state(FACTS, 3, 5)
    for change in ({"seed": 2}, {"global_batch": 16}, {"spacing": None}):
        with pytest.raises(UsageError, match=next(iter(change))):
            read_state(state, {**FACTS, "generation": 1, **change}, steps=12, allow_new_version=True)
    with pytest.raises(UsageError, match="fingerprint"):
        read_state(state, {**FACTS, "fingerprint": "cd"}, steps=12, allow_new_version=True)
    assert read_state(state, FACTS, steps=12, allow_new_version=True) == (3, 5), "the same version: the exact place"
    with pytest.raises(UsageError, match="does not exist"):
        read_state({**state, "epoch": -1}, {**FACTS, "generation": 1}, steps=12, allow_new_version=True)
