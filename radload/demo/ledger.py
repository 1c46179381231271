"""Which files the demo made, so that it starts clean and never deletes what it did not make.

`.radload-demo.json` in the demo's folder lists them. A stage is entered before it writes and left when it is done; what lies in
the folders of a stage that was killed counts as made by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from radload.dataset.files import write_json
from radload.errors import UsageError

NAME = ".radload-demo.json"


class Ledger:
    """The list of one demo folder, kept on disk after every change."""

    def __init__(self, root: Path) -> None:
        """Open or begin the list of `root`, which is made if need be.

        Raises:
            UsageError: `root` is a file, or a folder with content that no demo made.
        """
        self.root, self._path = root, root / NAME
        self._made: set[str] = set()
        self._open: list[str] = []
        if self._path.is_file():
            try:
                content = json.loads(self._path.read_bytes())
                self._made, self._open = set(content["made"]), list(content["open"])
            except (ValueError, KeyError, TypeError):
                raise UsageError(f"{self._path} is damaged: remove the folder {root}, or give another --out") from None
        elif root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UsageError(f"--out {root} holds things that no demo made: give a new or an empty folder")
        root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def stage(self, *names: str) -> Iterator[None]:
        """While a stage writes the files or folders `names` of the demo's folder; afterwards what is there is listed."""
        self._open = list(names)
        self._save()
        yield
        self._made.update(_files(self.root, names))
        self._open = []
        self._save()

    def clean(self) -> list[str]:
        """Delete what is listed, and folders that are empty then. Returns what is left: files that somebody else put there."""
        self._made.update(_files(self.root, self._open))
        tops = sorted({name.split("/")[0] for name in self._made})
        for name in self._made:
            (self.root / name).unlink(missing_ok=True)
        left: list[str] = []
        for top in tops:
            path = self.root / top
            if path.is_dir():
                for folder in sorted((p for p in path.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
                    if not any(folder.iterdir()):
                        folder.rmdir()
                if not any(path.iterdir()):
                    path.rmdir()
            if path.exists():
                left += sorted(_files(self.root, [top]))
        self._made, self._open = set(), []
        self._save()
        return left

    def remove(self) -> list[str]:
        """Like `clean`, and forget the list; the folder goes as well when it is empty."""
        left = self.clean()
        self._path.unlink()
        if not any(self.root.iterdir()):
            self.root.rmdir()
        return left

    def _save(self) -> None:
        write_json(self._path, {"made": sorted(self._made), "open": self._open})


def _files(root: Path, names: Sequence[str]) -> list[str]:
    """Files at or under root / name, relative to `root`; links are listed, never followed."""
    found = []
    for name in names:
        path = root / name
        if path.is_dir() and not path.is_symlink():
            found += [p.relative_to(root).as_posix() for p in path.rglob("*") if p.is_symlink() or not p.is_dir()]
        elif path.exists() or path.is_symlink():
            found.append(name)
    return found
