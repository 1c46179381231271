"""gs:// against the tests' server, which answers as Google Cloud Storage's XML interface does: packing there, and loading from there."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from bucket import URL, pack_options, point_at_google
from serve import s3_server

import radload
from radload.errors import FormatError
from radload.pack import pack
from radload.remote.store import Store

GS = URL.replace("s3://", "gs://")
FAULTS = {"errors": 0.05, "throttle": 0.05, "cuts": 0.05}


def batches(path: str | Path, **options: object) -> str:
    """Digest of what an epoch gives."""
    digest = hashlib.sha256()
    with radload.Loader(path, batch_size=16, size=64, threads=2, augment="default", seed=3, **options) as loader:  # type: ignore[arg-type]
        for batch in loader:
            for name in ("image", "label", "index"):
                digest.update(batch[name].numpy().tobytes())
        assert loader.failed == 0
    return digest.hexdigest()


def test_packed_to_and_loaded_from_a_bucket(
    volumes: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through errors, throttling and cuts: the files of a local pack, and its batches, by ranges and by shards."""
    key = tmp_path / "key"
    key.write_text((packed.with_name("shards.private") / "key").read_text())
    key.chmod(0o600)
    with s3_server(tmp_path / "buckets", **FAULTS) as server:
        point_at_google(server, tmp_path, monkeypatch)
        assert pack(replace(pack_options(volumes, GS, tmp_path / "private"), key=key)).fresh
        bucket = tmp_path / "buckets" / GS.removeprefix("gs://")
        names = sorted(path.relative_to(packed) for path in packed.rglob("*") if path.is_file())
        assert sorted(path.relative_to(bucket) for path in bucket.rglob("*") if path.is_file()) == names
        assert all((bucket / name).read_bytes() == (packed / name).read_bytes() for name in names)
        expected = batches(packed)
        assert batches(GS, fetch="ranges") == expected
        assert batches(GS, fetch="shards", shard_cache=tmp_path / "cache") == expected


def test_each_request_that_radload_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "buckets") as server:
        point_at_google(server, tmp_path, monkeypatch)
        store = Store(GS)
        store.write("a/small", b"0123456789", {"sha256": "of it"})
        store.write("large", bytes(range(256)) * (1 << 16))
        assert server.counts()["multipart"] == 1
        assert (
            store.read("large") == bytes(range(256)) * (1 << 16) and bytes(store.read_range("a/small", 3, 4)) == b"3456"
        )
        assert store.attribute("a/small", "sha256") == "of it" and store.attribute("none", "sha256") is None
        assert store.create("once", b"1") and not store.create("once", b"2") and store.read("once") == b"1"
        assert {(one.name, one.size) for one in store.list()} == {("a/small", 10), ("large", 1 << 24), ("once", 1)}
        store.delete("a/small")
        with pytest.raises(FormatError, match=r"gs://.*/a/small is not there"):
            store.read("a/small")
