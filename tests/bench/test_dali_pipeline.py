"""The benchmarks' pipeline of DALI delivers what the loader delivers: otherwise a ratio of their speeds would mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from make import ct_series, write_dataset

from radload.loading import Loader
from radload.loading.planning.plan import Settings
from radload.loading.planning.recipe import make_recipe

SIZE, BATCH = 24, 4


@pytest.mark.parametrize("feed", ["streams", "coded"])
def test_its_batches_are_the_loaders(tmp_path: Path, feed: str) -> None:
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    from dali_pipeline import dali_batches

    shards = write_dataset(tmp_path / "shards", [ct_series(i, 4) for i in range(3)])
    settings = Settings((SIZE, SIZE), make_recipe((40, 400), 1), "float32", 1.0, "auto", None, 0)
    batches = dali_batches(shards, settings, BATCH, 2, feed)
    found = [np.stack([np.asarray(image) for image in next(batches)]) for _ in range(3)]
    batches.close()
    with Loader(shards, batch_size=BATCH, size=SIZE, window=(40, 400), channels=1, seed=0) as loader:
        wanted = [batch["image"].numpy() for batch in loader]
    np.testing.assert_allclose(np.stack(found), np.stack(wanted), rtol=0, atol=1e-6)
