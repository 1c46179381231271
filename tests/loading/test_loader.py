"""What a user of Loader may rely on: the same batches however many ranks, wherever resumed; evaluation complete; errors in words."""

from __future__ import annotations

import itertools
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from make import Image, Series, ct_slice, write_dataset
from test_pixels import render_all, settings
from test_reader import flip_byte

import radload
from radload.errors import FormatError, RadloadError, UsageError
from radload.loading import Loader
from radload.loading.planning.recipe import make_recipe

Batch = dict[str, Any]
SMALL: dict[str, Any] = {"size": (24, 20), "threads": 2, "seed": 4}


def load(path: Path, split: str = "train", **changes: Any) -> Loader:
    return Loader(path, split, **(SMALL | {"batch_size": 4} | changes))


def same(one: Batch, other: Batch) -> bool:
    """Bit-equal in every column."""
    return one.keys() == other.keys() and all(
        torch.equal(v, other[k]) if isinstance(v, torch.Tensor) else v == other[k] for k, v in one.items()
    )


def test_two_ranks_give_what_one_gives(ct_data: Path) -> None:
    options = {"augment": "default", "meta": ["position"]}
    with (
        load(ct_data, batch_size=6, **options) as one,
        load(ct_data, batch_size=3, rank=0, world_size=2, **options) as first,
        load(ct_data, batch_size=3, rank=1, world_size=2, **options) as second,
    ):
        assert len(one) == len(first) == len(second) == 5
        for whole, left, right in zip(one, first, second, strict=True):
            together = {k: torch.cat([left[k], right[k]]) for k in whole}
            assert same(whole, together)
        assert one.state_dict() == first.state_dict() == second.state_dict()


def test_resume_equals_the_uninterrupted_run(ct_data: Path) -> None:
    """At every kind of step: the first, the middle, the last, the end of an epoch; with another batch size per rank too."""
    options = {"augment": "default", "batch_size": 6}
    with load(ct_data, **options) as loader:
        run: list[Batch] = []
        states = [loader.state_dict()]
        for _ in range(2):
            for batch in loader:
                run.append(batch)
                states.append(loader.state_dict())
    assert len(run) == 10
    assert [(s["epoch"], s["position"]) for s in states[4:7]] == [(0, 4), (1, 0), (1, 1)]
    with (
        load(ct_data, **options) as resumed,
        load(ct_data, batch_size=3, rank=1, world_size=2, augment="default") as half,
    ):
        for start in (0, 1, 4, 5, 7):
            resumed.load_state_dict(states[start])
            half.load_state_dict(states[start])
            rest = itertools.islice(itertools.chain.from_iterable(itertools.repeat(resumed)), 3)
            other = itertools.islice(itertools.chain.from_iterable(itertools.repeat(half)), 3)
            for step, (batch, part) in enumerate(zip(rest, other, strict=True)):
                if start + step < len(run):
                    assert same(batch, run[start + step])
                    assert torch.equal(part["image"], run[start + step]["image"][3:])


def test_pixels_are_those_of_the_plan(mixed_data: Path) -> None:
    """The process adds nothing: what arrives is what plan and kernel give, which test_pixels holds to the reference."""
    with load(mixed_data, augment="default", epoch=2) as loader:
        for step, batch in enumerate(loader):
            positions = list(range(4 * step, 4 * step + 4))
            wanted = settings(make_recipe(), augment="default")
            want, _ = render_all(mixed_data, wanted, batch["index"].tolist(), epoch=2, positions=positions)
            assert np.array_equal(batch["image"].numpy(), want)
    with load(mixed_data, shuffle=False, drop_last=False) as loader:
        images = torch.cat([b["image"][b["valid"]] for b in loader])
    want, _ = render_all(mixed_data, settings(make_recipe()))
    assert np.array_equal(images.numpy(), want)


def test_evaluation_gives_each_sample_once(ct_data: Path) -> None:
    seen: list[int] = []
    for rank in range(2):
        with load(ct_data, "val", batch_size=2, rank=rank, world_size=2, shuffle=False, drop_last=False) as loader:
            assert len(loader) == 2
            for _ in range(2):  # every epoch is the same
                batches = list(loader)
                rows = torch.cat([b["index"][b["valid"]] for b in batches]).tolist()
            padded = [b for b in batches if not b["valid"].all()]
            for batch in padded:
                absent = ~batch["valid"]
                assert (batch["index"][absent] == -1).all() and (batch["label"][absent] == -1).all()
                assert (batch["image"][absent] == 0).all()
            seen += rows
    assert sorted(seen) == list(range(30, 37))


def test_each_pass_of_evaluation_is_whole(ct_data: Path) -> None:
    """Whatever was left early before; only a state leads into the middle of one."""
    with load(ct_data, "val", batch_size=2, shuffle=False, drop_last=False) as loader:
        whole = [b["index"].tolist() for b in loader]
        for left in (1, 3, 4):
            list(itertools.islice(loader, left))
            assert [b["index"].tolist() for b in loader] == whole
        list(itertools.islice(loader, 3))
        state = loader.state_dict()
        list(itertools.islice(loader, 1))
        loader.load_state_dict(state)
        assert [b["index"].tolist() for b in loader] == whole[3:]
        assert [b["index"].tolist() for b in loader] == whole


def test_keeping_all_batches_is_right(ct_data: Path) -> None:
    with load(ct_data, batch_size=1, prefetch=2, size=8) as loader:
        kept = list(loader)
        copies = [b["image"].clone() for b in kept]
        again = [b["image"] for _ in range(2) for b in loader]
    assert len(kept) == 30 and len(again) == 60
    assert all(torch.equal(b["image"], c) for b, c in zip(kept, copies, strict=True))
    assert len({b["image"].data_ptr() for b in kept}) == 30


def test_labels_meta_and_attributes(ct_data: Path) -> None:
    with load(ct_data, meta=["modality", "patient", "echo_time"]) as loader:
        assert loader.classes == ("chest", "head", "knee") and loader.task == "single"
        for batch in loader:
            rows = batch["index"]
            want = [-1 if r % 7 == 3 else r % 3 for r in rows.tolist()]
            assert batch["label"].tolist() == want
            assert batch["modality"] == ["CT"] * 4
            assert batch["patient"].tolist() == [r // 6 for r in rows.tolist()]
    with load(ct_data, labels=False) as loader:
        assert loader.classes == () and loader.task is None
        assert next(iter(loader))["label"].tolist() == [-1] * 4


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_dtypes_are_the_rounded_float32(ct_data: Path, name: str) -> None:
    with load(ct_data, dtype=name) as loader, load(ct_data) as exact:
        batch, want = next(iter(loader)), next(iter(exact))
        assert batch["image"].dtype == getattr(torch, name)
        assert torch.equal(batch["image"], want["image"].to(getattr(torch, name)))


@pytest.fixture
def damaged(ct_data: Path, tmp_path: Path) -> Path:
    root = tmp_path / "damaged"
    shutil.copytree(ct_data, root)
    flip_byte(root, 3)
    flip_byte(root, 33)
    return root


def test_a_damaged_sample_costs_one_draw(damaged: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "radload"), load(damaged, batch_size=3, size=64) as loader:
        rows = torch.cat([b["index"] for b in loader]).tolist()
        assert len(rows) == 30 and 3 not in rows
        assert [f.key for f in loader.failures] == ["000000000003"]
    assert "000000000003" in caplog.text and "replaced" in caplog.text
    with load(damaged, batch_size=3, size=64) as loader:
        assert torch.cat([b["index"] for b in loader]).tolist() == rows, "the stand-in is always the same"


def test_a_damaged_sample_is_left_out_of_evaluation(damaged: Path) -> None:
    with load(damaged, "val", shuffle=False, drop_last=False, size=64) as loader:
        batches = list(loader)
        rows, valid = (torch.cat([b[name] for b in batches]).tolist() for name in ("index", "valid"))
        assert rows == [30, 31, 32, 33, 34, 35, 36, -1]
        assert [r for r, v in zip(rows, valid, strict=True) if not v] == [33, -1]
        assert [f.key for f in loader.failures] == ["000000000033"]


def test_too_many_damaged_samples_end_the_run(damaged: Path) -> None:
    loader = load(damaged, batch_size=3, size=64, max_failures=0)
    with pytest.raises(RadloadError, match=r"max_failures.*000000000003.*checksum"):
        list(loader)
    with pytest.raises(UsageError, match="closed"):
        next(iter(loader))


def test_leaving_early_goes_on_where_it_was(ct_data: Path) -> None:
    with load(ct_data) as whole, load(ct_data) as loader:
        want = [b["index"].tolist() for b in whole]
        got: list[list[int]] = []
        while loader.epoch == 0:
            for batch in itertools.islice(loader, 2):
                got.append(batch["index"].tolist())
        assert got == want
        first, second = iter(loader), iter(loader)
        next(second)
        with pytest.raises(UsageError, match="one loop at a time"):
            next(first), next(first)


def test_set_epoch(ct_data: Path) -> None:
    with load(ct_data, batch_size=10) as loader:
        run = [b["index"].tolist() for _ in range(2) for b in loader]
        loader.set_epoch(0)
        next(iter(loader))
        loader.set_epoch(0)  # the current one: the place is kept
        assert [b["index"].tolist() for b in loader] == run[1:3]
        loader.set_epoch(0)
        assert [b["index"].tolist() for b in loader] == run[:3]


@pytest.mark.parametrize("change", [{"seed": 5}, {"batch_size": 3}, {"shuffle": False}])
def test_the_state_of_another_order_is_refused(ct_data: Path, change: dict[str, Any]) -> None:
    with load(ct_data) as loader, load(ct_data, **change) as other:
        name = next(iter(change)).replace("batch_size", "global_batch")
        with pytest.raises(UsageError, match=name):
            other.load_state_dict(loader.state_dict())


def test_the_state_of_other_pixels_is_refused(ct_data: Path, mixed_data: Path) -> None:
    with load(ct_data) as loader, load(mixed_data) as other, pytest.raises(UsageError, match="fingerprint"):
        other.load_state_dict(loader.state_dict())


BAD: list[tuple[dict[str, Any], str]] = [
    ({"window": "lungs"}, "brain"),
    ({"window": (40, 0)}, "width"),
    ({"channels": 2}, "channels"),
    ({"split": "training"}, "train, val, test"),
    ({"batch_size": 0}, "batch_size"),
    ({"batch_size": 31}, "fewer than one global batch"),
    ({"split": "test"}, "no samples"),
    ({"size": 0}, "size"),
    ({"dtype": "int8"}, "float32"),
    ({"device": "tpu"}, "cuda"),
    ({"labels": "v2"}, "v2"),
    ({"meta": ["weight"]}, "weight"),
    ({"augment": "strong"}, "default"),
    ({"resolution": "half"}, "resolution"),
    ({"rank": 1}, "world_size"),
    ({"rank": 2, "world_size": 2}, "rank"),
    ({"threads": 0}, "threads"),
    ({"max_failures": -1}, "max_failures"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_arguments_are_refused_in_words(ct_data: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(ct_data, **change)


def test_paths_without_a_data_set_are_refused(ct_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        load(tmp_path / "none")
    with pytest.raises(UsageError, match=r"manifest\.json"):
        load(tmp_path)
    shutil.copytree(ct_data, tmp_path / "old")
    manifest = tmp_path / "old/manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 7'))
    with pytest.raises(FormatError, match="version 7"):
        load(tmp_path / "old")


def test_an_empty_split_for_evaluation_has_no_steps(ct_data: Path) -> None:
    with load(ct_data, "test", shuffle=False, drop_last=False) as loader:
        assert len(loader) == 0 and list(loader) == []


def test_it_is_radload_loader() -> None:
    assert radload.Loader is Loader


def test_samples_without_millimetres_are_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = [
        Image(ct_slice(i), spacing=(np.nan, np.nan) if i % 3 == 1 else (0.5, 0.5), ratio=i % 3 == 2) for i in range(12)
    ]
    root = write_dataset(tmp_path / "d", [Series(images)])
    with caplog.at_level(logging.WARNING, "radload"), load(root, spacing=1.0, meta=["spacing_row"]) as loader:
        list(loader)
        assert loader.unscaled == 8
    said = [r.getMessage() for r in caplog.records if "millimetres" in r.getMessage()]
    assert len(said) == 1 and "fit='pad'" in said[0]
    with load(root, fit="pad") as loader:
        list(loader)
        assert loader.unscaled == 0


def test_a_state_holds_for_one_fit_only(ct_data: Path) -> None:
    with load(ct_data, fit="pad", spacing=1.0) as loader:
        next(iter(loader))
        state = loader.state_dict()
    for changes, name in (({"fit": "crop", "spacing": 1.0}, "fit"), ({"fit": "pad"}, "spacing"), ({}, "fit")):
        with load(ct_data, **changes) as other, pytest.raises(UsageError, match=f"same {name}"):
            other.load_state_dict(state)
    with load(ct_data, spacing=(1.0, 1.0)) as same_again:
        same_again.load_state_dict(state)
        assert same_again.state_dict() == state


def test_a_fit_that_does_not_exist_is_refused(ct_data: Path) -> None:
    with pytest.raises(UsageError, match="'crop'"):
        load(ct_data, fit="fill")
    with pytest.raises(UsageError, match="millimetres per output pixel"):
        load(ct_data, spacing=-1)
