"""Sizes of the cache as people write them, what is free, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import Manifest, read_manifest
from radload.errors import UsageError
from radload.loading.cache import arguments as cache_arguments
from radload.loading.cache.arguments import cache_config, free_memory, parse_bytes


@pytest.fixture
def data(ct_data: Path) -> tuple[Manifest, Index]:
    manifest = read_manifest(ct_data)
    return manifest, open_index(ct_data, manifest)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("1.5 GiB", 3 << 29),
        ("512MiB", 1 << 29),
        (" 2TB ", 2 * 10**12),
        (1 << 20, 1 << 20),
        ("3000000", 3_000_000),
        ("2000kB", 2_000_000),
    ],
)
def test_sizes(text: int | str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "8 G", "-8GB", "8gb", "1e9", True, None, "٨GB8"])
def test_what_is_no_size(text: Any) -> None:
    with pytest.raises(UsageError, match="is no size"):
        parse_bytes(text)


@pytest.mark.parametrize("size", [0, 1000, "0.5MB"])
def test_what_is_too_small(size: int | str) -> None:
    with pytest.raises(UsageError, match="too small"):
        parse_bytes(size)


def test_no_cache(data: tuple[Manifest, Index]) -> None:
    assert cache_config(None, None, *data) is None and cache_config(False, None, *data) is None
    with pytest.raises(UsageError, match="goes with cache"):
        cache_config(None, "8GB", *data)


def test_private_memory_is_shared_out_among_ranks(
    data: tuple[Manifest, Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert cache_config(True, "8GB", *data) == {"folder": None, "limit": 2 * 10**9, "identity": ""}
    monkeypatch.setattr(cache_arguments, "free_memory", lambda: 4 * 10**9)
    found = cache_config(True, None, *data)
    assert found is not None and found["limit"] == 5 * 10**8


def test_a_folder_by_default(data: tuple[Manifest, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 GB, or half of what is free; in memory too, and where the folder is not there yet."""
    monkeypatch.chdir(tmp_path)
    found = cache_config("some/where", None, *data)
    assert found is not None and found["folder"] == str(tmp_path / "some/where") and len(found["identity"]) == 64
    assert 0 < found["limit"] <= 8 * 10**9
    monkeypatch.setattr(cache_arguments, "free_memory", lambda: 10**9)
    monkeypatch.setattr(cache_arguments, "_is_memory", lambda _: True)
    found = cache_config("some/where", None, *data)
    assert found is not None and found["limit"] == 5 * 10**8


def test_what_is_in_memory() -> None:
    assert cache_arguments._is_memory(Path("/dev/shm"))
    assert not cache_arguments._is_memory(Path("/proc"))
    assert 0 <= free_memory() < 1 << 50


def test_a_folder_that_cannot_be_looked_at(data: tuple[Manifest, Index], tmp_path: Path) -> None:
    """Its room is asked for before it is made."""
    with pytest.raises(UsageError, match=r"cannot be used \(File name too long\)"):
        cache_config(tmp_path / ("x" * 300), None, *data)
