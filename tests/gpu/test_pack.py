"""On a CUDA device, `--decode-device cuda` gives the CPU's shards; on several devices, draws come from where they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_pack import differences
from make import ct_series, write_dataset

from radload.codecs.nvimgcodec import unavailable
from radload.kernels import gpu
from radload.loading import Loader

pytestmark = pytest.mark.gpu


def test_the_same_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert differences(tmp_path, cuda=True, count=8) == []


def test_a_cache_on_two_ranks(tmp_path: Path) -> None:
    """Two ranks of one process, on one device or two: together they keep the split, and the global batches stay."""
    reason = gpu.unavailable()
    if reason is not None or not torch.cuda.is_available():
        pytest.skip(reason or "torch sees no CUDA device")
    root = write_dataset(tmp_path / "ct", [ct_series(i, 24, 256, 256) for i in range(4)])
    options: dict[str, Any] = {"size": 64, "resolution": "full", "augment": "default"}
    devices = [f"cuda:{i % torch.cuda.device_count()}" for i in range(2)]
    ranks = [
        Loader(root, batch_size=16, rank=r, world_size=2, device=name, device_cache_bytes="16MB", **options)
        for r, name in enumerate(devices)
    ]
    with Loader(root, batch_size=32, **options) as plain:
        for epoch in range(3):
            for want, *parts in zip(plain, *ranks, strict=True):
                images = {int(row): image for row, image in zip(want["index"], want["image"], strict=True)}
                found = {
                    int(row): image.cpu()
                    for part in parts
                    for row, image in zip(part["index"], part["image"], strict=True)
                }
                assert images.keys() == found.keys()
                assert all((images[row] - found[row]).abs().max() < 1e-4 for row in images)
                hits = sum(rank.cache_hits for rank in ranks)
            assert epoch < 2 or hits > 0.7 * 96
    for rank in ranks:
        rank.close()
