"""Checkpoints: whole or absent, checked before they are believed, loaded as plain tensors and values (no code runs).

A checkpoint holds model and its moving average, optimizer, step, the loader's state (what was delivered), the options and the classes.
The random state is a function of (seed, step, rank) and needs no place in it (see `step_seed`).
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises for content that is not plain; nothing is unpickled here
from typing import Any

import torch
from safetensors import SafetensorError

from radload.dataset.files import atomic_file, write_json
from radload.errors import FormatError, RadloadError, UsageError

VERSION = 1
BEST = "best.pt"
_NAME = re.compile(r"step-(\d{9})\.pt")


def path_of(folder: Path, step: int) -> Path:
    """The checkpoint of `step` in `folder`."""
    return folder / f"step-{step:09d}.pt"


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Write the checkpoint of `step` atomically, then remove all but the newest `keep`. `state`: tensors and plain values."""
    path = path_of(folder, step)
    with writing(f"the checkpoint of step {step}", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            torch.save({"version": VERSION, "step": step, **state}, file)
    for old in known(folder)[keep:]:
        old.unlink()
    return path


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """For a block that writes `what` of the run whose checkpoints are in `folder`.

    Raises:
        RadloadError: it cannot be written; says why, and which checkpoint the run can go on from.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch's writer raises RuntimeError after the OSError, that of safetensors has the reason as a text
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(reason, OSError | SafetensorError):
            raise
        why = getattr(reason, "strerror", None) or str(reason)
        usable, _ = newest(folder)
        left = "there is no checkpoint" if usable is None else f"{usable.name} is the last usable checkpoint"
        raise RadloadError(
            f"{what} cannot be written ({why}), {left}: make room in {folder.parent}, or make it writable, and start again"
        ) from None


def mark_best(folder: Path, step: int, score: float) -> bool:
    """Let `best.pt` be the checkpoint of `step` if no earlier one had such a score; it is a second name of the file (a copy where the file
    system has none), and outlives the newest. best.json has its score."""
    record = folder / "best.json"
    if record.is_file() and json.loads(record.read_bytes())["score"] >= score:
        return False
    temporary = folder / f".{BEST}.tmp"
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(path_of(folder, step))
        temporary.replace(folder / BEST)
    except OSError:
        with atomic_file(folder / BEST) as file, path_of(folder, step).open("rb") as source:
            shutil.copyfileobj(source, file)
    write_json(record, {"step": step, "score": score})
    return True


def known(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, newest first, by name."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name; that of the best one stands inside."""
    if path.name == BEST:
        return int(load(path)["step"])
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise UsageError(f"{path.name} is no checkpoint of a run: give a file called step-NNNNNNNNN.pt")
    return int(match[1])


def is_whole(path: Path) -> bool:
    """True where every byte is what was written: the file is a zip archive, and its CRC-32s are checked."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError):
        return False


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and a sentence for each damaged one that was passed over; clears unfinished files."""
    notes: list[str] = []
    for leftover in folder.glob(".step-*.tmp"):
        leftover.unlink()
    for path in known(folder):
        if is_whole(path):
            return path, notes
        notes.append(f"checkpoint {path.name} is damaged: going back to the one before it")
    return None, notes


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UsageError: no such file. FormatError: damaged, or of another version.
    """
    if not path.is_file():
        raise UsageError(
            f"there is no checkpoint {path}; on several machines, --out must be on a file system that all of them share"
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        raise FormatError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0]}): resume from another"
        ) from None
    if state.get("version") != VERSION:
        raise FormatError(
            f"checkpoint {path} has version {state.get('version')}, this radload reads {VERSION}: start a new run"
        )
    return state
