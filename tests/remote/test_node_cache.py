"""The node's shards: fetched once whoever asks, whole or not at all, within the limit, never outside of their folder."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from radload.codecs import checksum
from radload.errors import FormatError, RadloadError
from radload.remote.download import download
from radload.remote.node_cache import NodeCache
from radload.remote.shards import RemoteShards
from radload.remote.source import find_source

SIZE = 100_000


class Objects:
    """A store of some objects, in memory or from a folder; counts what is read."""

    url = "s3://bucket/set"

    def __init__(self, content: dict[str, bytes], on_read: Callable[[], None] = lambda: None) -> None:
        self.content, self.on_read = content, on_read
        self.reads: Counter[str] = Counter()

    def stream(self, name: str, offset: int, length: int) -> Iterator[memoryview]:
        self.on_read()
        self.reads[name] += 1
        found = memoryview(self.content[name])[offset : offset + length]
        for start in range(0, len(found), 40_000):
            yield found[start : start + 40_000]


NAMES = [f"train/{i:06d}.tar" for i in range(8)]
CONTENT = {name: hashlib.shake_256(name.encode()).digest(SIZE) for name in NAMES}


def make(base: Path, limit: int = 10**9, names: list[str] = NAMES) -> NodeCache:
    root = base / "set"
    root.mkdir(parents=True, exist_ok=True)
    return NodeCache(base, root, limit, names, [SIZE] * 8)


@pytest.fixture
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4)


def files(base: Path) -> set[str]:
    return {path.name for path in base.rglob("*") if path.is_file() and path.name != ".shards.lock"}


def test_a_shard_is_there_whole_or_not_at_all(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    store = Objects(CONTENT)
    cache = make(tmp_path)
    seen = []
    store.on_read = lambda: seen.append(cache.has(3))
    assert not cache.has(3)
    assert cache.fetch(3, store, pool)  # type: ignore[arg-type]
    assert cache.has(3) and seen == [False]
    assert cache.path(3).read_bytes() == CONTENT[NAMES[3]]
    assert cache.fetch(3, store, pool) and store.reads[NAMES[3]] == 1  # type: ignore[arg-type]
    assert files(tmp_path) == {"000003.tar"}


def test_large_shards_come_in_parts(tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a last one that is not full."""
    monkeypatch.setattr("radload.remote.download.PART", part := 100_000)
    content = os.urandom(6 * part + 17)
    store = Objects({NAMES[0]: content})
    (tmp_path / "set").mkdir()
    cache = NodeCache(tmp_path, tmp_path / "set", 10**9, NAMES[:1], [len(content)])
    assert cache.fetch(0, store, pool)  # type: ignore[arg-type]
    assert cache.path(0).read_bytes() == content
    assert store.reads[NAMES[0]] == 7


@pytest.mark.parametrize("left", [SIZE - 100, 0])
def test_a_shard_that_is_cut_is_not_kept(tmp_path: Path, pool: ThreadPoolExecutor, left: int) -> None:
    store = Objects({**CONTENT, NAMES[0]: CONTENT[NAMES[0]][:left]})
    with pytest.raises(FormatError, match="fewer bytes"):
        make(tmp_path).fetch(0, store, pool)  # type: ignore[arg-type]
    assert files(tmp_path) == set()


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000, 654_321])
def test_the_checksum_of_an_object_is_that_of_its_parts(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("radload.remote.download.PART", 100_000)
    content = os.urandom(size)
    store = Objects({"name": content})
    with (tmp_path / "file").open("wb") as file:
        download(store, "name", size, file.fileno(), pool, checksum.crc32c(content))  # type: ignore[arg-type]
        assert (tmp_path / "file").read_bytes() == content
        with pytest.raises(FormatError, match="wrong checksum"):
            download(store, "name", size, file.fileno(), pool, checksum.crc32c(content) ^ 1)  # type: ignore[arg-type]


def test_nobody_writes_to_a_file_that_is_closed(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part fails while the others are on their way: `download` waits for them."""
    monkeypatch.setattr("radload.remote.download.PART", 1000)
    begun, ended = [], []

    class Slow(Objects):
        def stream(self, name: str, offset: int, length: int) -> Iterator[memoryview]:
            begun.append(offset)
            while offset == 0 and len(begun) < 4:
                time.sleep(0.001)
            if offset == 0:
                raise RadloadError("cannot be reached")
            time.sleep(0.05)
            yield from super().stream(name, offset, length)
            ended.append(offset)

    with (tmp_path / "file").open("wb") as file:
        with pytest.raises(RadloadError):
            download(Slow(CONTENT), NAMES[0], SIZE, file.fileno(), pool)  # type: ignore[arg-type]
        assert len(ended) == len(begun) - 1 < SIZE // 1000 - 1


def test_the_longest_unused_goes_first(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    store, cache = Objects(CONTENT), make(tmp_path, 3 * SIZE)
    for shard in range(3):
        assert cache.fetch(shard, store, pool)  # type: ignore[arg-type]
        os.utime(cache.path(shard), (1000 + shard, 1000 + shard))
    cache.used(0)
    assert cache.fetch(3, store, pool)  # type: ignore[arg-type]
    assert cache.has(0) and cache.has(3) and not cache.has(1)
    for shard in range(8):
        cache.fetch(shard, store, pool)  # type: ignore[arg-type]
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.tar*")) <= 3 * SIZE
    assert not make(tmp_path / "small", SIZE - 1).fetch(0, store, pool)  # type: ignore[arg-type]


def test_what_somebody_else_fetches_is_left_to_him(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    first, second = make(tmp_path), make(tmp_path)
    store, found = Objects(CONTENT), []
    store.on_read = lambda: found.append(second.fetch(0, Objects(CONTENT), pool))  # type: ignore[arg-type]
    assert first.fetch(0, store, pool)  # type: ignore[arg-type]
    assert found == [False]
    assert second.fetch(0, store, pool) and store.reads[NAMES[0]] == 1  # type: ignore[arg-type]


def die_in_the_middle(base: Path) -> None:
    make(base).fetch(0, Objects(CONTENT, lambda: os._exit(9)), ThreadPoolExecutor(1))  # type: ignore[arg-type]


def test_who_dies_while_fetching_is_in_nobodys_way(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    process = multiprocessing.get_context("fork").Process(target=die_in_the_middle, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert files(tmp_path) == {".000000.tar.tmp"}
    assert make(tmp_path).fetch(0, Objects(CONTENT), pool)  # type: ignore[arg-type]
    assert files(tmp_path) == {"000000.tar"}


def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path).fetch(0, Objects(CONTENT), pool)  # type: ignore[arg-type]
    assert files(tmp_path) == set()


def test_a_store_that_fails_leaves_nothing_behind(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    def fail() -> None:
        raise RadloadError("cannot be reached")

    with pytest.raises(RadloadError):
        make(tmp_path).fetch(0, Objects(CONTENT, fail), pool)  # type: ignore[arg-type]
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    "name", ["../train/0.tar", "/etc/x.tar", "train/../../x.tar", "train/.0.tar", "train/0.zip", ""]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match="no name of one"):
        make(tmp_path, names=[*NAMES[:7], name])


def test_a_cache_that_is_given_up_meanwhile_is_no_defect(tmp_path: Path) -> None:
    """A fetch that finds the disk full takes the cache away while another thread asks it."""
    cache = make(tmp_path)
    shards = RemoteShards(tmp_path / "set", NAMES, Objects(CONTENT), cache)  # type: ignore[arg-type]

    def has(shard: int) -> bool:
        shards._cache = None
        return True

    cache.has = has  # type: ignore[method-assign]
    (tmp_path / "set/train").mkdir()
    cache.path(0).write_bytes(CONTENT[NAMES[0]])
    assert shards._here(0)
    shards.close()


def test_room_is_counted_while_others_drop_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set/train").mkdir(parents=True)
    (tmp_path / "set/train/000000.tar").write_bytes(bytes(8192))
    gone = tmp_path / "set/train/000001.tar"
    monkeypatch.setattr("radload.remote.copy.open_copy", lambda url, folder: tmp_path / "set")
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([*glob(self, pattern), gone]))
    _, remote = find_source("s3://bucket/set", shard_cache=tmp_path)
    assert remote is not None and remote["limit"] > 0
