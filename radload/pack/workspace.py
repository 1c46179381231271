"""The folders of a pack: checked before anything is written, made, and taken away again where nothing came of it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from radload.dataset.addresses import check_local
from radload.dataset.files import atomic_file, write_json
from radload.dataset.manifest import MANIFEST
from radload.dataset.schema import SPLITS
from radload.errors import UsageError
from radload.pack.catalog import CATALOG, JOURNAL
from radload.pack.forgotten import FORGOTTEN
from radload.pack.options import PackOptions
from radload.pack.part import PACKING
from radload.pack.planned import JOBS, WALK
from radload.pack.privacy import new_key, parse_key
from radload.pack.scan import InputFile
from radload.pack.walk import resolved

KEY: Final = "key"
PLAN: Final = "plan.json"
CROSSWALK: Final = "crosswalk.parquet"
REJECTS: Final = "rejects.parquet"
SPLITS_FILE: Final = "splits.parquet"
EXPORTS: Final = "exports.json"  # of `radload export`
REVIEW: Final = "review"  # folder of `radload review`
_PRIVATE_FILES: Final = frozenset((KEY, PLAN, CROSSWALK, REJECTS, SPLITS_FILE, JOBS, WALK))
_STAYING: Final = frozenset(
    (CATALOG, JOURNAL, REVIEW, FORGOTTEN, EXPORTS)
)  # there before a pack, and after one of which nothing comes


class State(Enum):
    """What `--out` holds."""

    FRESH = "nothing"
    UNFINISHED = "a pack that was stopped"
    FINISHED = "a data set"


@dataclass(frozen=True, slots=True)
class Folders:
    """Absolute paths; see `PackOptions`."""

    source: Path
    out: Path
    private: Path
    state: State


def check_folders(options: PackOptions) -> Folders:
    """Look at the folders without changing anything.

    Raises:
        UsageError: one sentence about the first that cannot be used.
    """
    source, out = resolved(options.source, options.timeout), options.out.resolve()
    private = (options.private or out.with_name(f"{out.name}.private")).resolve()
    check_source(options.source, source)
    if not os.access(source, os.R_OK | os.X_OK):
        raise UsageError(f"--src {options.source} cannot be read: ask for permission, or give another folder")
    for option, path in (("--out", out), ("--private", private)):
        if path == source or source in path.parents:
            raise UsageError(
                f"{option} {path} lies inside --src, so the next pack would find it: give a folder outside of {options.source}"
            )
        if path.exists() and not path.is_dir():
            raise UsageError(f"{option} {path} is a file: give a folder that does not exist yet")
    if private == out or out in private.parents or private in out.parents:
        raise UsageError(
            f"--private {private} and --out {out} lie inside each other: the private folder names patients, so keep it apart"
        )
    state = _state(out)
    _check_private(private, state)
    return Folders(source, out, private, state)


def check_source(given: Path, source: Path) -> None:
    """UsageError where --src, resolved, is no folder."""
    check_local("--src", given, "copy the files to a folder, and give that")
    if not source.exists():
        raise UsageError(f"there is no folder {given}: give the folder with the images as --src")
    if not source.is_dir():
        raise UsageError(f"--src {given} is a file: give the folder that holds it")


def _state(out: Path) -> State:
    try:
        names = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise UsageError(f"--out {out} cannot be read ({error.strerror}): give another folder") from None
    if MANIFEST in names:
        return State.FINISHED
    if PACKING in names:
        return State.UNFINISHED
    if names:
        raise UsageError(f"--out {out} exists and holds other things: give a new or an empty folder")
    return State.FRESH


def _check_private(private: Path, state: State) -> None:
    try:
        names = (
            {path.name for path in private.iterdir() if not path.name.endswith(".tmp")} if private.exists() else set()
        )
    except OSError as error:
        raise UsageError(f"--private {private} cannot be read ({error.strerror}): give another folder") from None
    if names - _PRIVATE_FILES - _STAYING:
        raise UsageError(f"--private {private} exists and holds other things: give a new or an empty folder")
    if state is State.FRESH:
        if CROSSWALK in names:
            raise UsageError(
                f"--private {private} belongs to other shards: give another folder by --private, or remove it if those shards are gone"
            )
        return
    if not names >= {KEY, PLAN}:
        raise UsageError(
            f"--out holds {state.value}, but its private folder is not {private}: give it by --private, or pack to another --out"
        )


class Workspace:
    """The folders while a pack writes into them. Until `keep` is called, leaving it takes away all that it made.

    A catalog is an exception where the user stopped the pack: the next one goes on with it.
    """

    def __init__(self, folders: Folders, key: bytes | None = None) -> None:
        """Make the folders and lock them.

        Args:
            key: the pseudonym key, None: that of the private folder, a new one where it has none.

        Raises:
            UsageError: one cannot be made or written, another pack is at work in it, or the private folder has another key.
        """
        self.out, self.private, self.state = folders.out, folders.private, folders.state
        self._made: list[Path] = []
        self._kept = folders.state is not State.FRESH
        self._lock = -1
        self._new_catalog = not any((self.private / name).exists() for name in (CATALOG, JOURNAL))
        try:
            self._make(self.out, 0o755, "--out")
            self._make(self.private, 0o700, "--private")
            self._lock = lock_folder(self.out)
            self._new_key = not (self.private / KEY).exists()
            self.key = (key or new_key()) if self._new_key else read_key(self.private)
            check_same_key(self.private, self.key, key)
        except BaseException:
            self._leave()
            raise

    def keep(self, plan: dict[str, Any]) -> None:
        """Write key, plan and an empty state: from here on a pack that stops can go on."""
        if self._new_key:
            with atomic_file(self.private / KEY, 0o600) as file:
                file.write(self.key.hex().encode() + b"\n")
        write_json(self.private / PLAN, plan, 0o600)
        (self.out / PACKING / "parts").mkdir(parents=True, exist_ok=True)
        with atomic_file(self.out / PACKING / "plan") as file:
            file.write(plan["plan"].encode())
        self._kept = True

    def discard(self) -> None:
        """Nothing came of it: what the pack has written goes when the workspace is left."""
        for name in (PACKING, "index", "labels", *SPLITS):
            shutil.rmtree(self.out / name, ignore_errors=True)
        for name in _PRIVATE_FILES - ({KEY} if not self._new_key else set()):
            (self.private / name).unlink(missing_ok=True)
        self._kept = False

    def clean(self) -> None:
        """Remove what a killed process had begun to write."""
        for path in [
            *self.out.glob("*/.*.tmp"),
            *self.out.glob(f"{PACKING}/parts/.*.tmp"),
            *self.private.glob(".*.tmp"),
        ]:
            path.unlink(missing_ok=True)

    def _make(self, folder: Path, mode: int, option: str) -> None:
        """Make `folder` and its parents, remembering which were made."""
        try:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir(mode if path == folder else 0o755)
                self._made.append(path)
            if mode == 0o700:
                folder.chmod(mode)  # whatever the umask, or whoever made it
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                locked = os.statvfs(folder).f_flag & os.ST_RDONLY
                code = errno.EROFS if locked else errno.EACCES
                raise OSError(code, os.strerror(code))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            raise UsageError(
                f"{option} {folder} cannot be written ({reason}): give a folder where you may write"
            ) from None

    def _leave(self, stopped: bool = False) -> None:
        """stopped: by the user, who may go on: what was scanned stays."""
        if self._lock >= 0:
            os.close(self._lock)
        if self._kept:
            return
        if self._new_catalog and not stopped:
            with suppress(OSError):
                (self.private / CATALOG).unlink()
            shutil.rmtree(self.private / JOURNAL, ignore_errors=True)
        for path in reversed(self._made):
            with suppress(OSError):  # somebody has put something there, or what was scanned stays
                path.rmdir()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(stopped=isinstance(error, KeyboardInterrupt))


def lock_folder(out: Path, shared: bool = False) -> int:
    """Lock a data set for who writes to it; returns the descriptor whose end is the lock's. Raises UsageError where another has it.

    Args:
        shared: others may have it shared too; on network file systems the lock may hold on this machine only, or not at all.
    """
    lock = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise UsageError(f"another radload pack is writing to {out}: wait for its end, or give another --out") from None
    except OSError as error:
        if error.errno not in (
            errno.ENOTSUP,
            errno.ENOLCK,
            errno.ENOSYS,
            errno.EINVAL,
        ):  # some network file systems cannot
            os.close(lock)
            raise
    return lock


def read_plan(folders: Folders) -> tuple[bytes, dict[str, Any]]:
    """(key, plan.json) of a data set that is finished or under way."""
    try:
        plan: dict[str, Any] = json.loads((folders.private / PLAN).read_bytes())
    except (OSError, ValueError):
        raise UsageError(
            f"{folders.private / PLAN} is damaged: restore the private folder from a copy, or pack to another --out"
        ) from None
    return read_key(folders.private), plan


def describe_plan(key: bytes, options: dict[str, Any], files: Sequence[InputFile]) -> dict[str, Any]:
    """plan.json: the options, a digest of the input files' names, sizes and times, and an id of both that tells nothing without the key."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.source.encode("utf-8", "surrogateescape") + f"\0{file.size}\0{file.modified}\n".encode())
    content = {"options": options, "files": digest.hexdigest()}
    text = json.dumps(content, sort_keys=True).encode()
    return {"plan": hmac.new(key, b"plan\0" + text, hashlib.sha256).hexdigest(), **content}


def differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Which options of two plans differ, "" for equal plans."""
    old, new = before.get("options", {}), now["options"]
    names = [name for name in new if old.get(name) != new[name]]
    if before.get("files") != now["files"]:
        names.append("the files under --src")
    return ", ".join(names)


def check_same_key(private: Path, key: bytes, given: bytes | None) -> None:
    """Raises UsageError where --key gives another key than the private folder has."""
    if given is not None and not hmac.compare_digest(key, given):
        raise UsageError(
            f"--key is not the key in {private}: leave it out to go on with that one, or give another --private (and --out)"
        )


def read_key(private: Path) -> bytes:
    """The pseudonym key of a private folder. Raises UsageError."""
    try:
        return parse_key((private / KEY).read_text("ascii"))
    except (OSError, ValueError):
        raise UsageError(
            f"{private / KEY} is no pseudonym key: restore it from a copy, or give another --private"
        ) from None
