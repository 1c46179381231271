"""The log of a run: one JSON object per line in log.jsonl, and a line on the console. Only rank 0 writes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from radload.dataset.files import atomic_file
from radload.train.trackers import Tracker


class RunLog:
    """Appends to `path` while the run lives. On a rank that is not the first, everything is a no-op."""

    def __init__(
        self,
        path: Path,
        active: bool,
        step: int = 0,
        console: TextIO | None = None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        """Open the log of a run that is at `step`: lines of later steps, which a killed run left behind, are dropped."""
        self._active, self._console, self._trackers = active, console or sys.stdout, trackers
        if active:
            if path.is_file():
                _drop_after(path, step)
            self._file = path.open("a", encoding="utf-8")

    def say(self, text: str) -> None:
        """A line for the user. A console that takes none (a terminal that is gone, a full disk behind it) ends no run."""
        if self._active:
            try:
                self._console.write(text + "\n")
                self._console.flush()
            except OSError:  # also for what is left in its buffer, which would fail again at the exit
                with Path(os.devnull).open("w") as nowhere:
                    os.dup2(nowhere.fileno(), self._console.fileno())

    def write(self, kind: str, step: int, **values: Any) -> None:
        """A line of the log: {"kind", "step", …}."""
        if self._active:
            self._file.write(json.dumps({"kind": kind, "step": step, **values}, ensure_ascii=False) + "\n")
            self._file.flush()
            numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
            for tracker in self._trackers:
                tracker.add(kind, step, numbers)

    def close(self) -> None:
        """Close the file and the trackers; what could not be written was said by `write`."""
        if self._active:
            for close in (*(tracker.close for tracker in self._trackers), self._file.close):
                with suppress(OSError):
                    close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; a last line that was cut by a crash is left out."""
    lines = []
    for text in path.read_bytes().split(b"\n"):
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def _drop_after(path: Path, step: int) -> None:
    kept = [line for line in read_log(path) if line["step"] <= step]
    with atomic_file(path) as file:
        for line in kept:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
