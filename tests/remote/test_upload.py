"""`--out s3://`: what is in the bucket is what a local pack writes; a broken upload is no data set, and goes on where it was."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bucket import URL, pack_options, point_at
from serve import s3_server

import radload
from radload.errors import RadloadError, UsageError
from radload.pack import dry_run, pack
from radload.pack.display import Display
from radload.pack.upload import upload
from radload.remote import store as store_module


def content(root: Path) -> dict[str, str]:
    """Every file but the manifest, which names no versions of ours alone, by its SHA-256."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_bucket_holds_what_a_local_pack_writes(
    volumes: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through errors, throttling and cuts; nothing private, nothing temporary; a second run sends nothing."""
    key = tmp_path / "key"
    key.write_text((packed.with_name("shards.private") / "key").read_text())
    key.chmod(0o600)
    options = replace(pack_options(volumes, URL, tmp_path / "private"), key=key)
    with s3_server(tmp_path / "buckets", errors=0.1, throttle=0.1, cuts=0.1) as server:
        point_at(server, monkeypatch)
        assert dry_run(options, None) is not None
        assert not (tmp_path / "buckets/bucket").exists()
        summary = pack(options)
        assert summary.fresh
        bucket = tmp_path / "buckets" / URL.removeprefix("s3://")
        assert content(bucket) == content(packed)
        before = server.counts()
        assert before["checksums"] > 10, "the server had SHA-256 to check what came"
        again = pack(options)
        assert not again.fresh and "0 files were uploaded" in again.notes[-1]
        with radload.open(URL) as dataset:
            assert len(dataset) == summary.samples


def test_large_files_go_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(20 << 20)
    (tmp_path / "file").write_bytes(content)
    with s3_server(tmp_path / "buckets", errors=0.1) as server:
        point_at(server, monkeypatch)
        store = store_module.Store(URL)
        store.write("train/0.tar", tmp_path / "file", {"sha256": "x"})
        assert store.attribute("train/0.tar", "sha256") == "x"
        assert store.read("train/0.tar") == content
        assert server.counts()["multipart"] == 1


def test_an_answer_that_is_lost_is_no_other_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each object is written and every answer but the last lost: what is there is ours, unless its content is another's."""
    monkeypatch.setattr(store_module, "_FIRST_WAIT", 0.01)
    with s3_server(tmp_path / "buckets", cuts=0.5) as server:
        point_at(server, monkeypatch)
        store = store_module.Store(URL)
        for number in range(4):
            name = f"once-{number}"
            assert store.create(name, b"ours"), name
            assert (tmp_path / "buckets/bucket/data/set" / name).read_bytes() == b"ours"
            assert not store.create(name, b"theirs") and store.create(name, b"ours")
            assert (tmp_path / "buckets/bucket/data/set" / name).read_bytes() == b"ours"
        assert server.counts()["lost"] >= 2


def test_an_upload_that_was_killed_goes_on(volumes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No manifest, so no data set; the second run sends the rest."""
    with s3_server(tmp_path / "buckets", latency=0.1) as server:
        point_at(server, monkeypatch)
        bucket = tmp_path / "buckets" / URL.removeprefix("s3://")
        command = [sys.executable, "-m", "radload.cli", "pack", "--src", str(volumes), "--out", URL]
        command += ["--private", str(tmp_path / "private"), "--labels-from", "folder:1", "--shard-size", "0.4"]
        command += ["--split", "80/20/0", "--workers", "0", "--quiet"]
        with subprocess.Popen(command, start_new_session=True) as process:
            limit = time.monotonic() + 120
            while not list(bucket.glob("train/[!.]*.tar")) and time.monotonic() < limit and process.poll() is None:
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
        before = set(content(bucket))
        assert before and "manifest.json" not in before
        with pytest.raises(UsageError, match="not a finished data set"):
            radload.open(URL)
        with pytest.raises(UsageError, match="another data set is being uploaded"):
            pack(pack_options(volumes, URL, tmp_path / "other"))
        finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert finished.returncode == 0, finished.stderr
        staged = tmp_path / "private.shards"
        assert content(bucket) == content(staged)
        with radload.open(URL) as dataset:
            assert len(dataset) == 240


def test_other_things_at_the_address_are_left_alone(
    volumes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        store_module.Store(URL).write("notes.txt", b"mine")
        with pytest.raises(UsageError, match="holds other things"):
            pack(pack_options(volumes, URL, tmp_path / "private"))
        pack(pack_options(volumes, f"{URL}2", tmp_path / "private"))
        with pytest.raises(UsageError, match="holds another data set"):
            pack(pack_options(volumes, f"{URL}2", tmp_path / "second"))
        assert not (tmp_path / "second").exists()


def test_a_store_that_refuses_is_a_sentence(volumes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "TRIES", 1)
    monkeypatch.setattr(store_module, "_RETRIES", 1)
    with s3_server(tmp_path / "buckets", errors=1.0) as server:
        point_at(server, monkeypatch)
        with pytest.raises(RadloadError, match="cannot be reached after 1 tries"):
            pack(pack_options(volumes, URL, tmp_path / "private"))
    assert not (tmp_path / "private").exists()


def test_labels_of_later_versions_go_too(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 has its labels below its index (Index.label_root); what begins with a dot stays here."""
    root = tmp_path / "root"
    shutil.copytree(packed, root)
    for name in ("index/000001/labels/default.arrow", "index/000000/manifest.json", "index/000000/.half.tmp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        store = store_module.Store(URL)
        upload(root, store, Display(None))
        found = {entry.name for entry in store.list()}
    assert found == set(content(root)) - {"index/000000/.half.tmp"}
