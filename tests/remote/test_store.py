"""Bodies in chunks: every byte once and in order, whatever breaks off in the middle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bucket import URL, point_at
from serve import s3_server

from radload.errors import FormatError, RadloadError
from radload.remote import store as store_module
from radload.remote.store import Store

SIZE = 3_500_000


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """Of the object `noise` below URL."""
    folder = tmp_path / "buckets" / URL.removeprefix("s3://")
    folder.mkdir(parents=True)
    found = os.urandom(SIZE)
    (folder / "noise").write_bytes(found)
    return found


@pytest.mark.parametrize(("start", "length"), [(0, SIZE), (1, SIZE - 2), (2_000_000, 1_048_576), (5, 0), (SIZE - 1, 1)])
def test_a_stream_is_the_range(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int, length: int
) -> None:
    """Half of the bodies are cut in the middle."""
    monkeypatch.setattr(store_module, "TRIES", 100)
    monkeypatch.setattr(store_module, "_FIRST_WAIT", 0.001)
    with s3_server(tmp_path / "buckets", cuts=0.5) as server:
        point_at(server, monkeypatch)
        store = Store(URL)
        for _ in range(8):
            chunks = list(store.stream("noise", start, length))
            assert b"".join(chunks) == content[start : start + length]
            assert all(len(chunk) > 0 for chunk in chunks)
        counts = server.counts()
    assert length < 2 or counts.get("cut", 0) > 0


def test_a_stream_ends_with_its_object(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        store = Store(URL)
        assert b"".join(store.stream("noise", SIZE - 10, 100)) == content[-10:]
        with pytest.raises(FormatError, match="is not there"):
            list(store.stream("nothing", 0, 10))


def test_a_stream_that_never_comes_to_its_end_is_given_up(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "TRIES", 2)
    monkeypatch.setattr(store_module, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(store_module, "_RETRIES", 0)
    with s3_server(tmp_path / "buckets", errors=1) as server:
        point_at(server, monkeypatch)
        with pytest.raises(RadloadError, match="cannot be reached after 2 tries"):
            list(Store(URL).stream("noise", 0, SIZE))
