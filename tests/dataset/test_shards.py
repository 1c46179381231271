"""Bytes of a sample are those that the index promises, or a sentence: whatever happens to the shard meanwhile."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from radload.dataset.schema import RECORD
from radload.dataset.shards import MAX_OPEN, ShardFiles
from radload.errors import CorruptSample, FormatError, RadloadError

CONTENT = bytes(range(256)) * 8


def record(offset: int = 512, length: int = 1024, shard: int = 0) -> np.void:
    one = np.zeros(1, RECORD)
    one["key"], one["offset"], one["length"], one["shard"] = 42, offset, length, shard
    one["level_crc"][0, 0] = google_crc32c.value(CONTENT[offset : offset + length])
    return one[0]  # type: ignore[no-any-return]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "0.tar"
    path.write_bytes(CONTENT)
    return path


def reads(files: ShardFiles) -> bool:
    return files.read(record()) == CONTENT[512:1536]


def renamed_over(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(bytes(len(CONTENT)))
    other.rename(path)


@pytest.mark.parametrize("change", [Path.unlink, renamed_over])
def test_an_open_shard_stays_as_it_was(shard: Path, change: Callable[[Path], None]) -> None:
    with ShardFiles(shard.parent, ["0.tar"]) as files:
        assert reads(files)
        change(shard)
        assert reads(files)
        files.forget(0)
        with pytest.raises((FormatError, CorruptSample), match=r"0\.tar"):
            files.read(record())


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda path: os.truncate(path, 1000), "is cut", "488 of 1024 bytes"),
        (lambda path: os.truncate(path, 0), "is cut", "0 of 1024 bytes"),
        (lambda path: path.write_bytes(CONTENT[::-1]), "wrong checksum", "CRC-32C"),
        (replaced_by_folder, "cannot be read", "Is a directory"),
        (replaced_by_pipe, "cannot be read", "Illegal seek"),
    ],
)
def test_what_is_damaged_is_told_by_kind(shard: Path, change: Callable[[Path], Any], kind: str, said: str) -> None:
    with ShardFiles(shard.parent, ["0.tar"]) as files:
        change(shard)
        with pytest.raises(CorruptSample, match=said) as caught:
            files.read(record())
        assert caught.value.kind == kind and "000000000042" in str(caught.value)


def test_an_error_of_the_disk_is_one_of_the_sample(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with ShardFiles(shard.parent, ["0.tar"]) as files:
        assert reads(files)
        with monkeypatch.context() as broken:
            broken.setattr(os, "pread", fails)
            with pytest.raises(CorruptSample, match=r"Input/output error.*check the disk") as caught:
                files.read(record())
            assert caught.value.kind == "cannot be read"
        assert reads(files)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.ESTALE])
def test_a_shard_that_cannot_be_opened_is_named(shard: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "open", _raiser(number))
    with pytest.raises(FormatError, match=rf"0\.tar cannot be opened \({os.strerror(number)}\)"):
        ShardFiles(shard.parent, ["0.tar"]).read(record())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_nobodys_damage(shard: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No sample may be replaced because the process has no descriptor left."""
    monkeypatch.setattr(os, "open", _raiser(number))
    with pytest.raises(RadloadError, match="ulimit -n") as caught:
        ShardFiles(shard.parent, ["0.tar"]).read(record())
    assert not isinstance(caught.value, FormatError | CorruptSample)


def _raiser(number: int) -> Callable[..., int]:
    def fails(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    return fails


def test_descriptors_are_few(tmp_path: Path) -> None:
    names = [f"{i}.tar" for i in range(MAX_OPEN + 50)]
    for name in names:
        (tmp_path / name).write_bytes(CONTENT)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with ShardFiles(tmp_path, names) as files:
        for _ in range(2):
            for i in range(len(names)):
                assert files.read(record(shard=i)) == CONTENT[512:1536]
        assert len(list(Path("/proc/self/fd").iterdir())) - before == MAX_OPEN
    assert len(list(Path("/proc/self/fd").iterdir())) == before
