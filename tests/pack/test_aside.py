"""What a worker does in a second thread happens in order, fails where it is asked for, and changes no byte of a shard."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest_pack import WriteDicom

from radload.errors import RadloadError
from radload.pack import PackOptions, flow, pack
from radload.pack.aside import Aside
from radload.pack.shard import TarWriter


class FullDisk(io.BytesIO):
    """Takes so many bytes, and no more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self.room:
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_writes_and_calls_run_in_the_order_in_which_they_are_given() -> None:
    done: list[bytes] = []
    with Aside() as aside:
        found = []
        for number in range(100):
            aside.write(done.append, b"%d" % number, b".")
            found.append(aside.call(lambda: len(done)))
        aside.wait()
        assert [later.result() for later in found] == [2 * number + 2 for number in range(100)]
    assert b"".join(done) == b"".join(b"%d." % number for number in range(100))
    assert not any(thread.name == "radload aside" for thread in threading.enumerate())


def test_what_a_call_raises_is_raised_by_its_result_and_stops_nothing() -> None:
    done: list[bytes] = []
    with Aside() as aside:
        failed = aside.call(lambda: 1 // 0)
        aside.write(done.append, b"behind")
        aside.wait()
        with pytest.raises(ZeroDivisionError):
            failed.result()
    assert done == [b"behind"]


def test_a_write_that_fails_is_the_last_and_hashes_go_on() -> None:
    file = FullDisk(2048)
    with pytest.raises(OSError, match="No space left"), Aside() as aside:
        tar = TarWriter(file, aside)
        tar.add("1.json", b"x" * 600)  # 1,536 bytes
        for _ in range(10):  # raised by one of these, or at the end
            tar.add("2.json", b"x" * 600)
            assert aside.call(lambda: 7).result() == 7
        tar.finish()
    assert file.tell() == 1536


def test_leaving_with_a_failure_leaves_out_what_waits() -> None:
    started, go, done = threading.Event(), threading.Event(), list[bytes]()

    def slowly(data: bytes) -> None:
        started.set()
        go.wait(30)
        done.append(data)

    with pytest.raises(KeyError), Aside() as aside:
        aside.write(slowly, b"first")
        aside.write(slowly, b"second")
        started.wait(30)
        threading.Timer(0.2, go.set).start()
        raise KeyError
    assert done == [b"first"]


def test_shards_are_the_same_with_and_without(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    for number in range(12):
        size = (150, 140) if number % 2 else (9, 8)  # members that are written in pieces, and in one
        pixels = random.integers(0, 40_000, size, np.uint16)
        write_dicom(tmp_path / f"src/{number}.dcm", pixels, series=f"1.{number // 3}", patient=f"P{number // 3}")
    (tmp_path / "key").write_text("5" * 64)
    found = []
    for spare in (False, True):
        monkeypatch.setattr(flow, "spare_core", lambda workers, spare=spare: spare)
        out = tmp_path / f"out{spare}"
        pack(PackOptions(tmp_path / "src", out, key=tmp_path / "key", workers=0))
        files = [path for path in sorted(out.rglob("*")) if path.is_file()]
        found.append({path.relative_to(out): path.read_bytes() for path in files})
    assert found[0] == found[1] and any(path.suffix == ".tar" for path in found[0])


def test_a_disk_that_is_full_is_said_in_one_sentence(
    tmp_path: Path, write_dicom: WriteDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: TarWriter, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    for number in range(3):
        write_dicom(tmp_path / f"src/{number}.dcm", np.full((9, 8), number, np.uint16))
    monkeypatch.setattr(flow, "spare_core", lambda workers: True)
    monkeypatch.setattr(TarWriter, "_write", full)
    with pytest.raises(RadloadError, match=r"packing stopped \(no space left on device\)"):
        pack(PackOptions(tmp_path / "src", tmp_path / "out", workers=0))
