"""Clock, locale, umask, names and depths of folders change neither shards nor index nor who may read what."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from conftest_pack import WriteDicom, shards_of

import radload
from radload.pack import PackOptions, pack
from radload.pack.walk import walk
from radload.verify import verify

COUNT = 100_000
KEY = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture
def source(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    for number in range(6):
        for place in range(3):
            write_dicom(tmp_path / f"src/{number}/{place}.dcm", patient=f"P{number}", series=f"s{number}", place=place)
    (tmp_path / "key").write_text(KEY)
    return tmp_path / "src"


def content(out: Path) -> dict[str, bytes]:
    """Every file of a data set."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_clock_locale_and_umask_change_nothing(source: Path, tmp_path: Path) -> None:
    """Each run in a process of its own; the clock is moved to 1970 and to 2100, also backwards while the pack runs."""
    pack(PackOptions(source, tmp_path / "usual", workers=0, key=tmp_path / "key"))
    expected = content(tmp_path / "usual")
    script = """
import os, sys, time, itertools
from pathlib import Path
os.umask(int(sys.argv[3], 8))
real, steps = time.time, itertools.count()
if sys.argv[4] != "now":
    time.time = lambda: float(sys.argv[4]) - 1000 * next(steps)
    time.time_ns = lambda: int(time.time() * 1e9)
from radload.pack import PackOptions, pack
if __name__ == "__main__":
    pack(PackOptions(Path(sys.argv[1]), Path(sys.argv[2]), workers=int(sys.argv[5]), key=Path(sys.argv[1]).parent / "key"))
"""
    (tmp_path / "run.py").write_text(script)
    surroundings = [
        ("C", "UTC", "077", "100000", "0"),
        ("tr_TR.UTF-8", "Pacific/Kiritimati", "000", "4102444800", "2"),
        ("POSIX", "America/St_Johns", "027", "now", "2"),
    ]
    for number, (locale, zone, umask, clock, workers) in enumerate(surroundings):
        out = tmp_path / f"out{number}"
        environment = {**os.environ, "LC_ALL": locale, "LANG": locale, "TZ": zone, "PYTHONUTF8": "0"}
        command = [sys.executable, str(tmp_path / "run.py"), str(source), str(out), umask, clock, workers]
        subprocess.run(command, check=True, env=environment, timeout=120)
        assert content(out) == expected, (locale, umask, clock)
        private = out.with_name(f"{out.name}.private")
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert all(not stat.S_IMODE(path.stat().st_mode) & 0o077 for path in private.rglob("*") if path.is_file()), (
            umask
        )


def test_names_that_are_no_utf8_and_very_long_paths(tmp_path: Path, write_dicom: WriteDicom) -> None:
    """Names of any bytes, line ends included; paths of 3,000 bytes, and a file whose name has all 255."""
    source = tmp_path / "src"
    write_dicom(source / "a.dcm", patient="A", series="a")
    template = (source / "a.dcm").read_bytes()
    deep = os.fsencode(source)
    while len(deep) < 3_000:
        deep += b"/" + b"d" * 200
    folders = [
        b"\xff\xfe\x80",
        "ﬁ Ünï ☢".encode(),
        b"new\nline",
        b" ",
        b"-rf",
        b"a'b\"c$(touch x)",
        b"*?[]",
        b"\xed\xa0\x80",
    ]
    random = np.random.default_rng(0)
    for number, folder in enumerate([*[os.fsencode(source) + b"/" + name for name in folders], deep]):
        os.makedirs(folder)  # noqa: PTH103 - bytes
        pixels = random.integers(0, 1000, 480, np.int16).tobytes()
        name = b"n" * 255 if folder == deep else b"\xe9\x01.dcm"
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(template[:-960] + pixels)
        assert number < 9
    (source / "a.dcm").unlink()
    files = list(walk(source))
    assert len(files) == 9 and max(len(os.fsencode(file.source)) for file in files) > 2_900
    summary = pack(PackOptions(source, tmp_path / "out", workers=2, patients="path:(.*)"))
    assert (summary.samples, summary.rejected) == (9, {})
    report = verify(tmp_path / "out", workers=0)
    assert report.whole
    with radload.open(tmp_path / "out") as data:
        assert len({sample.stored.tobytes() for sample in data}) == 9
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert b"touch x" not in path.read_bytes() and b"dddddddd" not in path.read_bytes(), (
                "a path has left the private folder"
            )
    assert not (Path.cwd() / "x").exists()


def test_a_hundred_thousand_names_in_one_folder(tmp_path: Path) -> None:
    """The walk: in order of bytes, each once. test_scale packs so many."""
    folder = tmp_path / "src"
    folder.mkdir()
    for number in range(COUNT):
        os.close(os.open(folder / f"{number * 7919 % COUNT:x}", os.O_CREAT | os.O_WRONLY))
    names = [file.source for file in walk(folder)]
    assert len(names) == COUNT and names == sorted(names)


def test_a_folder_is_listed_once_however_it_is_reached(source: Path, tmp_path: Path) -> None:
    for number in range(50):
        (source / f"link{number}").symlink_to(source)
    with mock.patch("os.scandir", wraps=os.scandir) as listed:
        assert len(list(walk(source))) == 18
    assert listed.call_count == 7
    pack(PackOptions(source, tmp_path / "out", workers=0))
    assert len(shards_of(tmp_path / "out")) >= 1
