"""Patients who withdrew their consent: keyed pseudonyms in the private folder, so that no later pack takes their images again.

The list outlives the images: it holds no name and no number, and tells nothing to who has not the key. Beside it stands which caches
`radload compact` may still meet: a version that is gone can no longer say what its caches are called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from radload.dataset.files import write_json
from radload.errors import UsageError
from radload.pack.privacy import PSEUDONYM_HEX

FORGOTTEN: Final = "forgotten.json"
_IDENTITY: Final = re.compile(r"[0-9a-f]{64}")
_PSEUDONYM: Final = re.compile(rf"[0-9a-f]{{{PSEUDONYM_HEX}}}")


def read_forgotten(private: Path) -> frozenset[str]:
    """Pseudonyms of the patients whom `private` says to leave out. Raises UsageError for a damaged list: it must never be overlooked."""
    return _read(private, "patients", _PSEUDONYM)


def read_gone_caches(private: Path) -> frozenset[str]:
    """Identities (64 hex digits) of the caches of versions that `radload compact` removed. Raises UsageError for a damaged list."""
    return _read(private, "caches", _IDENTITY)


def write_forgotten(private: Path, patients: Iterable[str], caches: Iterable[str]) -> None:
    """Write both (mode 0600), whole or not at all."""
    write_json(private / FORGOTTEN, {"patients": sorted(patients), "caches": sorted(caches)}, 0o600)


def _read(private: Path, name: str, form: re.Pattern[str]) -> frozenset[str]:
    path = private / FORGOTTEN
    if not path.exists():
        return frozenset()
    try:
        found = json.loads(path.read_bytes())[name]
        if isinstance(found, list) and all(isinstance(one, str) and form.fullmatch(one) for one in found):
            return frozenset(found)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{path} is damaged, and it says whose images must stay out: restore it from a copy")
