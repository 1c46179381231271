"""A pack whose --out is a bucket: packed on this machine, uploaded when it is complete, the manifest last.

Each object appears whole or not at all, and carries the SHA-256 of its bytes as an attribute, so a second run sends only what is not there
as it should be. Until the manifest is there nobody can open the data set. An object that names the upload keeps out a second one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from radload.dataset.manifest import MANIFEST
from radload.dataset.schema import SPLITS
from radload.errors import RadloadError, UsageError
from radload.pack.display import Display
from radload.pack.options import PackOptions
from radload.pack.stopped import Stopped
from radload.pack.summary import PackSummary
from radload.remote.store import Entry, Store

SHA256 = "sha256"  # attribute of an object: of all its bytes, in hex
CLAIM = "upload.json"  # object that is there while a data set is uploaded
_FILES_AT_ONCE = 4  # each of them in parts
_PIECE = 4 << 20


def pack_to_store(
    options: PackOptions, url: str, pack: Callable[[PackOptions], PackSummary], console: Console | None
) -> PackSummary:
    """Pack to `options.out`, a folder of this machine, and upload what comes of it to `url`. That folder stays.

    Raises:
        UsageError: something else is at `url`. RadloadError: the store cannot be reached; the same call goes on later.
        Stopped: on Ctrl-C.
    """
    store = Store(url)
    _check_free(store, {entry.name for entry in store.list()}, options.out)
    summary = pack(options)
    with Display(console) as display:
        sent = upload(options.out, store, display)
    note = f"{sent} files were uploaded to {url}; {options.out} holds the same shards and may be removed"
    return replace(summary, notes=(*summary.notes, note))


def upload(root: Path, store: Store, display: Display) -> int:
    """Upload the data set in `root`, except for what is there already; returns the number of files sent.

    Raises:
        UsageError: another data set is uploaded there. RadloadError: the store cannot be reached, or lost what it was sent.
        Stopped: on Ctrl-C.
    """
    manifest = (root / MANIFEST).read_bytes()
    claim = hashlib.sha256(manifest).hexdigest().encode()
    if not store.create(CLAIM, claim):
        raise UsageError(
            f"another data set is being uploaded to {store.url}: give another --out, or remove {CLAIM} there"
        )
    there = {entry.name: entry for entry in store.list()}
    files = list(_files(root))
    display.start("uploading", sum(path.stat().st_size for path in files), "bytes")
    sent = 0
    pool = ThreadPoolExecutor(_FILES_AT_ONCE)
    try:
        running = [pool.submit(_send, root, path, store, there) for path in files]
        for done in as_completed(running):
            size, new = done.result()
            display.advance(size)
            sent += new
    except KeyboardInterrupt:
        raise Stopped(f"stopped while uploading to {store.url}; run the same command again to go on") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    sizes = {entry.name: entry.size for entry in store.list()}
    for path in files:
        name = path.relative_to(root).as_posix()
        if sizes.get(name) != path.stat().st_size:
            raise RadloadError(f"{store.url}/{name} is not there as it was sent: run the same command again")
    sent += _send(root, root / MANIFEST, store, there)[1]
    store.delete(CLAIM)
    return sent


def _files(root: Path) -> Iterator[Path]:
    """Shards, index and labels: all that a data set is, but its manifest."""
    for split in SPLITS:
        yield from sorted((root / split).glob("[!.]*.tar"))
    yield from sorted(  # with the labels and manifests of later versions
        path for path in (root / "index").rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    yield from sorted((root / "labels").glob("[!.]*.arrow"))


def _send(root: Path, path: Path, store: Store, there: dict[str, Entry]) -> tuple[int, bool]:
    """Upload a file unless the store has it; bytes, and whether it was sent."""
    name, size, digest = path.relative_to(root).as_posix(), path.stat().st_size, hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    known = there.get(name)
    if known is not None and known.size == size and store.attribute(name, SHA256) == digest.hexdigest():
        return size, False
    store.write(name, path, {SHA256: digest.hexdigest()})
    return size, True


def _check_free(store: Store, names: set[str], staged: Path) -> None:
    """UsageError where something else is at the address; before hours of packing, not after them."""
    if MANIFEST in names:
        if not (staged / MANIFEST).is_file() or store.read(MANIFEST) != (staged / MANIFEST).read_bytes():
            raise UsageError(f"{store.url} holds another data set: give another --out")
    elif CLAIM in names:
        held = hashlib.sha256((staged / MANIFEST).read_bytes()).hexdigest() if (staged / MANIFEST).is_file() else ""
        if store.read(CLAIM) != held.encode():
            raise UsageError(
                f"another data set is being uploaded to {store.url}: give another --out, or remove {CLAIM} there"
            )
    elif names:
        raise UsageError(f"{store.url} holds other things: give the address of a new folder as --out")
