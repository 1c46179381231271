"""Whatever byte of a shard is wrong, verify names it; whatever the loader reads of it, it refuses or it is right."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verify_make import SHARD, flip, look, opened, task_of

from radload.codecs import htj2k
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample, FormatError
from radload.verify import verify


def test_a_whole_data_set_has_no_problem(whole: Path) -> None:
    report = verify(whole, workers=2)
    assert report.problems == () and report.samples == 22 and report.shards > 3 and not report.unlisted
    index = opened(whole)
    assert index.masks is not None and index.table("luts").num_rows >= 2
    assert {(int(r["codec"]), int(r["channels"])) for r in index.records} == {(0, 1), (1, 1), (1, 3)}
    assert verify(whole, quick=True, workers=0).whole and verify(whole, levels=True, workers=0).whole
    assert report.bytes == sum(path.stat().st_size for path in whole.glob("*/*.tar"))


def _every_byte(data: Path, step: int) -> tuple[int, int]:
    """Flip a bit of every `step`th byte, one at a time; returns the numbers of flips and of those that verify does not see."""
    missed = flips = 0
    for task in [task_of(data, name) for name in opened(data).shard_names]:
        shard = data / task.name
        for position in range(flips % step, task.size, step):
            flip(shard, position, 1 << position % 8)
            found = look(task)
            missed += not found.problems
            _loader_sees(data, task.name)
            flip(shard, position, 1 << position % 8)
            flips += 1
            assert all(problem.shard == task.name for problem in found.problems)
        assert look(task).problems == ()
    return flips, missed


def _loader_sees(data: Path, name: str) -> None:
    """What the loader's reader returns of a shard has the checksum of the index: a flipped byte of pixels never gets through."""
    index = opened(data)
    right = _every_byte.__dict__.setdefault(str(data), {})
    number = index.shard_names.index(name)
    with ShardFiles(data, index.shard_names) as shards:
        for record in index.records[index.records["shard"] == number]:
            try:
                content = shards.read(record)
            except CorruptSample:
                continue
            assert right.setdefault(int(record["key"]), content) == content


def test_a_flipped_bit_is_found(data: Path) -> None:
    flips, missed = _every_byte(data, 211)
    assert flips > 250 and missed == 0


@pytest.mark.soak
def test_a_flipped_bit_of_any_byte_is_found(data: Path) -> None:
    flips, missed = _every_byte(data, 1)
    print(f"bytes flipped: {flips:,}, not found: {missed}")
    assert missed == 0


@pytest.mark.parametrize("levels", [False, True])
def test_levels_are_decoded_once_per_shape_or_always(
    whole: Path, monkeypatch: pytest.MonkeyPatch, levels: bool
) -> None:
    decoded: list[tuple[tuple[int, ...], int]] = []
    real = htj2k.decode

    def counted(data: bytes, level: int = 0, *others: Any, **named: Any) -> Any:
        decoded.append((named["shape"], level))
        return real(data, level, *others, **named)

    monkeypatch.setattr(htj2k, "decode", counted)
    for name in opened(whole).shard_names:
        decoded.clear()
        assert look(replace(task_of(whole, name), levels=levels)).problems == ()
        full = [shape for shape, level in decoded if not level]
        for level in range(1, 6):
            found = [shape for shape, at in decoded if at == level]
            assert found == (full if levels else list(dict.fromkeys(full)))


def test_a_flipped_pixel_byte_costs_its_sample(data: Path) -> None:
    record = opened(data).records[1]
    flip(data / SHARD, int(record["offset"]) + int(record["length"]) // 2)
    found = look(task_of(data))
    (problem,) = found.problems
    assert str(problem).startswith(
        f"{SHARD} {int(record['key']):012d}: the pixels have a wrong checksum (CRC-32C): restore"
    )
    assert found.bad == (1,)
    assert look(task_of(data, quick=True)).problems == (), "sizes and headers are as they were"


def test_a_damaged_tar_header_costs_no_pixel(data: Path) -> None:
    flip(data / SHARD, int(opened(data).records[1]["offset"]) - 512 + 3)
    for quick in (False, True):
        found = look(task_of(data, quick=quick))
        assert len(found.problems) == 1 and "tar header" in found.problems[0].what and found.problems[0].key == 1
    assert look(task_of(data)).bad == (), "the pixels behind it are whole"


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("quick", [False, True])
def test_a_cut_shard_is_one_line(data: Path, part: float, quick: bool) -> None:
    shard, records = data / SHARD, opened(data).records
    size = shard.stat().st_size
    os.truncate(shard, int(size * part))
    found = look(task_of(data, quick=quick))
    assert (
        len(found.problems) == 1 and f"is cut: {int(size * part):,} bytes instead of {size:,}" in found.problems[0].what
    )
    ends = (records["offset"] + records["length"])[records["shard"] == 0]
    gone = set(np.flatnonzero(ends > size * part).tolist())
    assert gone <= set(found.bad) <= gone | ({min(gone) - 1} if gone else {len(ends) - 1}), (
        "those before the cut are good"
    )


def test_a_shard_that_has_grown(data: Path) -> None:
    with (data / SHARD).open("ab") as file:
        file.write(bytes(512))
    (problem,) = look(task_of(data)).problems
    assert "has grown" in problem.what


def test_two_shards_swapped(data: Path) -> None:
    first, second = (data / name for name in opened(data).shard_names[:2])
    first.rename(data / "aside")
    second.rename(first)
    (data / "aside").rename(second)
    report = verify(data, workers=0)
    assert len(report.problems) == 2 and all("holds other samples" in problem.what for problem in report.problems)
    assert {problem.shard for problem in report.problems} == set(opened(data).shard_names[:2])
    assert len(verify(data, workers=0, quick=True).problems) == 2
    index = opened(data)
    with ShardFiles(data, index.shard_names) as shards:
        for record in index.records[index.records["shard"] < 2]:
            with pytest.raises(CorruptSample):
                shards.read(record)


def _missing(shard: Path) -> None:
    shard.unlink()


def _folder(shard: Path) -> None:
    shard.unlink()
    shard.mkdir()


def _pipe(shard: Path) -> None:
    shard.unlink()
    os.mkfifo(shard)


def _nowhere(shard: Path) -> None:
    shard.unlink()
    shard.symlink_to("/nonexistent")


def _zeros(shard: Path) -> None:
    shard.write_bytes(bytes(shard.stat().st_size))


@pytest.mark.parametrize("damage", [_missing, _folder, _pipe, _nowhere, _zeros])
def test_what_is_no_shard_costs_its_samples_and_no_waiting(data: Path, damage: Callable[[Path], None]) -> None:
    damage(data / SHARD)
    report = verify(data, workers=0)
    assert {problem.shard for problem in report.problems} == {SHARD}
    assert report.bad == tuple(np.flatnonzero(opened(data).records["shard"] == 0).tolist())
    index = opened(data)
    with ShardFiles(data, index.shard_names) as shards, pytest.raises((CorruptSample, FormatError)):
        shards.read(index.records[0])


def test_a_shard_replaced_while_it_is_read(data: Path) -> None:
    """The descriptor keeps what was there: a replacement by renaming is found by the next look, one in place by this one."""
    task = task_of(data)
    shard = data / SHARD

    def replace(item: int, done: int) -> None:
        if item == 2:
            shard.with_suffix(".new").write_bytes(bytes(task.size))
            shard.with_suffix(".new").rename(shard)

    from radload.verify.shard import check_shard

    assert check_shard(task, replace).problems == ()
    assert look(task).problems


def test_another_shard_beside_those_of_the_index(data: Path) -> None:
    shutil.copy(data / SHARD, data / "train/000077.tar")
    report = verify(data, workers=0)
    assert [str(problem) for problem in report.problems] == ["train/000077.tar: is no shard of the index: remove it"]
