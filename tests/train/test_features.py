"""Features are of the rows asked for, in their order, the same for any batch size, and without what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lesions import write_lesions
from train_data import flip_bytes

import radload
from radload.errors import UsageError
from radload.train.backbones import make_backbone
from radload.train.features import extract


def test_features_of_several_networks_in_one_pass(tmp_path: Path) -> None:
    shards = write_lesions(tmp_path / "shards", {"train": 4, "val": 3}, masks=False)
    flip_bytes(shards, [5])
    rows = np.ones(42, bool)
    rows[::7] = False
    found = []
    for batch in (4, 11):
        with radload.Loader(
            shards, None, batch_size=batch, size=32, shuffle=False, drop_last=False, threads=1, max_failures=2
        ) as loader:
            nets = {str(seed): make_backbone("random", "test_resnet", 3, 32, loader.recipe, seed) for seed in (0, 1)}
            found.append(extract(nets, loader, rows, torch.device("cpu")))
            images = torch.cat([b["image"][b["index"] >= 0] for b in loader])
    index, features = found[0]
    assert index.tolist() == [row for row in range(42) if row % 7 and row != 5]
    for name, net in nets.items():
        assert features[name].shape == (len(index), net.width)
        with torch.inference_mode():
            torch.testing.assert_close(features[name], net(images[index]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(features[name], found[1][1][name], rtol=1e-4, atol=1e-5)
    assert np.array_equal(index, found[1][0])


def test_nothing_to_read_is_said() -> None:
    with pytest.raises(UsageError, match="can be read"):
        extract({}, [], np.ones(3, bool), torch.device("cpu"))
