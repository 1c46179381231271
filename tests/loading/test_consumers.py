"""A Loader where torch's users put an IterableDataset: in loops, lists and a DataLoader; and left in the middle as often as they like."""

from __future__ import annotations

import copy
import gc
import itertools
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from radload.errors import UsageError
from radload.loading import Loader

SMALL: dict[str, Any] = {"batch_size": 4, "size": 16, "seed": 4, "threads": 1}


def test_it_is_an_iterable_dataset_with_a_length(ct_data: Path) -> None:
    with Loader(ct_data, **SMALL) as loader:
        assert isinstance(loader, IterableDataset)
        assert len(loader) == 7
        first, second = list(loader), [batch for batch in loader]  # noqa: C416 - a loop is meant
        assert len(first) == len(second) == 7
        rows = [torch.cat([batch["index"] for batch in epoch]) for epoch in (first, second)]
        assert all(len(set(epoch.tolist())) == 28 for epoch in rows)
        assert not torch.equal(rows[0], rows[1]), "another order each time"
        assert loader.epoch == 2
    with Loader(ct_data, "val", shuffle=False, drop_last=False, **SMALL) as loader:
        passes = [[batch["index"].tolist() for batch in loader] for _ in range(2)]
        assert passes[0] == passes[1] and len(passes[0]) == len(loader) == 2


def test_a_data_loader_passes_its_batches_on(ct_data: Path) -> None:
    with Loader(ct_data, **SMALL) as alone, Loader(ct_data, **SMALL) as inside:
        outer = DataLoader(inside, batch_size=None)
        assert len(outer) == len(alone)
        for _ in range(2):
            for want, got in zip(alone, outer, strict=True):
                assert want.keys() == got.keys()
                assert all(torch.equal(want[name], got[name]) for name in want)
        for _batch in outer:
            break
        assert inside.state_dict()["position"] == 1, "what a DataLoader without workers takes is what was delivered"


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_data_loader_with_workers_is_refused_with_the_reason(ct_data: Path, context: str) -> None:
    with Loader(ct_data, **SMALL) as loader:
        with pytest.raises(UsageError, match=r"process of its own.*num_workers=0"):
            next(iter(DataLoader(loader, batch_size=None, num_workers=1, multiprocessing_context=context)))
        assert len(list(loader)) == 7, "the loader itself is unharmed"


def test_copies_are_refused(ct_data: Path) -> None:
    with Loader(ct_data, **SMALL) as loader:
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(UsageError, match="cannot be copied"):
                make(loader)


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.soak)])
def test_a_consumer_may_stop_for_a_while(ct_data: Path, seconds: int) -> None:
    with Loader(ct_data, **SMALL) as steady, Loader(ct_data, **SMALL) as paused:
        for step, (want, got) in enumerate(zip(steady, paused, strict=True)):
            assert torch.equal(want["image"], got["image"])
            if step == 2:
                time.sleep(seconds)


def _resident(pid: int) -> int:
    """Kilobytes that a process wrote; clean pages of libraries count as private or shared by what else runs."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Shared_Dirty", "Swap:")))


def _held(loader: Loader) -> tuple[int, int, int, int, int]:
    """Children, descriptors and threads of this process, descriptors of the loader's, and slots."""
    process = loader._process
    assert process is not None
    children = sum(len(task.read_text().split()) for task in Path("/proc/self/task").glob("*/children"))
    descriptors = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in ("self", process.pid)]
    return children, descriptors[0], threading.active_count(), descriptors[1], process.ring.slots


def _leave(loader: Loader, times: int) -> None:
    """In all the ways of leaving: go on, another epoch, back to a state, an exception in the loop."""
    state = loader.state_dict()
    for number in range(times):
        try:
            for batch in itertools.islice(loader, 1 + number % 3):
                if number % 4 == 3:
                    raise KeyError(number)
                assert batch["image"].shape == (4, 3, 64, 64)
        except KeyError:
            loader.load_state_dict(state)
        if number % 2:
            loader.set_epoch(number)


@pytest.mark.parametrize("times", [200, pytest.param(1000, marks=pytest.mark.soak)])
def test_leaving_the_loop_early_leaks_nothing(ct_data: Path, times: int) -> None:
    """No process, descriptor, thread or slot more than after the first 40; memory of both processes within 8 MB."""
    with Loader(ct_data, **(SMALL | {"size": 64}), augment="default") as loader:
        process = loader._process
        assert process is not None
        _leave(loader, 40)  # caches and pools fill up
        gc.collect()
        held = _held(loader)
        before = [_resident(pid) for pid in (os.getpid(), process.pid)]
        _leave(loader, times)
        gc.collect()
        after = [_resident(pid) for pid in (os.getpid(), process.pid)]
        assert _held(loader) == held
        assert all(late - early < 8192 for early, late in zip(before, after, strict=True)), (before, after)
        assert len(list(loader)) <= 7, "and it still works"
