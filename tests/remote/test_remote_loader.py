"""A data set in a bucket gives the batches of its local files, whatever the network does and whatever serves a sample."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bucket import URL, fill_bucket, point_at
from serve import s3_server
from test_forks import prelude

import radload
from radload.errors import FormatError, RadloadError, UsageError

FAULTS = {"latency": 0.005, "errors": 0.05, "throttle": 0.05, "cuts": 0.05}
OPTIONS: dict[str, Any] = {"batch_size": 16, "size": 64, "threads": 2, "augment": "default", "seed": 3}


def epochs(path: str | Path, count: int = 2, **options: Any) -> tuple[str, int]:
    """Digest of all that some epochs give, and failures."""
    digest = hashlib.sha256()
    with radload.Loader(path, **{**OPTIONS, **options}) as loader:
        failed = 0
        for _ in range(count):
            for batch in loader:
                for name in ("image", "label", "index"):
                    digest.update(batch[name].numpy().tobytes())
            failed += loader.failed
    return digest.hexdigest(), failed


@pytest.mark.parametrize(
    ("fetch", "options"),
    [
        ("ranges", {}),
        ("shards", {}),
        ("auto", {}),
        ("shards", {"sampler": "blocks", "block": 8, "runs": 32}),
        ("ranges", {"shuffle": False, "split": None}),
        ("shards", {"shuffle": False, "split": None}),
    ],
)
def test_batches_are_those_of_local_files(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: str, options: dict[str, Any]
) -> None:
    """Through latency, 5 % errors, 5 % throttling and 5 % of the bodies cut in the middle."""
    fill_bucket(packed, tmp_path / "buckets")
    with s3_server(tmp_path / "buckets", **FAULTS) as server:
        point_at(server, monkeypatch)
        found = epochs(URL, fetch=fetch, shard_cache=tmp_path / "cache", **options)
        counts = server.counts()
    assert found == epochs(packed, **options)
    assert found[1] == 0
    assert sum(counts.get(name, 0) for name in ("errors", "throttled", "cut")) > 0, "faults were met"


def test_shards_are_fetched_once_for_all_ranks_and_runs(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run leaves all shards on the node; the second asks for the manifest, the list and nothing of the shards."""
    fill_bucket(packed, tmp_path / "buckets")
    cache = tmp_path / "cache"
    options: dict[str, Any] = {"fetch": "shards", "shard_cache": cache, "split": None, "shuffle": False}
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        first = epochs(URL, 3, **options)
        kept = {path.relative_to(path.parents[1]): path.read_bytes() for path in cache.rglob("*.tar")}
        before = server.counts()
        again = epochs(URL, 3, **options)
        after = server.counts()
    assert kept == {path.relative_to(packed): path.read_bytes() for path in packed.rglob("*.tar")}
    assert first == again == epochs(packed, 3, split=None, shuffle=False)
    small = sum(path.stat().st_size for path in packed.rglob("*") if path.suffix in (".json", ".arrow", ".bin"))
    assert after["bytes"] - before["bytes"] <= small
    assert not list(cache.rglob("*.tmp"))


def held_by(cache: Path) -> int:
    """Bytes of the shards in a cache's folder, from which some may go meanwhile."""
    total = 0
    for path in cache.rglob("*.tar*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_the_limit_of_the_cache_holds(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for half of the shards: the batches are the same, and the disk never holds more."""
    fill_bucket(packed, tmp_path / "buckets")
    sizes = [path.stat().st_size for path in packed.rglob("*.tar")]
    limit = 1 << 20
    assert sum(sizes) > 1.8 * limit > 5 * max(sizes)
    cache, most = tmp_path / "cache", 0
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        options: dict[str, Any] = {"fetch": "shards", "shard_cache": cache, "shard_cache_bytes": limit}
        digest = hashlib.sha256()
        with radload.Loader(URL, **OPTIONS, **options) as loader:
            for _ in range(3):
                for batch in loader:
                    digest.update(batch["image"].numpy().tobytes())
                    most = max(most, held_by(cache))
    assert 0 < most <= limit + max(sizes), (
        "a look takes a while: a shard that goes may be counted with the one that comes"
    )
    expected = hashlib.sha256()
    with radload.Loader(packed, **OPTIONS) as loader:
        for _ in range(3):
            for batch in loader:
                expected.update(batch["image"].numpy().tobytes())
    assert digest.digest() == expected.digest()


def test_what_the_decoded_cache_has_is_not_fetched(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run over the same levels finds all of them decoded: no byte of a shard is asked for."""
    prelude(monkeypatch, "from radload.loading.cache import arena; arena._PATIENCE = 60.0")
    fill_bucket(packed, tmp_path / "buckets")
    options: dict[str, Any] = {"augment": None, "fetch": "ranges", "split": None, "drop_last": False, "shuffle": False}
    options |= {"cache": tmp_path / "decoded", "shard_cache": tmp_path / "cache"}
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        first = epochs(URL, 1, **options)
        before = server.counts()["bytes"]
        again = epochs(URL, 1, **options)
        sent = server.counts()["bytes"] - before
    assert first == again
    assert sent < 20_000 < before, "the manifest and segment.json, no pixels"


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_damaged_local_shard_is_fetched_again(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_bucket(packed, tmp_path / "buckets")
    cache = tmp_path / "cache"
    options: dict[str, Any] = {"fetch": "shards", "shard_cache": cache, "split": None, "shuffle": False}
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        expected = epochs(URL, 2, **options)
        for path in cache.rglob("*.tar"):
            flip(path, 4000)  # inside the first member's pixels
        assert epochs(URL, 2, **options) == expected
        assert expected[1] == 0


def test_a_damaged_object_costs_its_samples(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the bucket itself: the sample whose bytes are wrong is named, the others are served."""
    bucket = fill_bucket(packed, tmp_path / "buckets")
    flip(next(bucket.glob("train/*.tar")), 4000)
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        for fetch in ("ranges", "shards"):
            loader = radload.Loader(
                URL,
                **OPTIONS,
                fetch=fetch,
                shard_cache=tmp_path / fetch,
                shuffle=False,
                drop_last=False,
                max_failures=0.5,
            )
            with loader:
                valid = torch.cat([batch["valid"] for batch in loader]).sum().item()
            assert loader.failures and "checksum" in loader.failures[0].reason, fetch
            assert valid == len(radload.open(packed).index.ranges["train"]) - len(loader.failures)


def test_a_missing_object_is_a_missing_shard(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = fill_bucket(packed, tmp_path / "buckets")
    next(bucket.glob("train/*.tar")).unlink()
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        with radload.Loader(
            URL, **OPTIONS, fetch="ranges", shard_cache=tmp_path / "c", shuffle=False, drop_last=False, max_failures=0.5
        ) as loader:
            for _ in loader:
                pass
            assert loader.failures and "is not there" in loader.failures[0].reason


def test_a_store_that_is_gone_ends_the_run_with_a_sentence(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sample replaces those of a network that is down."""
    monkeypatch.setattr("radload.remote.store._RETRIES", 0)
    fill_bucket(packed, tmp_path / "buckets")
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        dataset = radload.open(URL)
        assert np.array_equal(dataset[0].stored, radload.open(packed)[0].stored)
    monkeypatch.setattr("radload.remote.store.TRIES", 2)
    with pytest.raises(RadloadError, match="cannot be reached after 2 tries") as caught:
        _ = dataset[1].stored
    assert not isinstance(caught.value, FormatError)
    dataset.close()


def test_labels_that_change_are_fetched_again(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = fill_bucket(packed, tmp_path / "buckets")
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        monkeypatch.setattr("radload.remote.copy.default_folder", lambda: tmp_path / "cache")
        with radload.open(URL) as dataset:
            assert dataset.classes == ("a", "b")
        shutil.copy(bucket / "labels/default.arrow", bucket / "labels/other.arrow")
        with radload.open(URL, labels="other") as dataset:
            assert dataset.labels is not None and dataset.labels.name == "other"
        (bucket / "labels/other.arrow").unlink()
        with pytest.raises(UsageError, match="other"):
            radload.open(URL, labels="other")


def test_the_folder_is_ours_alone(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_bucket(packed, tmp_path / "buckets")
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        epochs(URL, 1, shard_cache=tmp_path / "cache", fetch="shards")
    for folder in [tmp_path / "cache", *(tmp_path / "cache").iterdir()]:
        if folder.is_dir():
            assert folder.stat().st_mode & 0o077 == 0


def test_what_cannot_be_used_is_a_sentence(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        (tmp_path / "buckets/bucket").mkdir()
        for path, message in (
            (URL, "holds no manifest.json"),
            ("s3://bucket", "names a whole bucket"),
            ("ftp://host/x", "no address that radload knows"),
        ):
            with pytest.raises(UsageError, match=message):
                radload.Loader(path, **OPTIONS, shard_cache=tmp_path / "cache")
    with pytest.raises(UsageError, match="fetch='all' is unknown"):
        radload.Loader(URL, **OPTIONS, fetch="all")
    with pytest.raises(UsageError, match="for data sets in a bucket"):
        radload.Loader(packed, **OPTIONS, fetch="ranges")
    with pytest.raises(UsageError, match="shard_cache_bytes='much' is no size"):
        radload.Loader(URL, **OPTIONS, shard_cache_bytes="much")
    assert "AWS_ENDPOINT_URL" in os.environ
