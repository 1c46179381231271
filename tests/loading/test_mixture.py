"""A mixture keeps its ratio in every batch, gives the same draws on any ranks, resumes from every step, and refuses what does not fit."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make import ct_series, write_dataset

import radload
from radload.dataset.labels import LabelSet
from radload.errors import UsageError
from radload.loading import Loader
from radload.loading.mixture import Mixture

SMALL: dict[str, Any] = {"size": 16, "seed": 4, "threads": 1, "augment": "default"}
CLASSES = ("chest", "head", "knee")
Batch = dict[str, Any]


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 CT slices of two series, of the same classes as ct_data."""
    labels = LabelSet("default", "single", CLASSES, (np.arange(10) % 3).astype(np.int32), "csv")
    series = [ct_series(70, 4), ct_series(71, 6)]
    return write_dataset(tmp_path_factory.mktemp("data") / "other", series, labels)


def mixture(ct_data: Path, other_data: Path, rank: int = 0, world: int = 1, **changes: Any) -> Mixture:
    place = {"rank": rank, "world_size": world}
    return Mixture(
        [
            Loader(ct_data, batch_size=6 // world, **(SMALL | place | changes)),
            Loader(other_data, batch_size=2 // world, sampler="balanced", **(SMALL | place | changes)),
        ]
    )


def endless(one: Mixture) -> Iterator[Batch]:
    while True:
        yield from one


def same(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(v, other[n]) if isinstance(v, torch.Tensor) else v == other[n] for n, v in one.items()
    )


def test_every_batch_has_the_ratio_and_is_what_the_loaders_give(ct_data: Path, other_data: Path) -> None:
    with (
        mixture(ct_data, other_data, meta=["modality"]) as mixed,
        Loader(ct_data, batch_size=6, meta=["modality"], **SMALL) as first,
        Loader(other_data, batch_size=2, sampler="balanced", meta=["modality"], **SMALL) as second,
    ):
        assert radload.Mixture is Mixture and mixed.classes == CLASSES and mixed.task == "single"
        assert len(mixed) == len(first) == len(second) == 5
        for batch, left, right in zip(mixed, first, second, strict=True):
            assert batch["source"].tolist() == [0] * 6 + [1] * 2
            for name in left:
                if isinstance(left[name], torch.Tensor):
                    assert torch.equal(batch[name], torch.cat([left[name], right[name]]))
                else:
                    assert batch[name] == left[name] + right[name]
        assert mixed.epoch == 1


def test_a_small_data_set_starts_again(ct_data: Path, other_data: Path) -> None:
    loaders = [Loader(ct_data, batch_size=3, **SMALL), Loader(other_data, batch_size=5, **SMALL)]
    with Mixture(loaders) as mixed:
        assert len(mixed) == 10
        rows: list[Counter[int]] = [Counter(), Counter()]
        for batch in mixed:
            for source, row in zip(batch["source"].tolist(), batch["index"].tolist(), strict=True):
                rows[source][row] += 1
        assert set(rows[0].values()) == {1} and len(rows[0]) == 30
        assert set(rows[1].values()) == {5} and len(rows[1]) == 10


def test_two_ranks_give_the_same_draws(ct_data: Path, other_data: Path) -> None:
    """As a set, each with its pixels: a global batch is one."""
    with (
        mixture(ct_data, other_data) as one,
        mixture(ct_data, other_data, 0, 2) as left,
        mixture(ct_data, other_data, 1, 2) as right,
    ):
        for whole, *parts in itertools.islice(zip(endless(one), endless(left), endless(right), strict=True), 7):
            together = {name: torch.cat([part[name] for part in parts]) for name in whole}
            order = torch.argsort(together["source"], stable=True)
            assert same(whole, {name: column[order] for name, column in together.items()})
        assert one.state_dict() == left.state_dict() == right.state_dict()


def test_resume_at_every_step_equals_the_uninterrupted_run(ct_data: Path, other_data: Path) -> None:
    loaders = [Loader(ct_data, batch_size=6, **SMALL), Loader(other_data, batch_size=4, **SMALL)]  # 5 and 2 steps
    with Mixture(loaders) as mixed:
        states, run = [json.loads(json.dumps(mixed.state_dict()))], []
        for batch in itertools.islice(endless(mixed), 13):
            run.append(batch)
            states.append(json.loads(json.dumps(mixed.state_dict())))
        for start in range(12):
            mixed.load_state_dict(states[start])
            assert mixed.state_dict() == states[start]
            for step, batch in enumerate(itertools.islice(endless(mixed), 2)):
                if start + step < len(run):
                    assert same(batch, run[start + step])
        mixed.set_epoch(1)
        assert same(next(iter(mixed)), run[5])
        mixed.set_epoch(1)  # the current one: the place is kept
        assert same(next(iter(mixed)), run[6])
        mixed.load_state_dict({**states[1], "epoch": 10**6})
        assert len(list(mixed)) == 4


def test_what_does_not_go_together_is_refused(ct_data: Path, other_data: Path, mixed_data: Path) -> None:
    def load(path: Path = ct_data, **changes: Any) -> Loader:
        return Loader(path, **({"batch_size": 2} | SMALL | changes))

    with load() as one, load() as two, load(seed=9) as seed, load(other_data, size=24) as big, load(mixed_data) as bare:
        for loaders, words in (([], "no loaders"), ([one, one], "once"), ([one, bare], "classes")):
            with pytest.raises(UsageError, match=words):
                Mixture(loaders)
        with load(split="val", shuffle=False, drop_last=False) as val, pytest.raises(UsageError, match="evaluation"):
            Mixture([one, val])
        with pytest.raises(UsageError, match="steps=0"):
            Mixture([one, two], steps=0)
        with pytest.raises(UsageError, match=r"'image'.*same size"):
            next(iter(Mixture([one, big])))
        state = Mixture([one, two], steps=3).state_dict()
        assert len(list(Mixture([one, two], steps=3))) == 3
        with pytest.raises(UsageError, match="with 3 steps"):
            Mixture([one, two]).load_state_dict(state)
        with pytest.raises(UsageError, match="seed"):
            Mixture([one, seed], steps=3).load_state_dict(state)
        with pytest.raises(UsageError, match="does not exist"):
            Mixture([one, two], steps=3).load_state_dict({**state, "position": 4})
        with pytest.raises(UsageError, match="unchanged"):
            Mixture([one, two], steps=3).load_state_dict({})
        running = Mixture([one, two])
        loop = iter(running)
        next(loop)
        next(iter(running))
        with pytest.raises(UsageError, match="one loop at a time"):
            next(loop)
