"""Small files cannot change under whoever opened them; large ones may, and that is noticed before a value is believed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest

from radload.dataset import mapped
from radload.dataset.mapped import OpenFiles
from radload.errors import FormatError

NUMBERS = np.arange(1000, dtype="<u8")
CRC = google_crc32c.value(NUMBERS.tobytes())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "numbers.bin"
    file.write_bytes(NUMBERS.tobytes())
    os.utime(file, ns=(10**18, 10**18))
    return file


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as large."""
    monkeypatch.setattr(mapped, "COPIED", 0)


def cut(path: Path) -> None:
    os.truncate(path, 100)


def lengthen(path: Path) -> None:
    os.truncate(path, 10_000)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff")


@pytest.mark.parametrize("change", [cut, lengthen, overwrite, Path.unlink])
def test_a_copy_is_a_copy(path: Path, change: Callable[[Path], Any]) -> None:
    files = OpenFiles()
    numbers = files.array(path, NUMBERS.dtype, len(NUMBERS) * 8, CRC)
    change(path)
    files.check()
    assert np.array_equal(numbers, NUMBERS) and not numbers.flags.writeable


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("change", [cut, lengthen, overwrite])
@pytest.mark.parametrize("crc", [CRC, None])
def test_a_mapped_file_that_changed_is_named(path: Path, change: Callable[[Path], None], crc: int | None) -> None:
    files = OpenFiles()
    numbers = files.array(path, NUMBERS.dtype, None, crc)
    files.check()
    assert np.array_equal(numbers, NUMBERS)
    change(path)
    for _ in range(2):
        with pytest.raises(FormatError, match=r"numbers\.bin was changed while it was in use"):
            files.check()


@pytest.mark.usefixtures("large")
def test_a_touch_is_no_change_where_the_checksum_is_known(path: Path) -> None:
    files = OpenFiles()
    files.array(path, NUMBERS.dtype, None, CRC)
    path.touch()
    files.check()
    files.check()
    overwrite(path)
    with pytest.raises(FormatError, match="was changed"):
        files.check()


@pytest.mark.usefixtures("large")
def test_a_removed_or_replaced_file_stays_as_it_was(path: Path) -> None:
    files = OpenFiles()
    numbers = files.array(path, NUMBERS.dtype)
    path.with_suffix(".new").write_bytes(bytes(8))
    path.with_suffix(".new").rename(path)
    path.unlink()
    files.check()
    assert np.array_equal(numbers, NUMBERS)


def test_what_is_wrong_at_open_is_refused(path: Path) -> None:
    dtype = NUMBERS.dtype
    for said, size, crc in (("bytes instead of 7", 7, CRC), ("wrong checksum", None, CRC ^ 1)):
        with pytest.raises(FormatError, match=said):
            OpenFiles().array(path, dtype, size, crc)
    with pytest.raises(FormatError, match="cannot be opened"):
        OpenFiles().array(path.with_name("none"), dtype)
    with pytest.raises(FormatError, match="cannot be read"):
        OpenFiles().array(path.parent, dtype)
    cut(path)
    with pytest.raises(FormatError, match="whole records"):
        OpenFiles().array(path, dtype)


def test_an_empty_file_is_no_records(path: Path) -> None:
    os.truncate(path, 0)
    assert len(OpenFiles().array(path, NUMBERS.dtype)) == 0


@pytest.mark.usefixtures("large")
def test_descriptors_are_given_back(path: Path) -> None:
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    files = OpenFiles()
    numbers = files.array(path, NUMBERS.dtype)
    assert len(list(Path("/proc/self/fd").iterdir())) > before
    del files
    assert np.array_equal(numbers, NUMBERS), "values outlive what opened them"
    del numbers
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_the_check_a_cut_would_kill(path: Path) -> None:
    """What all this is for: a mapped file that is cut ends its reader with SIGBUS."""
    script = (
        "import os, sys; from pathlib import Path; import numpy as np; from radload.dataset import mapped\n"
        "mapped.COPIED = int(sys.argv[2]); path = Path(sys.argv[1])\n"
        "numbers = mapped.OpenFiles().array(path, np.dtype('<u8'))\n"
        "os.truncate(path, 0); print(numbers.sum())\n"
    )
    found = []
    for copied in (0, 1 << 20):
        path.write_bytes(NUMBERS.tobytes())
        ran = subprocess.run(
            [sys.executable, "-c", script, str(path), str(copied)], capture_output=True, text=True, timeout=60
        )
        found.append((ran.returncode, ran.stdout))
    assert found == [(-7, ""), (0, f"{NUMBERS.sum()}\n")]
