"""On a CUDA device, the loader's batches are those of the CPU, wherever they are decoded, and nothing reads a slot too late."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from make import ct_series, write_dataset

from radload.kernels import gpu
from radload.loading import Loader
from radload.loading.ring import Ring, Slot

pytestmark = pytest.mark.gpu
POISON = 0xA5


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slots that are given back are spoilt at once."""
    reason = gpu.unavailable()
    if reason is not None or not torch.cuda.is_available():
        pytest.skip(reason or "torch sees no CUDA device")
    give_back = Ring.give_back

    def spoil(ring: Ring, slot: Slot) -> None:
        slot.memory[slot.start : slot.start + ring.layout.size] = POISON
        give_back(ring, slot)

    monkeypatch.setattr(Ring, "give_back", spoil)
    yield


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("d") / "ct", [ct_series(i, 20, 256, 256) for i in range(4)])


@pytest.mark.parametrize("decode", ["cpu", "gpu", "auto"])
@pytest.mark.parametrize("busy", [False, True])
def test_the_same_batches(shards: Path, decode: str, busy: bool) -> None:
    """Also while the stream of the consumer is far behind the host."""
    options: dict[str, Any] = {"batch_size": 16, "size": 128, "augment": "default", "prefetch": 2}
    with Loader(shards, **options) as want, Loader(shards, device="cuda", decode=decode, **options) as loader:
        ballast = torch.rand(4096, 4096, device="cuda")
        found = []
        for batch in (b for _ in range(4) for b in loader):
            if busy:
                for _ in range(20):
                    ballast = (ballast @ ballast).clamp(0, 1)
            found.append(batch["image"])
        for one, image in zip((b["image"] for _ in range(4) for b in want), found, strict=True):
            assert (one - image.cpu()).abs().max() < 1e-4


def test_static_batches_in_a_cuda_graph(shards: Path) -> None:
    with Loader(shards, batch_size=16, size=64, device="cuda", static=True) as loader:
        batches = iter(loader)
        image = next(batches)["image"]
        total = torch.zeros((), device="cuda")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            total.copy_(image.sum())
        for batch in batches:
            graph.replay()
            assert batch["image"].data_ptr() == image.data_ptr()
            assert torch.allclose(total, batch["image"].sum())


def test_memory_does_not_grow(shards: Path) -> None:
    with Loader(shards, batch_size=16, size=64, device="cuda") as loader:
        seen = []
        for _ in range(12):
            for _batch in loader:
                pass
            torch.cuda.synchronize()
            seen.append(torch.cuda.memory_allocated())
        assert max(seen[4:]) <= seen[3]
