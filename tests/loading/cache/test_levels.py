"""`Loader(cache=)`: not one pixel differs from a run without it, for whom it is shared, and what becomes of it."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import shutil
import signal
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from make import Image, Series, ct_series, ct_slice, write_dataset
from test_arena import file_limit
from test_forks import prelude
from test_reader import flip_byte

from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.errors import RadloadError, UsageError
from radload.loading import Loader
from radload.loading.cache import memory, table
from radload.loading.cache.arena import FileCache
from radload.loading.cache.levels import identity
from radload.loading.cache.memory import MemoryCache
from radload.loading.forks import Token

Batch = dict[str, Any]
# prefetch 1: nothing of the next epoch is kept before this one is done
SMALL: dict[str, Any] = {"size": (24, 20), "threads": 2, "seed": 4, "batch_size": 4, "prefetch": 1}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image is kept although another process has the lock and gets no time for a while; else hits cannot be counted."""
    prelude(monkeypatch, "from radload.loading.cache import arena; arena._PATIENCE = 60.0")


def batches(path: Path, epochs: int = 2, split: str | None = "train", **changes: Any) -> tuple[list[Batch], list[int]]:
    """All batches of some epochs, and the cache's hits of each."""
    found: list[Batch] = []
    hits = []
    with Loader(path, split, **(SMALL | changes)) as loader:
        for _ in range(epochs):
            for batch in loader:
                found.append(batch)
                count = loader.cache_hits
            hits.append(count)
    return found, hits


def assert_same(some: list[Batch], others: list[Batch]) -> None:
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HTJ2K and raw, all types that are stored, colour, look-up tables, padding and masks; sizes that have safe levels and others."""
    rng = np.random.default_rng(8)
    images = [
        Image(rng.integers(0, 2**16, (70, 51)).astype(np.uint16), codec="raw"),
        Image(rng.normal(0, 400, (64, 64)).astype(np.float32), codec="raw"),
        Image(rng.normal(0, 400, (64, 64)).astype(np.float64), codec="raw"),
        Image(rng.integers(-(2**31), 2**31, (33, 40)).astype(np.int32), codec="raw"),
        Image(rng.integers(0, 256, (48, 56)).astype(np.uint8), codec="raw"),
        Image(rng.integers(-128, 128, (48, 56)).astype(np.int8)),
        Image(rng.integers(0, 256, (48, 56, 3)).astype(np.uint8)),
        Image(rng.integers(0, 2**16, (48, 56, 3)).astype(np.uint16), codec="raw"),
        Image(rng.integers(0, 8, (20, 20)).astype(np.uint16), modality_lut=(0, [3.0, 9, 1, 5, 7, 7, 2, 0]), averaging=False),
        Image(ct_slice(1, 200, 180), intercept=-1024.0, padding=(0, 30), invert=True),
        Image(ct_slice(2, 200, 180), intercept=-1024.0, mask=(ct_slice(2, 200, 180) > 1000).astype(np.uint8)),
        Image(ct_slice(3, 1, 9), intercept=-1024.0),
    ]  # fmt: skip
    series = [Series([one], modality=f"X{i}") for i, one in enumerate(images)]
    series += [ct_series(20, 8, 256, 256), ct_series(21, 4, split="val")]
    return write_dataset(tmp_path_factory.mktemp("kinds") / "kinds", series)


@pytest.mark.parametrize("kind", ["own memory", "folder"])
@pytest.mark.parametrize(
    "options",
    [
        {"augment": "default"},
        {"augment": None, "masks": True},
        {"augment": "default", "dtype": "bfloat16", "level_slack": 2.0},
        {"shuffle": False, "drop_last": False, "split": None, "resolution": "full"},
    ],
)
def test_cached_or_not_the_pixels_are_the_same(
    every_kind: Path, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    """Bit for bit, in every epoch, for every codec and type; a second run on the same folder too."""
    cache = True if kind == "own memory" else tmp_path / "cache"
    want, none = batches(every_kind, **options)
    found, hits = batches(every_kind, cache=cache, cache_bytes="64MiB", **options)
    assert_same(found, want)
    ahead = (
        2 * SMALL["batch_size"]
    )  # draws of the next epoch that a busy machine may serve before the last ones of this
    assert none == [0, 0] and hits[0] <= ahead and hits[1] > 0
    if "default" not in options.values():
        drawn = sum(int((batch["index"] >= 0).sum()) for batch in want) // 2
        assert drawn - ahead <= hits[1] <= drawn, "one level per sample: all hits"
    again, hits = batches(every_kind, cache=cache, cache_bytes="64MiB", **options)
    assert_same(again, want)
    assert (hits[0] > 0) == (kind == "folder")


def test_windows_share_a_folder(every_kind: Path, tmp_path: Path) -> None:
    """What is decoded depends on the window for some types (counted from its centre in float32): these are kept apart."""
    for window in ((40.0, 400.0), (3000.0, 9000.0), "file", (40.0, 400.0)):
        want, _ = batches(every_kind, window=window)
        found, hits = batches(every_kind, window=window, cache=tmp_path, cache_bytes="64MiB")
        assert_same(found, want)
    assert hits == [20, 20]


def test_damaged_samples_are_not_kept(ct_data: Path, tmp_path: Path) -> None:
    """Each epoch finds them damaged, replaces them as without a cache, and names them. (64 pixels: the full level, that is damaged.)"""
    root = tmp_path / "damaged"
    shutil.copytree(ct_data, root)
    for row in (3, 17):
        flip_byte(root, row)
    options: dict[str, Any] = {"batch_size": 5, "max_failures": 10, "size": 64}
    runs = []
    for cache in (None, tmp_path / "cache"):
        with Loader(root, cache=cache, **(SMALL | options)) as loader:
            found = [batch for _ in range(3) for batch in loader]
            runs.append((found, [failure.key for failure in loader.failures]))
    assert_same(runs[1][0], runs[0][0])
    assert runs[1][1] == runs[0][1] and set(runs[0][1]) == {f"{row:012d}" for row in (3, 17)}
    manifest = read_manifest(root)
    whose = bytes.fromhex(identity(manifest, open_index(root, manifest).folder))
    kept_in = FileCache(tmp_path / "cache", whose, 1 << 23, lambda _: None)
    kept = [row for row in range(30) if kept_in.get(row, 0, 0.0) is not None]
    assert kept == [row for row in range(30) if row not in (3, 17)]
    kept_in.close()
    evaluated, hits = batches(
        root, 1, cache=tmp_path / "cache", shuffle=False, drop_last=False, max_failures=10, size=64
    )
    assert hits == [28] and sum(int(batch["valid"].sum()) for batch in evaluated) == 28


def test_ranks_share_what_each_has_decoded(ct_data: Path, tmp_path: Path) -> None:
    """Two at once on a folder that is not there: in the second epoch everything is found, whoever decoded it."""
    want, _ = batches(ct_data, 3, batch_size=6, augment=None)
    options: dict[str, Any] = SMALL | {"batch_size": 3, "world_size": 2, "cache": tmp_path / "a/b"}
    with Loader(ct_data, rank=0, **options) as first, Loader(ct_data, rank=1, **options) as second:
        found, hits = [], []
        for _ in range(3):
            for left, right in zip(first, second, strict=True):
                found.append({name: torch.cat([left[name], right[name]]) for name in left})
                count = first.cache_hits, second.cache_hits
            hits.append(count)
    assert_same(found, want)
    assert hits[2] == (15, 15)
    assert hits[0][0] + hits[0][1] < 15
    _, hits = batches(ct_data, 1, split="val", cache=tmp_path / "a/b")
    assert hits == [0], "another split is in the same file, under its own rows"
    assert len(list((tmp_path / "a/b").iterdir())) == 1


def test_a_damaged_entry_is_decoded_anew(ct_data: Path, tmp_path: Path) -> None:
    want, _ = batches(ct_data)
    batches(ct_data, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    content = bytearray(file.read_bytes())
    start = content.rindex(table.key(5, 1, 0.0))
    kept = table.read(content[start : start + table.SLOT_SIZE], table.key(5, 1, 0.0))
    assert kept is not None
    offset = kept.offset
    content[offset + 50] ^= 0x40
    file.write_bytes(content)
    found, hits = batches(ct_data, cache=tmp_path / "cache")
    assert_same(found, want)
    assert hits == [27, 28], "28 draws fill batches; what was damaged has been repaired"


def test_a_killed_process_leaves_a_cache_that_serves(ct_data: Path, tmp_path: Path) -> None:
    want, _ = batches(ct_data)
    with Loader(ct_data, cache=tmp_path, **SMALL) as loader:
        next(iter(loader))
        os.kill(loader.pid, signal.SIGKILL)
        with pytest.raises(RadloadError, match="SIGKILL"):
            for _ in range(20):
                next(iter(loader))
    found, hits = batches(ct_data, cache=tmp_path)
    assert_same(found, want)
    assert hits[0] > 0 and hits[1] > hits[0]


def test_no_room_is_said_once_and_the_run_goes_on(
    ct_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    want, _ = batches(ct_data)
    with caplog.at_level(logging.WARNING, "radload"), file_limit(600 << 10):
        found, hits = batches(ct_data, cache=tmp_path, cache_bytes="4MiB")
    assert_same(found, want)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 1 and "takes no more images" in texts[0] and str(tmp_path) in texts[0]
    assert hits == [0, 0]


def test_a_small_budget_is_a_share_of_hits(tmp_path: Path) -> None:
    """Nothing is thrown out, so the second epoch hits what the first one kept, all of it."""
    root = write_dataset(tmp_path / "data", [ct_series(i, 10, 128, 128) for i in range(8)])
    for cache in (True, tmp_path / "cache"):
        _, hits = batches(root, 4, batch_size=8, size=100, cache=cache, cache_bytes="1MiB")
        assert hits[0] == 0 and 28 <= hits[1] <= 32 and len(set(hits[1:])) == 1


def test_private_memory_ends_with_the_loader(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", [ct_series(i, 10, 512, 512) for i in range(6)])

    def own(loader: Loader) -> int:
        status = Path(f"/proc/{loader.pid}/status").read_text()
        return int(status.split("RssShmem:")[1].split()[0]) >> 10

    options: dict[str, Any] = {"batch_size": 10, "size": 480, "threads": 1, "channels": 1}
    with Loader(root, **options) as plain, Loader(root, cache=True, **options) as loader:
        for _ in itertools.chain(plain, loader):
            pass
        assert 20 < own(loader) - own(plain) < 60, "60 slices of 0.5 MiB"
        pid = loader.pid
    assert not Path(f"/proc/{pid}").exists()


def test_nothing_is_left_open(ct_data: Path, tmp_path: Path) -> None:
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for turn in range(12):
        loader = Loader(ct_data, cache=tmp_path if turn % 2 else True, **SMALL)
        if turn % 3:
            next(iter(loader))
            loader.close()
        del loader
        gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_another_index_is_another_cache(ct_data: Path, tmp_path: Path) -> None:
    """The same pixels divided otherwise have the same fingerprint, but other rows."""
    series = [ct_series(i, 4, split=split) for i, split in enumerate(("train", "train", "val"))]
    turned = [ct_series(i, 4, split=split) for i, split in enumerate(("train", "val", "train"))]
    one, other = write_dataset(tmp_path / "one", series), write_dataset(tmp_path / "other", turned)
    names = []
    for root in (one, other):
        manifest = read_manifest(root)
        names.append(identity(manifest, open_index(root, manifest).folder))
        want, _ = batches(root)
        found, hits = batches(root, cache=tmp_path / "cache")
        assert_same(found, want)
        assert hits[0] == 0
    assert names[0] != names[1]


def test_memory_cache_by_itself() -> None:
    warnings: list[str] = []
    cache = MemoryCache(1 << 20, warnings.append, Lock())
    image = np.arange(60_000, dtype=np.uint16).reshape(200, 300)
    cache.put(1, 0, 0.0, image[::2])
    found = cache.get(1, 0, 0.0)
    assert found is not None and np.array_equal(found, image[::2]) and np.shares_memory(found, cache.get(1, 0, 0.0))
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1
    image[...] = 0
    assert found[1, 1] == 601, "a copy"
    assert cache.get(1, 1, 0.0) is None and cache.get(1, 0, 2.0) is None
    for row in range(2, 50):
        cache.put(row, 0, 0.0, image)
    assert sum(cache.get(row, 0, 0.0) is not None for row in range(2, 50)) == 7 and not warnings


def test_memory_that_the_system_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, length: int, flags: int, real: Any = memory.mmap.mmap) -> Any:
        if length >= 1 << 20:
            raise OSError(12, "Cannot allocate memory")
        return real(number, length, flags)

    warnings: list[str] = []
    monkeypatch.setattr(memory.mmap, "mmap", refuse)
    cache = MemoryCache(1 << 20, warnings.append, Lock())
    for row in range(3):
        cache.put(row, 0, 0.0, np.zeros((4, 4), np.uint8))
        assert cache.get(row, 0, 0.0) is None
    assert len(warnings) == 1 and "Cannot allocate memory" in warnings[0]


def test_memory_shared_by_forks() -> None:
    """Four processes keep the same images, each in its own order: nothing torn, nothing lost, and the parent sees all."""
    cache, rows = MemoryCache(8 << 20, warn=lambda _: None, lock=Token()), 400
    children = []
    for seed in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for row in np.random.default_rng(seed).permutation(rows).tolist():
                    found = cache.get(row, 1, 0.5)
                    if found is None:
                        cache.put(row, 1, 0.5, np.full((40, 50), row, np.uint16))
                        found = cache.get(row, 1, 0.5)
                    if found is None or found.shape != (40, 50) or not (found == row).all():
                        raise RuntimeError(row)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    for row in range(rows):
        found = cache.get(row, 1, 0.5)
        assert found is not None and (found == row).all()


def test_a_folder_that_cannot_be_used_is_said_at_once(ct_data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cache folder"):
        Loader(ct_data, cache=tmp_path / "file", **SMALL)
