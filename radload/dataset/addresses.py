"""Addresses such as s3://BUCKET/NAME where a path of this machine is needed: taken for paths they would become folders called `s3:`."""

from __future__ import annotations

import re
from os import PathLike
from typing import Final

from radload.errors import UsageError

_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)|(s3|gs):", re.IGNORECASE)


def is_address(path: str | PathLike[str]) -> bool:
    """Whether a path was given as an address; `Path` has made one slash of two."""
    return _ADDRESS.fullmatch(str(path)) is not None


def spelled(path: str | PathLike[str]) -> str:
    """A path, or an address with its two slashes, as the user gave it."""
    found = _ADDRESS.fullmatch(str(path))
    return str(path) if found is None else f"{found[1] or found[3]}://{found[2] or ''}"


def check_local(option: str, path: str | PathLike[str], instead: str = "give a local path") -> None:
    """UsageError where `path` is an address. option: as the user calls it; instead: what to do."""
    if is_address(path):
        raise UsageError(f"{option} {spelled(path)} is an address, and must be on this machine: {instead}")
