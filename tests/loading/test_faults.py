"""Shards that vanish, are cut or change under a Loader: sentences and stand-ins, never a signal, never other pixels."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_reader import flip_byte

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.errors import RadloadError
from radload.loading import Loader

SMALL: dict[str, Any] = {"batch_size": 3, "size": 64, "threads": 2, "seed": 4, "prefetch": 1, "max_failures": 0.99}
SHARD = "train/000000.tar"


@pytest.fixture
def data(ct_data: Path, tmp_path: Path) -> Path:
    root = tmp_path / "data"
    shutil.copytree(ct_data, root)
    return root


def cut(shard: Path) -> None:
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size * 2 // 3)


def overwrite(shard: Path) -> None:
    """In place, as `cp` does: the second half of the samples is another's bytes."""
    size = shard.stat().st_size
    with shard.open("r+b") as file:
        start = file.read(size // 2)
        file.seek(size // 2)
        file.write(start[: size - size // 2])


def replace_by_rename(shard: Path) -> None:
    """As rsync does: the open descriptor keeps the old content."""
    other = shard.with_suffix(".new")
    other.write_bytes(bytes(shard.stat().st_size))
    other.rename(shard)


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (cut, "is cut"),
    (overwrite, "wrong checksum"),
    (replace_by_rename, ""),
    (Path.unlink, ""),
]


def rendered(root: Path) -> dict[int, torch.Tensor]:
    """Every training sample of a whole data set."""
    with Loader(root, shuffle=False, drop_last=False, **SMALL) as loader:
        return {int(r): i for b in loader for r, i in zip(b["index"], b["image"], strict=True) if r >= 0}


@pytest.mark.parametrize(("damage", "kind"), DAMAGE)
def test_a_shard_that_changes_under_training_costs_draws_and_no_pixel(
    ct_data: Path, data: Path, damage: Callable[[Path], None], kind: str
) -> None:
    right = rendered(ct_data)
    with Loader(data, **SMALL) as loader:
        for step, batch in enumerate(loader):
            for row, image in zip(batch["index"].tolist(), batch["image"], strict=True):
                assert torch.equal(image, right[row])
            if step == 2:
                damage(data / SHARD)
        assert step == 9
        if kind:
            assert loader.failures and {(f.shard, f.kind) for f in loader.failures} == {(SHARD, kind)}
        else:
            assert not loader.failures, "the open descriptor is as good as before"


@pytest.mark.parametrize(("damage", "kind"), DAMAGE)
def test_a_shard_that_changes_under_evaluation_is_masked(
    ct_data: Path, data: Path, damage: Callable[[Path], None], kind: str
) -> None:
    right = rendered(ct_data)
    with Loader(data, shuffle=False, drop_last=False, **SMALL) as loader:
        bad: set[int] = set()
        for step, batch in enumerate(loader):
            for row, image, valid in zip(batch["index"].tolist(), batch["image"], batch["valid"], strict=True):
                assert torch.equal(image, right[row] if valid else torch.zeros_like(image))
                bad |= set() if valid else {row}
            if step == 1:
                damage(data / SHARD)
        assert {f.key for f in loader.failures} == {f"{row:012d}" for row in bad} and bool(bad) == bool(kind)
        assert all(f.kind == kind for f in loader.failures)


def test_a_shard_that_comes_back_is_read_again(data: Path) -> None:
    """A failure makes the reader open the shard anew: a copy that is renamed into place ends the trouble."""
    whole = (data / SHARD).read_bytes()
    with Loader(data, shuffle=False, drop_last=False, **SMALL) as loader:
        (data / SHARD).write_bytes(bytes(len(whole)))
        assert not any(b["valid"].any() for b in loader)
        copy = data / "train/copy"
        copy.write_bytes(whole)
        copy.rename(data / SHARD)
        assert sum(int(b["valid"].sum()) for b in loader) == 30


@pytest.mark.parametrize("instead", [None, "folder", "pipe"])
def test_a_shard_that_is_gone_is_said_once(data: Path, caplog: pytest.LogCaptureFixture, instead: str | None) -> None:
    """Not once per sample: its name, and at the end of the epoch how many samples that were."""
    shard = data / "val/000000.tar"
    shard.unlink()
    if instead == "folder":
        shard.mkdir()
    elif instead == "pipe":
        os.mkfifo(shard)
    with caplog.at_level(logging.WARNING, "radload"), Loader(data, None, **SMALL) as loader:
        rows = torch.cat([b["index"] for b in loader])
    assert len(rows) == 36 and int(rows.max()) < 30, "rows of the shard that is there"
    said = [r.getMessage() for r in caplog.records]
    if instead is None:
        assert len(said) == 2 and said[0].startswith("shard val/000000.tar cannot be opened (No such file")
        assert "replaced by others" in said[0]
    kind = "cannot be opened" if instead is None else "cannot be read"
    assert "epoch 0:" in said[-1] and f"val/000000.tar: {len(loader.failures)} {kind}" in said[-1]


def test_many_failures_are_named_ten_times_and_counted(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    for row in range(0, 30, 2):
        flip_byte(data, row)
    with caplog.at_level(logging.WARNING, "radload"), Loader(data, shuffle=False, drop_last=False, **SMALL) as loader:
        for _ in range(2):
            list(loader)
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 24, said
    assert sum("cannot be read and was left out" in line for line in said) == 20
    assert "only counted" in said[10] and said[11].startswith("epoch 0: 15 samples could not be read and were left out")
    assert f"{SHARD}: 15 wrong checksum" in said[11] and said[23].startswith("epoch 1: 15 samples")


def test_the_limit_counts_an_epoch_and_tells_shards_and_reasons(data: Path) -> None:
    for row in range(0, 30, 2):
        flip_byte(data, row)
    (data / "val/000000.tar").unlink()
    options = SMALL | {"shuffle": False, "drop_last": False, "max_failures": 20}
    with pytest.raises(RadloadError) as caught:
        list(Loader(data, None, **options))
    text = str(caught.value)
    assert text.startswith("21 samples of epoch 0 cannot be read, more than max_failures allows (20): ")
    assert f"{SHARD}: 15 wrong checksum; val/000000.tar: 6 cannot be opened" in text
    with Loader(data, None, **(options | {"max_failures": 22})) as loader:
        assert [len(list(loader)) for _ in range(2)] == [13, 13], "each epoch is counted from 0"


def test_most_of_a_split_gone_is_one_sentence(data: Path) -> None:
    (data / SHARD).unlink()
    with pytest.raises(RadloadError, match=r"000000\.tar cannot be opened.*most of the split is damaged"):
        list(Loader(data, **SMALL))


def test_stand_ins_are_the_same_whatever_reads_them(data: Path) -> None:
    for row in range(0, 30, 4):
        flip_byte(data, row)
    with Loader(data, **SMALL, augment="default") as loader:
        want = [(b["index"], b["image"]) for b in loader]
    with Loader(data, **(SMALL | {"threads": 1, "prefetch": 4}), augment="default") as loader:
        got = [(b["index"], b["image"]) for b in loader]
    index = open_index(data, read_manifest(data))
    assert len(index.records) == 37 and not np.isin(torch.cat([r for r, _ in want]), range(0, 30, 4)).any()
    assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(want, got, strict=True))
