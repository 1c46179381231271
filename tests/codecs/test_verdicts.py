"""What a machine remembers of its decoders: wrong stays wrong, damage is nothing, and nothing personal is in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from radload.codecs import verdicts as module
from radload.codecs.verdicts import Verdicts, machine_name, open_verdicts, verdicts_path


def test_it_remembers(tmp_path: Path) -> None:
    path = tmp_path / "a/b/decoders.json"
    here = Verdicts(path, "H200, driver 580.1")
    assert here.of("DALI") is None
    here.note("DALI", True)
    here.note("nvImageCodec", False)
    again, other = Verdicts(path, "H200, driver 580.1"), Verdicts(path, "H200, driver 580.2")
    assert (again.of("DALI"), again.of("nvImageCodec"), other.of("DALI")) == (True, False, None)
    other.note("DALI", False)
    assert again.of("DALI") is True and other.of("DALI") is False
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_wrong_once_stays_wrong(tmp_path: Path) -> None:
    here = Verdicts(tmp_path / "decoders.json", "m")
    for equal, known in ((True, True), (False, False), (True, False)):
        here.note("DALI", equal)
        assert here.of("DALI") is known


def test_the_file_is_read_once_and_again_after_each_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing asks for every frame."""
    here, other = (Verdicts(tmp_path / "decoders.json", "m") for _ in range(2))
    read: list[str] = []
    parse = module._parse
    monkeypatch.setattr(module, "_parse", lambda text: read.append(text) or parse(text))
    other.note("DALI", True)
    assert [here.of("DALI") for _ in range(100)] == [True] * 100 and len(read) == 1
    other.note("nvImageCodec", False)  # by another process
    assert here.of("nvImageCodec") is False and here.of("DALI") is True
    assert here.of("unknown") is None and read.count(read[-1]) <= 2 and len(set(read)) == 2
    here.path.unlink()  # type: ignore[union-attr]
    assert here.of("DALI") is None


def test_what_could_not_be_written_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Verdicts(tmp_path / "decoders.json", "m")
    here.note("DALI", True)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json", lambda *_: (_ for _ in ()).throw(OSError()))
        here.note("nvImageCodec", True)
    assert here.of("DALI") is True and here.of("nvImageCodec") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"version": 2, "verdicts": {"m": {"DALI": true}}}',
        b'{"version": 1}',
        b'{"version": 1, "verdicts": 3}',
        b'{"version": 1, "verdicts": {"m": 3}}',
        b'{"version": 1, "verdicts": {"m": {"DALI": "yes"}}}',
    ],
)
def test_a_damaged_file_is_no_verdict(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "decoders.json"
    path.write_bytes(content)
    here = Verdicts(path, "m")
    assert here.of("DALI") is None
    here.note("DALI", False)
    assert here.of("DALI") is False


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    here = Verdicts(tmp_path / "file/decoders.json", "m")
    here.note("DALI", True)
    assert here.of("DALI") is None
    nothing = Verdicts(None, "")
    nothing.note("DALI", True)
    assert nothing.of("DALI") is None


def test_a_machine_is_its_gpus_driver_and_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia"
    assert machine_name(driver) is None
    for number in range(2):
        (driver / f"gpus/0000:0{number}").mkdir(parents=True)
        (driver / f"gpus/0000:0{number}/information").write_text(
            "Model: \t\t NVIDIA H200\nIRQ:   \t\t 38\nGPU UUID: \t GPU-0123-4567\nBus Location: \t 0000:00:1e.0\n"
        )
    assert machine_name(driver) is None, "without the driver's version"
    (driver / "version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n"
    )
    name = machine_name(driver)
    assert name is not None and name.startswith("NVIDIA H200, driver 580.95.05, imagecodecs ")
    assert "0123" not in name and "1e.0" not in name
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = open_verdicts(lambda: name)
    found.note("DALI", True)
    assert found.path == verdicts_path() == tmp_path / "cache/radload/decoders.json"
    assert json.loads(found.path.read_text()) == {"version": 1, "verdicts": {name: {"DALI": True}}}


def test_without_a_driver_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert verdicts_path() == Path("~/.cache/radload/decoders.json").expanduser()
    monkeypatch.setattr(module, "machine_name", lambda: None)
    assert open_verdicts().path is None
