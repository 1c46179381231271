"""Finding the private folder of a data set that is packed, to read it."""

from __future__ import annotations

from pathlib import Path

from radload.dataset.manifest import MANIFEST, read_manifest
from radload.errors import UsageError
from radload.pack.privacy import key_id
from radload.pack.workspace import CROSSWALK, KEY, read_key


def default_private(root: Path) -> Path:
    """`<root>.private`, where a pack puts it if nobody says otherwise."""
    root = root.resolve()
    return root.with_name(f"{root.name}.private")


def check_private(root: Path, folder: Path) -> None:
    """Make sure that `folder` can be read and is the private folder of the data set in `root` (where that is there).

    Raises:
        UsageError: it is not.
    """
    try:
        there = (folder / CROSSWALK).is_file()
    except PermissionError:
        there = False
    if not there:
        raise UsageError(
            f"the private folder {folder} is not there or may not be read: whoever has it can go on; give it by --private"
        )
    if (
        (root / MANIFEST).is_file()
        and (folder / KEY).is_file()
        and read_manifest(root).key_id != key_id(read_key(folder))
    ):
        raise UsageError(f"{folder} is not the private folder of {root} (another pseudonym key): give it by --private")


def find_private(root: Path, given: Path | None) -> Path | None:
    """The folder given, checked; else the default one where it is there, can be read and belongs to `root`, or None.

    Raises:
        UsageError: the one given cannot be used.
    """
    folder = given or default_private(root)
    try:
        check_private(root, folder)
    except UsageError:
        if given is not None:
            raise
        return None
    return folder
