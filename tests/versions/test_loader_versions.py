"""The loader and the versions of a data set: each is what it was, a loader keeps its own, and a run may go over to the next."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest_pack import WriteSeries

import radload
from radload.errors import UsageError
from radload.pack import PackOptions, append, pack
from radload.versions import compact, forget

OPTIONS: dict[str, Any] = {"batch_size": 4, "size": 16, "threads": 1, "seed": 3, "augment": "default"}


def add(options: PackOptions, write_series: WriteSeries, number: int) -> None:
    write_series(options.source / f"new{number}", 4, patient=f"N{number}", study=f"n{number}", series=f"n{number}")
    append(options)


@pytest.fixture
def options(clinic: Path, tmp_path: Path) -> PackOptions:
    options = PackOptions(clinic, tmp_path / "out", split="100/0/0", workers=0, labels_from="modality")
    pack(options)
    return options


def batches(root: Path, **changes: Any) -> list[dict[str, Any]]:
    with radload.Loader(root, **(OPTIONS | changes)) as loader:
        return [batch for _ in range(2) for batch in loader]


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in ("image", "index", "label")
    )


@pytest.mark.parametrize("sampler", ["uniform", "balanced", "patient"])
def test_an_old_version_loads_what_it_loaded(options: PackOptions, write_series: WriteSeries, sampler: str) -> None:
    before = batches(options.out, sampler=sampler)
    add(options, write_series, 0)
    new = batches(options.out, sampler=sampler)
    assert same(before, batches(options.out, sampler=sampler, version=0))
    assert same(new, batches(options.out, sampler=sampler, version="000001")) and not same(before, new)


def test_a_loader_keeps_its_version_while_others_come(options: PackOptions, write_series: WriteSeries) -> None:
    before = batches(options.out)
    with radload.Loader(options.out, **OPTIONS) as loader:
        got = [next(iter(loader))]
        add(options, write_series, 0)
        got += [*loader, *loader]
    assert same(got, before)


def test_a_run_goes_over_to_the_next_version_at_the_next_pass(options: PackOptions, write_series: WriteSeries) -> None:
    with radload.Loader(options.out, **OPTIONS) as loader:
        next(iter(loader))
        state = loader.state_dict()
    add(options, write_series, 0)
    with radload.Loader(options.out, **OPTIONS) as loader:
        with pytest.raises(UsageError, match="another version"):
            loader.load_state_dict(state)
        loader.load_state_dict(state, allow_new_version=True)
        assert loader.epoch == 1 and loader.state_dict()["position"] == 0
        got = list(loader)
    with radload.Loader(options.out, **OPTIONS, epoch=1) as loader:
        assert same(got, list(loader)), "the pass that this version has as its second"
    with radload.Loader(options.out, **OPTIONS, version=0) as loader:
        loader.load_state_dict(state)
        assert loader.state_dict() == state, "or it stays with its version, at its exact place"


def test_a_version_that_is_gone_is_said(options: PackOptions, write_series: WriteSeries, tmp_path: Path) -> None:
    add(options, write_series, 0)
    for version, words in (
        (7, "has no version 7"),
        ("old", "is no version"),
        (-1, "is no version"),
        (True, "is no version"),
    ):
        with pytest.raises(UsageError, match=words):
            radload.Loader(options.out, **OPTIONS, version=version)
    with radload.Loader(options.out, **OPTIONS) as loader:
        state = loader.state_dict()
    (tmp_path / "list").write_text("P0\n")
    forget(options.out, tmp_path / "list")
    compact(options.out)
    with radload.Loader(options.out, **OPTIONS) as loader:
        with pytest.raises(UsageError, match="another version"):
            loader.load_state_dict(state)
        loader.load_state_dict(state, allow_new_version=True)
        assert list(loader)


def test_a_copy_of_the_folder_has_all_versions(options: PackOptions, write_series: WriteSeries, tmp_path: Path) -> None:
    add(options, write_series, 0)
    before = batches(options.out, version=0)
    shutil.copytree(options.out, tmp_path / "copy")
    assert same(batches(tmp_path / "copy", version=0), before)


def test_labels_of_a_version_are_its_own(options: PackOptions, write_series: WriteSeries, tmp_path: Path) -> None:
    from radload.pack.relabel import LabelOptions, add_labels

    add(options, write_series, 0)
    add_labels(LabelOptions(options.out, labels_from="modality", name="again"))
    with radload.open(options.out, labels="again") as ds:
        assert len(ds) == 28 and {sample.label for sample in ds} == {"CT"}
    with pytest.raises(UsageError, match="no label set 'again'"):
        radload.open(options.out, labels="again", version=0)
