"""A shard on the node that does not hold what it should: the bucket decides, and tells whether another copy would be better."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import CorruptSample, RadloadError
from radload.remote.node_cache import NodeCache
from radload.remote.shards import RemoteShards


class Bucket:
    """The shards of a folder; `spoil` changes what is read."""

    url = "s3://bucket/set"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spoil: Callable[[bytes], bytes] = bytes

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        return self.spoil((self.folder / name).read_bytes()[offset : offset + length])

    def stream(self, name: str, offset: int, length: int) -> Iterator[memoryview]:
        yield memoryview(self.read_range(name, offset, length))


@pytest.fixture
def index(packed: Path) -> Index:
    return open_index(packed, read_manifest(packed))


@pytest.fixture
def bucket(packed: Path) -> Bucket:
    return Bucket(packed)


@pytest.fixture
def shards(tmp_path: Path, index: Index, bucket: Bucket) -> Iterator[RemoteShards]:
    """With the first sample's shard on the node, and the first byte of that sample flipped there."""
    sizes: list[int] = index.table("shards").column("bytes").to_pylist()
    root = tmp_path / "set"
    root.mkdir()
    store: Any = bucket
    files = RemoteShards(root, index.shard_names, store, NodeCache(tmp_path, root, 10**9, index.shard_names, sizes))
    assert files._lines.submit(files._fetch, shard_of(index)).result()
    with local(files, index).open("r+b") as file:
        file.seek(int(index.records[0]["offset"]))
        first = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([first[0] ^ 1]))
    yield files
    files.close()


def shard_of(index: Index) -> int:
    return int(index.records[0]["shard"])


def local(files: RemoteShards, index: Index) -> Path:
    return files.root / index.shard_names[shard_of(index)]


def read(files: ShardFiles, index: Index) -> bytes:
    return files.read(index.records[0])


def read_into(files: ShardFiles, index: Index) -> bytes:
    return bytes(files.read_into(lambda n: np.empty(n, np.uint8), index.records[0]))


READS = pytest.mark.parametrize("way", [read, read_into])
Way = Callable[[ShardFiles, Index], bytes]


@READS
def test_a_bad_copy_goes_where_the_bucket_has_better(
    way: Way, shards: RemoteShards, index: Index, packed: Path
) -> None:
    expected = read(ShardFiles(packed, index.shard_names), index)
    assert way(shards, index) == expected
    assert not local(shards, index).exists()
    assert shards._lines.submit(shards._fetch, shard_of(index)).result()
    assert local(shards, index).read_bytes() == (packed / index.shard_names[shard_of(index)]).read_bytes()
    assert way(shards, index) == expected


@READS
def test_a_shard_that_is_bad_in_the_bucket_stays(way: Way, shards: RemoteShards, index: Index, bucket: Bucket) -> None:
    bucket.spoil = lambda data: bytes([data[0] ^ 1]) + data[1:]
    for _ in range(2):
        with pytest.raises(CorruptSample, match="wrong checksum"):
            way(shards, index)
        assert local(shards, index).exists()


@READS
def test_a_bad_copy_stays_while_the_store_is_gone(way: Way, shards: RemoteShards, index: Index, bucket: Bucket) -> None:
    def gone(_: bytes) -> bytes:
        raise RadloadError("cannot be reached")

    bucket.spoil = gone
    with pytest.raises(RadloadError, match="cannot be reached"):
        way(shards, index)
    bucket.spoil = bytes
    assert way(shards, index)
    assert not local(shards, index).exists()
