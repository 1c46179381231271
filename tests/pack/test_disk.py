"""Disks that are full, read-only, over quota or gone: one sentence, nothing half-written under its final name, and a rerun goes on.

What needs a real file system runs in a mount namespace of its own, where this user may make one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest_pack import WriteDicom, shards_of

from radload.dataset import files
from radload.dataset.files import atomic_file
from radload.errors import RadloadError
from radload.pack import PackOptions, pack
from radload.pack.job import pack_shard
from radload.pack.plan import ShardJob
from radload.pack.worker import Beat
from radload.train import checkpoint

SIZE = 0.3
IN_NAMESPACE = """
import json, os, subprocess, sys
from pathlib import Path
mount, source, kind, out = Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[1]) / "deep/out"
command = [sys.executable, "-m", "radload.cli", "pack", "--src", source, "--out", str(out), "--shard-size", "0.3"]
command += ["--workers", "2", "--quiet"]
small = {"full": "size=600k", "inodes": "size=64m,nr_inodes=24", "read-only": "size=64m"}[kind]
run = lambda *words: subprocess.run(words, check=True)
run("mount", "-t", "tmpfs", "-o", small, "none", str(mount))
if kind == "read-only":
    out.mkdir(parents=True)
    run("mount", "-o", "remount,ro", str(mount))
first = subprocess.run(command, capture_output=True, text=True)
left = sorted(path.relative_to(mount).as_posix() for path in mount.rglob("*") if path.is_file())
whole = {path.relative_to(out).as_posix(): path.stat().st_size for path in out.glob("*/*.tar")}
run("mount", "-o", "remount,rw,size=64m,nr_inodes=9999", str(mount))
second = subprocess.run(command, capture_output=True, text=True)
import hashlib
digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
shards = {path.relative_to(out).as_posix(): digest(path) for path in sorted(out.glob("*/*.tar"))}
said = {"first": [first.returncode, first.stderr], "second": [second.returncode, second.stderr]}
print(json.dumps({**said, "left": left, "whole": whole, "shards": shards}))
"""


def _may_mount() -> bool:
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    script = "mount -t tmpfs none /tmp"
    return subprocess.run(["unshare", "-m", "sh", "-c", script], check=False, capture_output=True).returncode == 0


@pytest.fixture
def source(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    random = np.random.default_rng(0)
    for number in range(20):
        for place in range(4):
            pixels = np.cumsum(random.integers(-3, 4, (128, 128)), axis=1).astype(np.int16)
            names = {"patient": f"P{number}", "series": f"s{number}"}
            write_dicom(tmp_path / f"src/{number}/{place}.dcm", pixels, place=place, **names)
    return tmp_path / "src"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("full", "no space left on device"),
        ("inodes", "no space left on device"),
        ("read-only", "read-only file system"),
    ],
)
def test_a_disk_that_is_full_or_read_only(source: Path, tmp_path: Path, kind: str, text: str) -> None:
    if not _may_mount():
        pytest.skip("this user may not mount a file system in a namespace of his own")
    (tmp_path / "disk").mkdir()
    command = ["unshare", "-m", sys.executable, "-c", IN_NAMESPACE, str(tmp_path / "disk"), str(source), kind]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["first"][0] == 2 and text in said["first"][1].lower(), said["first"]
    assert said["first"][1].count("\n") == 1 and "Traceback" not in said["first"][1]
    assert not [name for name in said["left"] if name.endswith((".tmp", "manifest.json"))]
    assert said["second"] == [0, ""], said["second"]
    pack(PackOptions(source, tmp_path / "whole", shard_size=SIZE, workers=0))
    expected = shards_of(tmp_path / "whole")
    assert said["shards"] == expected
    sizes = {
        path.relative_to(tmp_path / "whole").as_posix(): path.stat().st_size
        for path in (tmp_path / "whole").glob("*/*.tar")
    }
    assert all(sizes[name] == size for name, size in said["whole"].items()), "a shard under its final name was cut"


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EROFS, errno.ESTALE])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_any_failure_of_a_write_while_packing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    """The disk fails at the fifth file that the pack writes, whichever that is, and at the last: index, labels, manifest."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        _fail_after(patch, call, 8, number)
        with pytest.raises(RadloadError) as caught:
            pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    assert os.strerror(number).lower() in str(caught.value).lower() and str(caught.value).count("\n") == 0
    assert not (out / "manifest.json").exists() and not list(tmp_path.rglob("*.tmp"))
    pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    pack(PackOptions(source, tmp_path / "whole", shard_size=SIZE, workers=0))
    assert shards_of(out) == shards_of(tmp_path / "whole")


def _fail_after(patch: pytest.MonkeyPatch, call: str, count: int, number: int) -> None:
    calls = [0]

    def counted(*_: Any) -> None:
        calls[0] += 1
        if calls[0] > count:
            raise OSError(number, os.strerror(number))

    if call == "fsync":
        patch.setattr(files.os, "fsync", counted)
    else:
        real = Path.replace

        def replace(path: Path, target: Path) -> Path:
            counted()
            return real(path, target)

        patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("count", range(0, 60, 7))
def test_a_disk_that_fails_at_any_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """From the catalog to the manifest: a sentence, no temporary file, no data set; then the same as ever."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        _fail_after(patch, "replace", count, errno.ENOSPC)
        try:
            pack(PackOptions(source, out, shard_size=SIZE, workers=0))
        except RadloadError as error:
            assert "no space left on device" in str(error).lower()
        else:
            assert count > 25, "it was never asked to fail"
    assert not list(tmp_path.rglob("*.tmp"))
    assert pack(PackOptions(source, out, shard_size=SIZE, workers=0)).samples == 80


def test_a_folder_that_goes_while_packing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, shards = tmp_path / "out", []

    def losing(job: ShardJob, beat: Beat) -> None:
        shards.append(job.name)
        if len(shards) == 4:
            shutil.rmtree(out)
        pack_shard(job, beat)

    with monkeypatch.context() as patch, pytest.raises(RadloadError, match="no such file or directory"):
        patch.setattr("radload.pack.flow.pack_shard", losing)
        pack(PackOptions(source, out, shard_size=SIZE, workers=0))
    shutil.rmtree(tmp_path / "out.private")
    assert pack(PackOptions(source, out, shard_size=SIZE, workers=0)).samples == 80


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    checkpoint.save(tmp_path, 1, {"value": 1}, 2)
    with monkeypatch.context() as patch:
        _fail_after(patch, call, 0, number)
        with pytest.raises(
            RadloadError, match=r"step 2 cannot be written .*step-000000001\.pt is the last usable checkpoint"
        ):
            checkpoint.save(tmp_path, 2, {"value": 2}, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert checkpoint.load(tmp_path / "step-000000001.pt")["value"] == 1


def test_an_atomic_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write(b"half of the n")
        _ = 1 / 0
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
