"""What a data set in a bucket needs on the node before its first sample: manifest, index and labels, checked, once for all ranks.

    FOLDER/<24 hex digits of address and manifest>/manifest.json, index/, labels/, and shards, see node_cache.py

Another version of the data set has another manifest, and so another folder beside the first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from radload.dataset import filelock
from radload.dataset.files import atomic_file
from radload.dataset.index import segment_folder
from radload.dataset.manifest import MANIFEST
from radload.errors import FormatError, RadloadError, UsageError
from radload.remote.download import PARTS_AT_ONCE, download
from radload.remote.store import Entry, Store

_LOCK = ".lock"
_PATIENCE = 1800.0  # seconds for another rank that fetches the index
_TAGS = ".labels.json"
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")  # a name that leaves no folder
_MOST_SMALL = 64 << 20  # bytes of a manifest or a segment.json; a hostile one shall not fill the memory


def default_folder() -> Path:
    """Where shards are kept if nothing else is said: in the folder for temporary files, which batch systems give on the node's own disk."""
    return Path(tempfile.gettempdir()) / f"radload-{os.getuid()}"


def open_copy(url: str, folder: str | PathLike[str] | None = None) -> Path:
    """The local folder that has the data set's manifest, index and labels, made or brought up to date.

    Raises:
        UsageError: no data set at `url`, or a folder that cannot be used.
        FormatError: a damaged one. RadloadError: the store cannot be reached.
    """
    base = default_folder() if folder is None else Path(folder).absolute()
    store = Store(url)
    entries = {entry.name: entry for entry in store.list()}
    if MANIFEST not in entries:
        raise UsageError(
            f"{url} holds no {MANIFEST}: it is not a finished data set; make one with `radload pack --src DIR --out {url} --private DIR`"
        )
    manifest = _small(store, entries, MANIFEST)
    root = base / hashlib.sha256(url.encode() + b"\0" + manifest).hexdigest()[:24]
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if base.stat().st_uid != os.getuid():
            raise UsageError(f"the folder {base} belongs to somebody else: give another shard_cache")
        root.mkdir(mode=0o700, exist_ok=True)
        with _alone(root):
            _index(store, entries, manifest, root)
            _labels(store, entries, root, _label_folder(manifest))
            if not (root / MANIFEST).is_file():
                with atomic_file(root / MANIFEST) as file:
                    file.write(manifest)
    except OSError as error:
        raise UsageError(
            f"the folder {base} cannot be used ({error.strerror}): give one on a local disk with room as shard_cache"
        ) from None
    return root


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """While one rank fetches, the others wait."""
    descriptor = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not filelock.acquire(descriptor, 0, patience=_PATIENCE):
            raise RadloadError(
                f"another process has fetched the index to {root} for {_PATIENCE:.0f} s: end it, or wait"
            )
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _small(store: Store, entries: dict[str, Entry], name: str) -> bytes:
    if name not in entries or entries[name].size > _MOST_SMALL:
        raise FormatError(f"{store.url}/{name} is missing or too large to be one: upload it again from a copy")
    return store.read(name)


def _index(store: Store, entries: dict[str, Entry], manifest: bytes, root: Path) -> None:
    """Segments that the manifest names; files that are there with the right size were checked when they came."""
    try:
        generations: Sequence[Any] = json.loads(manifest)["generations"]
        segments = [segment_folder(int(generation)) for generation in generations]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{store.url}/{MANIFEST} is damaged ({error}): upload it again from a copy") from None
    if not segments:
        raise FormatError(f"{store.url}/{MANIFEST} names no index: upload it again from a copy")
    for segment in segments:
        (root / segment).mkdir(parents=True, exist_ok=True)
        summary = _small(store, entries, f"{segment}/segment.json")
        try:
            files = {
                str(name): (int(entry["bytes"]), int(entry["crc32c"]))
                for name, entry in dict(json.loads(summary)["files"]).items()
            }
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{store.url}/{segment}/segment.json is damaged ({error}): upload it again from a copy"
            ) from None
        for name, (size, crc) in files.items():
            if not _PLAIN.fullmatch(name):
                raise FormatError(
                    f"{store.url}/{segment}/segment.json lists a file outside of the index: it is no radload index"
                )
            path = root / segment / name
            if not path.is_file() or path.stat().st_size != size:
                _fetch(store, f"{segment}/{name}", size, crc, path)
        with atomic_file(root / segment / "segment.json") as file:
            file.write(summary)


def _label_folder(manifest: bytes) -> str:
    """Where the label sets of the current version are; see Index.label_root. The manifest has been looked at by `_index`."""
    generation = int(json.loads(manifest)["generations"][-1])
    return f"{segment_folder(generation)}/labels/" if generation else "labels/"


def _labels(store: Store, entries: dict[str, Entry], root: Path, prefix: str) -> None:
    """Label sets change while shards do not: each is fetched again where the store's mark of it is another."""
    folder, tags = root / prefix, root / _TAGS
    there = {
        name.removeprefix(prefix): entry
        for name, entry in entries.items()
        if name.startswith(prefix) and _PLAIN.fullmatch(name.removeprefix(prefix))
    }
    folder.mkdir(parents=True, exist_ok=True)
    try:
        before: dict[str, Any] = json.loads(tags.read_bytes())
    except (OSError, ValueError):
        before = {}
    for path in folder.iterdir():
        if path.name not in there:
            path.unlink()
    for name, entry in there.items():
        if before.get(name) != entry.tag or not (folder / name).is_file():
            _fetch(store, entry.name, entry.size, None, folder / name)
    with atomic_file(tags) as file:
        file.write(json.dumps({name: entry.tag for name, entry in there.items()}).encode())


def _fetch(store: Store, name: str, size: int, crc: int | None, path: Path) -> None:
    with ThreadPoolExecutor(PARTS_AT_ONCE) as pool, atomic_file(path) as file:
        download(store, name, size, file.fileno(), pool, crc)
