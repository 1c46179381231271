"""Each sample is gathered once, in order of the index, on any number of ranks; the hardest are those with the highest losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from judge_cases import CLASSES, SAMPLES, gathered, seen_by
from two_ranks import run_on_two

from radload.train.distributed import Ranks
from radload.train.predictions import gather_predictions, hardest, save_predictions

ALONE = Ranks(0, 1, 0, torch.device("cpu"))


def test_two_ranks_gather_what_one_sees(tmp_path: Path) -> None:
    (single_one, multi_one), first, second = gathered(ALONE), *run_on_two(gathered, tmp_path)
    for alone, of_first, of_second in ((single_one, first[0], second[0]), (multi_one, first[1], second[1])):
        assert of_first[0] == alone[0] and of_second[0] is None
        assert [tuple(one) for one in of_first[1]] == [tuple(one) for one in alone[1]]
        assert of_second[1] == of_first[1]


@pytest.mark.parametrize("multi", [False, True])
def test_each_row_once_without_what_was_not_read(multi: bool) -> None:
    seen = seen_by(ALONE, multi)
    predictions = gather_predictions(ALONE, seen)
    assert predictions is not None and predictions.multi is multi
    assert predictions.rows.tolist() == [1000 + row for row in range(SAMPLES) if row != 17]
    worst = hardest(ALONE, seen, 5)
    order = np.argsort(-np.nan_to_num(predictions.losses, nan=-1), kind="stable")[:5]
    assert [row for row, _ in worst] == predictions.rows[order].tolist()
    sums = predictions.probabilities.sum(axis=1)
    assert np.allclose(sums, 1, atol=1e-6) != multi


def test_columns_are_gathered_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gathered(ALONE)
    monkeypatch.setattr("radload.train.predictions._BLOCK", SAMPLES)
    assert gathered(ALONE) == whole


def test_the_file_holds_everything_by_key(tmp_path: Path) -> None:
    predictions = gather_predictions(ALONE, seen_by(ALONE, False))
    assert predictions is not None
    keys = np.arange(2000, dtype=np.uint64) * 3
    save_predictions(tmp_path / "p.npz", predictions, keys, ("a", "b", "c", "d"))
    with np.load(tmp_path / "p.npz", allow_pickle=False) as file:
        assert np.array_equal(file["key"], predictions.rows * 3) and file["classes"].tolist() == ["a", "b", "c", "d"]
        assert file["probability"].shape == (SAMPLES - 1, CLASSES) and file["probability"].dtype == np.float32
        assert np.array_equal(file["target"], predictions.targets)
