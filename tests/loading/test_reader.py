"""A bad sample costs one draw: replaced by a fixed rule in training, left out in evaluation, and named in both."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make import rewrite
from numpy.typing import NDArray

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.schema import key_text
from radload.dataset.shards import ShardFiles
from radload.errors import RadloadError
from radload.loading.decode import decode_level
from radload.loading.planning.plan import Planner, Settings
from radload.loading.planning.recipe import make_recipe
from radload.loading.reader import Draw, Reader


def flip_byte(root: Path, row: int, place: int = -20) -> None:
    """Damage the payload of one sample's member."""
    index = open_index(root, read_manifest(root))
    record = index.records[row]
    path = root / index.shard_names[int(record["shard"])]
    at = int(record["offset"]) + place % int(record["length"])
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


@pytest.fixture
def damaged(ct_data: Path, tmp_path: Path) -> Path:
    root = tmp_path / "damaged"
    shutil.copytree(ct_data, root)
    flip_byte(root, 3)
    return root


def _read(root: Path, row: int, *, replace: bool, position: int = 11) -> tuple[Draw[NDArray[Any]], Index]:
    index = open_index(root, read_manifest(root))
    planner = Planner(index, Settings((64, 64), make_recipe(), "float32", 1.0, "auto", None, 4))
    with ShardFiles(root, index.shard_names) as files:
        reader = Reader(files, planner, range(30), replace, decode_level)
        return reader.read(planner.plan(np.array([row]), 0, np.array([position])), 0, 0, position), index


def test_a_good_sample_is_itself(damaged: Path) -> None:
    draw, _ = _read(damaged, 4, replace=True)
    assert draw.plan.rows.tolist() == [4] and draw.failures == ()


def test_training_replaces_by_a_fixed_rule(damaged: Path) -> None:
    draw, _ = _read(damaged, 3, replace=True)
    assert draw.content is not None and draw.plan.rows[draw.place] != 3
    again, _ = _read(damaged, 3, replace=True)
    assert np.array_equal(again.plan.rows, draw.plan.rows)
    others = {int(_read(damaged, 3, replace=True, position=p)[0].plan.rows[0]) for p in range(12)}
    assert len(others) > 4, "the stand-in depends on the draw"
    assert [f.key for f in draw.failures] == [key_text(3)] and "checksum" in draw.failures[0].reason


def test_evaluation_leaves_it_out(damaged: Path) -> None:
    draw, _ = _read(damaged, 3, replace=False)
    assert draw.content is None and len(draw.failures) == 1


def test_a_shard_that_is_gone_or_cut_is_a_failure_of_its_samples(damaged: Path) -> None:
    shard = damaged / "train/000000.tar"
    with shard.open("r+b") as file:
        file.truncate(5000)
    assert "cut" in _read(damaged, 29, replace=False)[0].failures[0].reason
    shard.unlink()
    assert "cannot be opened" in _read(damaged, 29, replace=False)[0].failures[0].reason
    with pytest.raises(RadloadError, match=r"most of the split is damaged"):
        _read(damaged, 29, replace=True)


def test_a_record_without_sense_is_a_failure(ct_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    shutil.copytree(ct_data, root)
    records = open_index(root, read_manifest(root)).records.copy()
    records["slope"][2] = np.nan
    records["rows"][5] += 1
    rewrite(root, "records.bin", records.tobytes())
    assert "makes no sense" in _read(root, 2, replace=False)[0].failures[0].reason
    assert "index says" in _read(root, 5, replace=False)[0].failures[0].reason
    assert _read(root, 4, replace=False)[0].failures == ()
