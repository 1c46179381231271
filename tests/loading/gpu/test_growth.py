"""Nothing grows: memory of the device, page locks, slots, and both processes stay as they are after the first epochs."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_device import HostDevice, libraries
from make import ct_series, write_dataset

from radload.loading import Loader
from radload.loading.gpu import device
from radload.loading.gpu.sink import BUFFERS, COPIES

pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")

ROWS, COLS, BATCH, PREFETCH = 64, 48, 8, 2


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostDevice:
    build: Callable[[int], ctypes.CDLL] = libraries(tmp_path)
    found = HostDevice(build)
    monkeypatch.setattr(device, "open_device", lambda _: found)
    return found


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "ct", [ct_series(i, 20, ROWS, COLS) for i in range(4)])


def private(pid: int) -> int:
    """Bytes of a process that are nobody else's: anonymous memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) << 10


def refuse_some(host: HostDevice) -> None:
    """Every ninth call of the decoder is refused, as a broken stream would be."""
    for decoder in host.decoders:
        decode = decoder.decode

        def sometimes(data: list[Any], decode: Any = decode, decoder: Any = decoder) -> Any:
            if decoder.calls % 9 == 8:
                decoder.calls += 1
                raise RuntimeError("refused")
            return decode(data)

        decoder.decode = sometimes  # type: ignore[method-assign]


def test_the_device_holds_no_more_than_is_stated(host: HostDevice, shards: Path) -> None:
    """docs/gpu.md, "Bounds", counted: buffers, decoded images, what is kept, and what the consumer holds; and slots and page locks."""
    options: dict[str, Any] = {"batch_size": BATCH, "size": 32, "prefetch": PREFETCH, "augment": "default"}
    with Loader(shards, device="cuda", decode="gpu", device_cache_bytes="1MiB", **options) as loader:
        refuse_some(host)
        seen, ring = [], loader._process.ring  # type: ignore[union-attr]
        for _ in range(6):
            for _batch in loader:
                pass
            del _batch
            seen.append((host.live(), ring.slots, sum(host.pinned.values())))
        live, slots, pinned = (max(one[i] for one in seen) for i in range(3))
        image = BATCH * 3 * 32 * 32 * 4
        coded = BATCH * ROWS * COLS * 2
        largest = 2 * (
            BATCH * (ROWS * COLS * 4 + 1024) + (64 << 10)
        )  # of a buffer: pixels, records, tables, a quarter more
        assert live <= (1 << 20) + BUFFERS * (largest + coded) + 2 * image + 4096
        assert slots <= PREFETCH + COPIES
        assert pinned <= slots * ring.layout.size
        assert seen[3] == pytest.approx(seen[-1]), "after the first epochs nothing changes"
    host.finish()
    assert not host.pinned


@pytest.mark.soak
@pytest.mark.parametrize("decode", ["gpu", "auto", "cpu"])
def test_minutes_of_batches_leave_memory_as_it_was(host: HostDevice, shards: Path, decode: str) -> None:
    """Refusals, jumps to other epochs, and passes that are left early; both processes, files and threads."""
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"batch_size": BATCH, "size": 32, "prefetch": PREFETCH, "augment": "default"}
    with Loader(shards, device="cuda", decode=decode, device_cache_bytes="1MiB", **options) as loader:
        refuse_some(host)

        def turn(seconds: float) -> tuple[int, int, int, int]:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for number, _batch in enumerate(loader):
                    if number == rng.integers(0, 40):
                        break
                if rng.integers(0, 4) == 0:
                    loader.set_epoch(int(rng.integers(0, 1000)))
                host.live()
            gc.collect()
            threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in (os.getpid(), loader.pid))
            files = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (os.getpid(), loader.pid))
            return private(os.getpid()), private(loader.pid), threads, files

        turn(30)
        before = turn(15)
        turn(60)
        after = turn(15)
        for name, was, now in zip(("consumer", "loader process"), before, after, strict=False):
            assert now - was < 16 << 20, f"the {name} grew by {(now - was) >> 20} MiB in a minute"
        assert after[2:] == before[2:], "threads and open files"
