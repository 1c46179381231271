"""Samplers in the Loader: the same global batches on any ranks and threads, resumed from every step, refused where they are others."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make import Image, Series, ct_slice, rewrite, write_dataset
from test_reader import flip_byte

from radload.dataset.index import open_index
from radload.dataset.labels import LabelSet, write_labels
from radload.dataset.manifest import read_manifest
from radload.errors import FormatError, UsageError
from radload.loading import Loader
from radload.loading.order.strata import BLOCK, check_sampling

COUNTS = [1 + i % 4 for i in range(48)] + [30]  # slices of the training patients: 150
TRAIN, VAL = sum(COUNTS), 7
CODES = np.array([[0, 0, 0, 0, 1, 2, -1][i % 7] for i in range(TRAIN)] + [3] * VAL, np.int32)
LABELS = LabelSet("default", "single", ("a", "b", "c", "only in val"), CODES, "csv")
SMALL: dict[str, Any] = {"size": 8, "seed": 4, "augment": "default", "threads": 1}
SAMPLERS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "balanced": {"sampler": "balanced"},
    "weights": {"weights": {"a": 1, "b": 2, "c": 1}},
    "patient": {"sampler": "patient"},
    "blocks": {"sampler": "blocks", "block": 4},
}
Batch = dict[str, Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 slices of 49 patients for training, 7 of one for validation."""
    seeds = itertools.count()
    series = [
        Series([Image(ct_slice(next(seeds), 16, 16), intercept=-1024.0) for _ in range(count)], split=split)
        for split, count in [*(("train", c) for c in COUNTS), ("val", VAL)]
    ]
    return write_dataset(tmp_path_factory.mktemp("data") / "sampled", series, LABELS)


def load(path: Path, split: str | None = "train", **changes: Any) -> Loader:
    return Loader(path, split, **(SMALL | {"batch_size": 12} | changes))


def same(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def endless(loader: Loader) -> Iterator[Batch]:
    while True:
        yield from loader


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.soak) if one in ("weights", "patient") else one for one in SAMPLERS]
)
def test_any_ranks_and_threads_give_the_same_global_batches(data: Path, name: str) -> None:
    """Global batch 48, pixels and augmentation included."""
    run: list[Batch] = []
    for world in (1, 2, 3, 4, 8):
        ranks = [
            load(data, batch_size=48 // world, rank=r, world_size=world, threads=1 + (world + r) % 3, **SAMPLERS[name])
            for r in range(world)
        ]
        streams = [endless(loader) for loader in ranks]
        for step in range(3):
            parts = [next(stream) for stream in streams]
            whole = {column: torch.cat([part[column] for part in parts]) for column in parts[0]}
            if world == 1:
                run.append(whole)
            assert same(whole, run[step])
        assert len({json.dumps(loader.state_dict()) for loader in ranks}) == 1
        for loader in ranks:
            loader.close()


@pytest.mark.parametrize("name", SAMPLERS)
def test_resume_at_every_step_equals_the_uninterrupted_run(data: Path, name: str) -> None:
    """Two epochs; on one rank and on another number of ranks; states go through JSON as checkpoints do."""
    with load(data, **SAMPLERS[name]) as loader:
        states, run = [json.loads(json.dumps(loader.state_dict()))], []
        for batch in itertools.islice(endless(loader), 2 * len(loader) + 3):
            run.append(batch)
            states.append(json.loads(json.dumps(loader.state_dict())))
        steps = len(loader)
    with (
        load(data, threads=2, **SAMPLERS[name]) as resumed,
        load(data, batch_size=4, rank=1, world_size=3, **SAMPLERS[name]) as third,
    ):
        for start in range(2 * steps + 1):
            resumed.load_state_dict(states[start])
            third.load_state_dict(states[start])
            for step, (batch, part) in enumerate(
                itertools.islice(zip(endless(resumed), endless(third), strict=True), 2)
            ):
                want = run[start + step]
                assert same(batch, want)
                assert same(part, {column: values[4:8] for column, values in want.items()})


@pytest.mark.parametrize("name", SAMPLERS)
def test_resuming_takes_the_same_time_anywhere(data: Path, name: str) -> None:
    with load(data, **SAMPLERS[name]) as loader:
        next(iter(loader))
        state = loader.state_dict()
        for epoch, position in ((1, 0), (10**6, len(loader) - 1)):
            took = []
            for _ in range(3):
                start = time.perf_counter()
                loader.load_state_dict({**state, "epoch": epoch, "position": position})
                next(iter(loader))
                took.append(time.perf_counter() - start)
            assert min(took) < 1
            assert (loader.state_dict()["epoch"], len(loader)) == (epoch + (position > 0), len(loader))


def test_balanced_epochs(data: Path) -> None:
    """As many draws as there are labelled samples; classes equal; those without a label, or of another split, never."""
    labelled = int((CODES[:TRAIN] >= 0).sum())
    with load(data, sampler="balanced") as loader:
        assert len(loader) == labelled // 12
        batches = list(loader)
        labels = torch.cat([batch["label"] for batch in batches])
        assert torch.bincount(labels).tolist() == [len(loader) * 4] * 3
        for code, count in enumerate(np.bincount(CODES[:TRAIN][CODES[:TRAIN] >= 0])):
            rows = torch.cat([batch["index"] for batch in batches])[labels == code]
            assert len(set(rows[:count].tolist())) == min(count, len(rows)), "all of them before any again"
            assert (CODES[rows] == code).all()
    with load(data, None, sampler="balanced", batch_size=48) as loader:
        counts = torch.bincount(torch.cat([batch["label"] for batch in loader]))
        assert counts.tolist() == [len(loader) * 12] * 4, "without a split, the classes of all splits"


def test_weighted_epochs(data: Path) -> None:
    with load(data, weights={"a": 1, "b": 2, "c": 0}, batch_size=15) as loader:
        labels = torch.cat([batch["label"] for batch in loader])
        assert torch.bincount(labels).tolist() == [len(labels) // 3, 2 * len(labels) // 3]


def test_patient_epochs(data: Path) -> None:
    with load(data, sampler="patient", batch_size=7) as loader:
        assert len(loader) == 7
        epochs = [torch.cat([batch["index"] for batch in loader]).tolist() for _ in range(4)]
        patient = np.repeat(np.arange(49), COUNTS)
        for rows in epochs:
            assert sorted(patient[rows].tolist()) == list(range(49))
        for one in range(48):  # 1 to 4 slices: all of them in as many epochs
            rows = [row for epoch in epochs[: COUNTS[one]] for row in epoch if patient[row] == one]
            assert len(set(rows)) == COUNTS[one]


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
def test_evaluation_gives_each_sample_once_over_all_ranks(data: Path, world: int) -> None:
    """Ranks with nothing left to do get batches of padding: the steps are equal."""
    seen: list[int] = []
    lengths = set()
    for rank in range(world):
        with load(
            data, "val", batch_size=3, rank=rank, world_size=world, shuffle=False, drop_last=False, augment=None
        ) as loader:
            batches = list(loader)
            lengths.add(len(batches))
            for batch in batches:
                assert len(batch["image"]) == 3
                assert torch.equal(batch["index"] >= 0, batch["valid"])
                assert (batch["label"][~batch["valid"]] == -1).all() and not batch["image"][~batch["valid"]].any()
                seen += batch["index"][batch["valid"]].tolist()
    assert sorted(seen) == list(range(TRAIN, TRAIN + VAL))
    assert lengths == {-(-VAL // (3 * world))}


def test_a_state_holds_for_one_sampler(data: Path) -> None:
    states = {}
    for name, options in SAMPLERS.items():
        with load(data, **options) as loader:
            next(iter(loader))
            states[name] = loader.state_dict()
    for name, options in SAMPLERS.items():
        with load(data, **options) as loader:
            for other, state in states.items():
                if other == name:
                    loader.load_state_dict(state)
                else:
                    with pytest.raises(UsageError, match="same sampler"):
                        loader.load_state_dict(state)
    with load(data, weights={"a": 2, "b": 1, "c": 1}) as loader, pytest.raises(UsageError, match="same weights"):
        loader.load_state_dict(states["weights"])
    for shape in ({"block": 5}, {"block": 4, "runs": 12}):
        with load(data, sampler="blocks", **shape) as loader, pytest.raises(UsageError, match="same block and runs"):
            loader.load_state_dict(states["blocks"])
    with load(data, weights={"a": 0.5, "b": 1.0, "c": 0.5}) as loader:
        loader.load_state_dict(states["weights"])


def test_a_state_of_other_labels_is_refused_only_where_the_order_follows_them(data: Path, tmp_path: Path) -> None:
    states = {}
    for name in ("balanced", "uniform", "patient"):
        with load(data, **SAMPLERS[name]) as loader:
            states[name] = loader.state_dict()
    other = tmp_path / "other"
    shutil.copytree(data, other)
    codes = CODES.copy()
    codes[[0, 4]] = codes[[4, 0]]  # the same number of each
    index = open_index(other, read_manifest(other))
    write_labels(other, LabelSet("default", "single", LABELS.classes, codes, "csv"), index.records["key"], index.ranges)
    with load(other, sampler="balanced") as loader, pytest.raises(UsageError, match="labels or patients"):
        loader.load_state_dict(states["balanced"])
    for name in ("uniform", "patient"):
        with load(other, **SAMPLERS[name]) as loader:
            loader.load_state_dict(states[name])


def test_a_state_of_another_generation_or_fingerprint_is_refused(data: Path) -> None:
    with load(data) as loader:
        for change in ({"generation": 1}, {"fingerprint": "0" * 64}):
            with pytest.raises(UsageError, match=next(iter(change))):
                loader.load_state_dict({**loader.state_dict(), **change})


def test_ranks_that_do_not_divide_the_global_batch_are_refused(data: Path) -> None:
    with load(data, batch_size=48) as loader:
        state = loader.state_dict()
    with (
        load(data, batch_size=9, rank=0, world_size=5) as loader,
        pytest.raises(UsageError, match="5 ranks cannot divide 48"),
    ):
        loader.load_state_dict(state)
    with (
        load(data, batch_size=15, rank=0, world_size=3) as loader,
        pytest.raises(UsageError, match="give batch_size=16 on 3 ranks"),
    ):
        loader.load_state_dict(state)


def test_a_damaged_sample_is_replaced_by_its_own_class(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(data, root)
    rare = np.flatnonzero(CODES[:TRAIN] == 1)
    for row in rare[:5]:
        flip_byte(root, int(row))
    with load(data, sampler="balanced") as whole, load(root, sampler="balanced", max_failures=0.5) as loader:
        for want, batch in zip(whole, loader, strict=True):
            assert torch.equal(batch["label"], want["label"])
            assert not set(batch["index"].tolist()) & set(rare[:5].tolist())
        assert {f.key for f in loader.failures} == {f"{row:012d}" for row in rare[:5]}


BAD: list[tuple[dict[str, Any], str]] = [
    ({"sampler": "classes"}, "'balanced'"),
    ({"sampler": "weights"}, "weights="),
    ({"sampler": "balanced", "weights": {"a": 1}}, "alone"),
    ({"weights": {"a": 1, "b": 1}}, "nothing of class 'c'"),
    ({"weights": {"a": 1, "b": 1, "c": 1, "d": 1}}, "'d'"),
    ({"weights": {"a": 1, "b": 1, "c": 1, "only in val": 1}}, "no sample"),
    ({"weights": {"a": 1, "b": -1, "c": 1}}, "from 0"),
    ({"weights": {"a": 0, "b": 0, "c": 0}}, "not all"),
    ({"weights": {"a": 1, "b": float("nan"), "c": 1}}, "from 0"),
    ({"sampler": "balanced", "labels": False}, "one label per sample"),
    ({"block": 8}, 'sampler="blocks" alone'),
    ({"sampler": "balanced", "runs": 12}, 'sampler="blocks" alone'),
    ({"sampler": "blocks", "block": 1}, "give 2 to"),
    ({"sampler": "blocks", "runs": 6}, "multiple of the global batch of 12"),
    ({"sampler": "blocks", "runs": 30}, "multiple of the global batch of 12"),
    ({"sampler": "blocks", "drop_last": False}, "for training"),
    ({"sampler": "balanced", "labels": "many"}, "several per sample"),
    ({"sampler": "balanced", "labels": "none"}, "0 classes"),
    ({"sampler": "patient", "shuffle": False}, "training"),
    ({"sampler": "balanced", "drop_last": False}, "training"),
    ({"sampler": "patient", "batch_size": 50}, "49 draws per epoch"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_samplers_that_cannot_be_are_refused_in_words(
    data: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    root = tmp_path / "own"
    shutil.copytree(data, root)
    index = open_index(root, read_manifest(root))
    keys, ranges, count = index.records["key"], index.ranges, TRAIN + VAL
    write_labels(root, LabelSet("many", "multi", ("x",), np.ones((count, 1), np.float32), "csv"), keys, ranges)
    write_labels(root, LabelSet("none", "single", ("x",), np.full(count, -1, np.int32), "csv"), keys, ranges)
    with pytest.raises(UsageError, match=words):
        load(root, **({"labels": "default"} | change))


def test_patients_in_two_splits_are_refused(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "torn"
    shutil.copytree(data, root)
    series = np.fromfile(root / "index/000000/series.bin", open_index(root, read_manifest(root)).series.dtype)
    series["patient"][-1] = 3
    rewrite(root, "series.bin", series.tobytes())
    offsets = np.fromfile(root / "index/000000/patient_offsets.bin", "<u8")
    rows = np.fromfile(root / "index/000000/patient_rows.bin", "<u8")
    at = int(offsets[4])
    rewrite(root, "patient_rows.bin", np.concatenate([rows[:at], rows[-VAL:], rows[at:-VAL]]).tobytes())
    offsets[4:-1] += VAL
    rewrite(root, "patient_offsets.bin", offsets.tobytes())
    with pytest.raises(UsageError, match="several splits"):
        load(root, sampler="patient")


def test_class_lists_that_are_damaged_are_refused(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "cut"
    shutil.copytree(data, root)
    path = root / "labels/default.arrow"
    text, place = path.read_bytes(), b'"class_offsets": {"train": [0, '
    assert text.count(place) == 2, "in the file's head and at its end"
    path.write_bytes(text.replace(place, place[:-3] + b"99,"))  # behind the end of the class
    with load(root):
        pass
    with pytest.raises(FormatError, match="damaged"):
        load(root, sampler="balanced")


def test_many_classes_reach_the_loader(data: Path, tmp_path: Path) -> None:
    """What is sent to the loader's process must not grow with the classes of a set."""
    root = tmp_path / "many"
    shutil.copytree(data, root)
    index = open_index(root, read_manifest(root))
    names, count = tuple(f"c{number}" for number in range(40_000)), TRAIN + VAL
    codes = np.arange(count, dtype=np.int32) * 200
    write_labels(root, LabelSet("many", "single", names, codes, "csv"), index.records["key"], index.ranges)
    with load(root, labels="many", sampler="balanced") as loader:
        assert len(set(torch.cat([batch["label"] for batch in loader]).tolist())) == TRAIN // 12 * 12
    with pytest.raises(UsageError, match="40000 classes"):
        load(root, labels="many", weights=dict.fromkeys(names[: 200 * TRAIN : 200], 1))


def test_shares_become_draws_of_a_block(data: Path) -> None:
    """Exact where they can be; tiny shares are rounded up to one draw in a block."""

    def quotas(**weights: float) -> tuple[int, ...]:
        found = check_sampling(None, weights, "train", LABELS, True, data).quotas
        assert found is not None
        return found

    # The digest is not compared here, so the set in memory may stand for the one on disk.
    assert quotas(a=1, b=2, c=1) == quotas(a=0.25, b=0.5, c=0.25) == (1, 2, 1, 0)
    assert quotas(a=0.1, b=0.2, c=0.7) == (1, 2, 7, 0)
    assert quotas(a=0, b=3, c=0) == (0, 1, 0, 0)
    for odd in (quotas(a=1, b=2**0.5, c=np.pi), quotas(a=1, b=1e-9, c=1)):
        assert sum(odd) == BLOCK and min(odd[:3]) >= 1
    root2 = quotas(a=1, b=2**0.5, c=np.pi)
    assert np.abs(np.array(root2[:3]) / BLOCK - np.array([1, 2**0.5, np.pi]) / (1 + 2**0.5 + np.pi)).max() < 1 / BLOCK
