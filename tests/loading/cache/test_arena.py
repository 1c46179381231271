"""The shared cache: what is found is what was put, whatever happens to processes, file and disk; or nothing is found."""

from __future__ import annotations

import errno
import gc
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from radload.dataset import filelock
from radload.errors import UsageError
from radload.loading.cache import arena, table
from radload.loading.cache.arena import LEAST, PAGE, FileCache

IDENTITY = bytes(range(32))
MIB = 1 << 20


def content(row: int, level: int = 0, pivot: float = 0.0) -> NDArray[Any]:
    """Some image that only this key has: its type and its size depend on the key too."""
    rng = np.random.default_rng([row, level, int(2 * abs(pivot))])
    dtype = ("u1", "u2", "i2", "f4")[row % 4]
    rows, cols = 1 + row % 37, 1 + (row * 7 + level) % 61
    return rng.integers(0, 200, (rows, cols)).astype(dtype)


def same(found: NDArray[Any] | None, row: int, level: int = 0, pivot: float = 0.0) -> bool:
    want = content(row, level, pivot)
    return found is not None and found.dtype == want.dtype and np.array_equal(found, want)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def reopen(tmp_path: Path, warnings: list[str]) -> Iterator[Callable[..., FileCache]]:
    """Opens the cache in `tmp_path`/cache."""
    opened = []

    def start(limit: int = 4 * MIB, identity: bytes = IDENTITY) -> FileCache:
        opened.append(FileCache(tmp_path / "cache", identity, limit, warnings.append))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def file_of(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").glob("*" + arena.SUFFIX)
    return found


def test_what_was_put_is_found_by_everybody_and_later(reopen: Callable[..., FileCache]) -> None:
    first, second = reopen(), reopen()
    keys = [(row, level, pivot) for row in (0, 1, 2, 3, 10**12) for level in (0, 5) for pivot in (0.0, -1024.0, 0.5)]
    for key in keys:
        assert first.get(*key) is None
        first.put(*key, content(*key))
    first.put(7, 1, 0.0, content(7, 1)[:, ::2])  # not contiguous
    first.close()
    for one in (second, reopen()):
        assert all(same(one.get(*key), *key) for key in keys)
        assert np.array_equal(one.get(7, 1, 0.0), content(7, 1)[:, ::2])
        assert one.get(4, 0, 0.0) is None and one.get(0, 1, 0.0) is None and one.get(0, 0, 1.0) is None


def test_what_is_found_is_the_callers_own(reopen: Callable[..., FileCache]) -> None:
    cache = reopen()
    cache.put(2, 0, 0.0, content(2))
    found = cache.get(2, 0, 0.0)
    assert found is not None
    found[...] = 0
    assert same(cache.get(2, 0, 0.0), 2)


@settings(max_examples=40, deadline=None)
@given(
    keys=st.lists(
        st.tuples(st.integers(0, 2**63), st.integers(0, 5), st.floats(allow_nan=False)), unique=True, max_size=30
    )
)
def test_keys_are_told_apart(tmp_path_factory: pytest.TempPathFactory, keys: list[tuple[int, int, float]]) -> None:
    cache = FileCache(tmp_path_factory.mktemp("keys"), IDENTITY, LEAST, lambda _: None)
    kept: dict[tuple[int, int, float], int] = {}
    for number, key in enumerate(keys):
        found = cache.get(*key)
        assert (None if found is None else int(found[0, 0])) == kept.get(key)  # -0.0 and 0.0 are one key
        if found is None:
            cache.put(*key, np.full((2, 3), number, np.uint16))
            kept[key] = number
    for key, number in kept.items():
        found = cache.get(*key)
        assert found is not None and (found == number).all()
    cache.close()


def test_the_budget_holds_and_nothing_is_thrown_out(
    reopen: Callable[..., FileCache], tmp_path: Path, warnings: list[str]
) -> None:
    cache = reopen(LEAST)
    image = np.random.default_rng(0).integers(0, 4096, (128, 128)).astype(np.uint16)  # 32 KiB
    for row in range(60):
        cache.put(row, 0, 0.0, image + np.uint16(row))
    kept = [row for row in range(60) if cache.get(row, 0, 0.0) is not None]
    assert kept == list(range(len(kept))) and 28 <= len(kept) < 32
    assert file_of(tmp_path).stat().st_size <= LEAST and file_of(tmp_path).stat().st_blocks * 512 <= LEAST
    cache.put(100, 0, 0.0, image[:2, :2])
    assert cache.get(100, 0, 0.0) is not None, "what is small enough still fits"
    assert warnings == [], "a full cache is no fault"
    more = reopen(2 * LEAST)
    more.put(50, 0, 0.0, image)
    assert np.array_equal(cache.get(50, 0, 0.0), image), "a later run may give it more"


def test_a_full_table_keeps_what_it_has(reopen: Callable[..., FileCache]) -> None:
    cache = reopen(LEAST)  # 16 buckets of 102
    for row in range(3000):
        cache.put(row, 0, 0.0, np.full((1, 1), row, np.uint16))
    found = [cache.get(row, 0, 0.0) for row in range(3000)]
    assert sum(one is not None for one in found) == 16 * 102
    assert all(int(one[0, 0]) == row for row, one in enumerate(found) if one is not None)


_WRITER = """
import sys; sys.path.insert(0, {here!r})
from test_arena import *
arena._PATIENCE = 60.0
cache = FileCache(Path({folder!r}), IDENTITY, {limit}, lambda text: sys.exit(text))
print("ready", flush=True)
rows = list(range({rows}))
random.Random({seed}).shuffle(rows)
for row in rows:
    found = cache.get(row, 0, 0.0)
    if found is None:
        cache.put(row, 0, 0.0, content(row))
        found = cache.get(row, 0, 0.0)
    if found is not None and not same(found, row):
        sys.exit("wrong pixels")
print("done", flush=True)
"""


def _writer(folder: Path, rows: int, seed: int, limit: int) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent)
    code = _WRITER.format(here=here, folder=str(folder), rows=rows, seed=seed, limit=limit)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_three_processes_at_once(reopen: Callable[..., FileCache], tmp_path: Path) -> None:
    """All start on a folder that is not there, and write the same keys, each in its own order; with patience, none is lost."""
    writers = [_writer(tmp_path / "cache", 1500, seed, 64 * MIB) for seed in range(3)]
    for one in writers:
        out, _ = one.communicate(timeout=300)
        assert one.returncode == 0 and out == "ready\ndone\n"
    cache = reopen(64 * MIB)
    assert [row for row in range(1500) if not same(cache.get(row, 0, 0.0), row)] == []


def test_processes_killed_while_they_write(reopen: Callable[..., FileCache], tmp_path: Path) -> None:
    """A hundred times, at any moment: what is found is right, and the next one goes on."""
    reopen(256 * MIB)
    rng, counts = random.Random(1), [0]
    images = {row: content(row) for row in range(200)}
    for turn in range(100):
        first = 200 * turn
        opened, opens = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                cache = FileCache(tmp_path / "cache", IDENTITY, 256 * MIB, lambda _: None)
                if turn % 10:  # the others may die while they open it
                    cache.put(first, 0, 0.0, images[0])
                os.write(opens, b".")
                for row in range(first, first + 200):
                    cache.put(row, 0, 0.0, images[row % 200])
                time.sleep(60)
            finally:
                os._exit(1)
        os.close(opens)
        if turn % 10:
            os.read(opened, 1)
        os.close(opened)
        time.sleep(rng.uniform(0.001, 0.03))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        if turn % 10 == 9:
            cache = reopen(256 * MIB)
            found = [(row, one) for row in range(first + 200) if (one := cache.get(row, 0, 0.0)) is not None]
            assert all(np.array_equal(one, images[row % 200]) for row, one in found)
            counts.append(len(found))
            cache.close()
    assert sorted(set(counts)) == counts and counts[-1] < 200 * 100, (
        "each added some, most were killed before their end"
    )
    cache = reopen(256 * MIB)
    cache.put(70_000, 0, 0.0, content(70_000))
    assert same(cache.get(70_000, 0, 0.0), 70_000), "no lock was left behind"


@pytest.mark.parametrize("at", [arena._SPACE_LOCK, "bucket"])
def test_a_stopped_process_holds_nobody_up(
    reopen: Callable[..., FileCache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int | str
) -> None:
    clock, asked, acquire = [1000.0], [0], filelock.acquire

    def counted(*arguments: Any, **options: Any) -> bool:
        asked[0] += 1
        return acquire(*arguments, **options)

    cache = reopen()
    monkeypatch.setattr(arena, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    cache.put(1, 0, 0.0, content(1))
    holder = os.open(file_of(tmp_path), os.O_RDWR)
    byte = at if isinstance(at, int) else PAGE * (1 + cache._bucket(table.key(2, 0, 0.0)))
    assert filelock.acquire(holder, byte)
    monkeypatch.setattr(filelock, "acquire", counted)
    for _ in range(50):
        cache.put(2, 0, 0.0, content(2))
        assert same(cache.get(1, 0, 0.0), 1)
    assert asked[0] == (1 if isinstance(at, int) else 2), "the lock is waited for once, not 20 ms for each of 50"
    assert cache.get(2, 0, 0.0) is None
    os.close(holder)
    cache.put(2, 0, 0.0, content(2))
    assert cache.get(2, 0, 0.0) is None, "the rest is not over"
    clock[0] += arena._REST
    cache.put(2, 0, 0.0, content(2))
    assert same(cache.get(2, 0, 0.0), 2)


def test_damage_anywhere_is_never_delivered(reopen: Callable[..., FileCache], tmp_path: Path) -> None:
    """Every byte of the slot, and 300 others anywhere in the file; an image that is found damaged is put anew."""
    cache = reopen()
    for row in range(40):
        cache.put(row, 0, 0.0, content(row))
    path = file_of(tmp_path)
    whole = path.read_bytes()
    key = table.key(9, 0, 0.0)
    slot = whole.index(key, PAGE)
    kept = table.read(bytes(whole[slot : slot + table.SLOT_SIZE]), key)
    assert kept is not None
    offset = kept.offset
    used = arena._SPACE.unpack_from(whole, arena._SPACE_AT)[0]
    rng = random.Random(3)
    places = [*range(slot, slot + table.SLOT_SIZE), offset, offset + content(9).nbytes - 1]
    places += [rng.randrange(PAGE, cache._start + used) for _ in range(300)]
    with path.open("r+b", buffering=0) as file:
        for place in places:
            file.seek(place)
            file.write(bytes([whole[place] ^ 1 << rng.randrange(8)]))
            found = [cache.get(row, 0, 0.0) for row in range(40)]
            assert all(one is None or same(one, row) for row, one in enumerate(found))
            missing = [row for row, one in enumerate(found) if one is None]
            assert missing == [9] if place in places[: table.SLOT_SIZE + 2] else len(missing) <= 1
            file.seek(place)
            file.write(whole[place : place + 1])
        file.seek(offset)
        file.write(bytes([whole[offset] ^ 4]))
        assert cache.get(9, 0, 0.0) is None
        cache.put(9, 0, 0.0, content(9))
        assert same(cache.get(9, 0, 0.0), 9)


def test_damage_without_room_for_a_repair_is_forgotten(reopen: Callable[..., FileCache], tmp_path: Path) -> None:
    cache = reopen(LEAST)
    image = np.zeros((400, 512), np.uint16)
    for row in range(3):
        cache.put(row, 0, 0.0, image)
    assert cache.get(1, 0, 0.0) is not None and cache.get(2, 0, 0.0) is None
    with file_of(tmp_path).open("r+b") as file:
        file.seek(cache._start + 100)
        file.write(b"x")
    assert cache.get(0, 0, 0.0) is None
    cache._too_large = 1 << 40  # as in a process that does not know yet that there is no room
    cache.put(0, 0, 0.0, image)
    key = table.key(0, 0, 0.0)
    assert table.find(cache._page(cache._bucket(key)), key) == -1
    assert cache.get(1, 0, 0.0) is not None


def test_a_file_that_is_cut_or_removed_while_in_use(reopen: Callable[..., FileCache], tmp_path: Path) -> None:
    cache = reopen()
    for row in range(40):
        cache.put(row, 0, 0.0, content(row))
    path = file_of(tmp_path)
    os.truncate(path, cache._start + 3000)
    found = [cache.get(row, 0, 0.0) for row in range(40)]
    assert any(one is None for one in found) and any(one is not None for one in found)
    assert all(one is None or same(one, row) for row, one in enumerate(found))
    os.truncate(path, 0)
    assert all(cache.get(row, 0, 0.0) is None for row in range(40))
    cache.put(1, 0, 0.0, content(1))
    assert (one := cache.get(1, 0, 0.0)) is None or same(one, 1)
    anew = reopen()
    anew.put(5, 0, 0.0, content(5))
    file_of(tmp_path).unlink()
    assert same(anew.get(5, 0, 0.0), 5), "who has it open goes on with it"


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Files may not grow beyond `size`: a full disk, as far as a test may make one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_once_and_the_rest_goes_on(
    reopen: Callable[..., FileCache], warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena, "_STEP", 64 << 10)
    cache = reopen(8 * MIB)
    with file_limit(cache._start + (200 << 10)):
        for row in range(100):
            cache.put(row, 0, 0.0, np.full((64, 64), row, np.uint16))
    kept = [row for row in range(100) if (one := cache.get(row, 0, 0.0)) is not None and (one == row).all()]
    assert kept == list(range(24)), "192 KiB"
    assert len(warnings) == 1 and "takes no more images (File too large)" in warnings[0]


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_disk_that_fails_when_written(
    reopen: Callable[..., FileCache], warnings: list[str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(arena, "_STEP", 1)
    cache = reopen()
    cache.put(1, 0, 0.0, content(1))

    def fail(*_: Any) -> int:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patch:
        patch.setattr(arena.os, call, fail)
        for row in range(2, 100):
            cache.put(row, 0, 0.0, np.zeros((400, 400), np.uint16))
    assert same(cache.get(1, 0, 0.0), 1)
    assert len(warnings) == 1 and "quota" in warnings[0]


def test_an_unreadable_place_is_a_miss(reopen: Callable[..., FileCache], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = reopen()
    cache.put(1, 0, 0.0, content(1))

    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(arena.os, "preadv", fail)
        assert cache.get(1, 0, 0.0) is None
    assert same(cache.get(1, 0, 0.0), 1)


def test_other_data_get_a_file_of_their_own(reopen: Callable[..., FileCache], tmp_path: Path) -> None:
    """A new one takes the place of those that nobody uses; those in use stay."""
    other, third = bytes(32), bytes([7] * 32)
    mine = reopen()
    mine.put(1, 0, 0.0, content(1))
    (tmp_path / "cache/notes.txt").write_text("not a cache")
    theirs = reopen(identity=other)
    assert theirs.get(1, 0, 0.0) is None
    assert len(list((tmp_path / "cache").glob("*" + arena.SUFFIX))) == 2
    mine.close()
    reopen(identity=third)
    assert len(list((tmp_path / "cache").glob("*" + arena.SUFFIX))) == 2
    assert reopen().get(1, 0, 0.0) is None, "its file was removed"
    assert (tmp_path / "cache/notes.txt").exists()


@pytest.mark.parametrize("damage", ["header", "identity", "space", "short", "empty"])
def test_a_useless_file_is_made_anew(reopen: Callable[..., FileCache], tmp_path: Path, damage: str) -> None:
    user = reopen()
    user.put(1, 0, 0.0, content(1))
    path = file_of(tmp_path)
    if damage in ("short", "empty"):
        os.truncate(path, 5000 if damage == "short" else 0)
    else:
        with path.open("r+b") as file:
            file.seek({"header": 12, "identity": 20, "space": arena._SPACE_AT + 3}[damage])
            file.write(b"\x55")
    fresh = reopen()
    assert fresh.get(1, 0, 0.0) is None
    fresh.put(2, 0, 0.0, content(2))
    assert same(reopen().get(2, 0, 0.0), 2)
    if damage in ("header", "identity", "space"):
        assert same(user.get(1, 0, 0.0), 1), "who has the old one open goes on with it"


def test_a_folder_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/below", Path("/proc/cache")):
        with pytest.raises(UsageError, match=r"cache folder .* cannot be used .*local disk"):
            FileCache(folder, IDENTITY, LEAST, lambda _: None)

    def no_locks(*_: Any, **__: Any) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock, "acquire", no_locks)
    with pytest.raises(UsageError, match="No locks available"):
        FileCache(tmp_path / "cache", IDENTITY, LEAST, lambda _: None)


def test_only_the_user_may_read_it(reopen: Callable[..., FileCache], tmp_path: Path) -> None:
    reopen()
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    gc.collect()  # what other tests left
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        cache = FileCache(tmp_path / "cache", bytes([number] * 32), LEAST, lambda _: None)
        if number % 2:
            cache.close()
            cache.close()
        del cache
    assert len(list(Path("/proc/self/fd").iterdir())) == before
