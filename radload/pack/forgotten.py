"""Patients who withdrew their consent: keyed pseudonyms in the private folder, so that no later pack takes their images again.

The list outlives the images: it holds no name and no number, and tells nothing to who has not the key.
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
_PSEUDONYM: Final = re.compile(rf"[0-9a-f]{{{PSEUDONYM_HEX}}}")


def read_forgotten(private: Path) -> frozenset[str]:
    """Pseudonyms of the patients whom `private` says to leave out. Raises UsageError for a damaged list: it must never be overlooked."""
    path = private / FORGOTTEN
    if not path.exists():
        return frozenset()
    try:
        names = json.loads(path.read_bytes())["patients"]
        if isinstance(names, list) and all(isinstance(one, str) and _PSEUDONYM.fullmatch(one) for one in names):
            return frozenset(names)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{path} is damaged, and it says whose images must stay out: restore it from a copy")


def write_forgotten(private: Path, patients: Iterable[str]) -> None:
    """Write the list (mode 0600), whole or not at all."""
    write_json(private / FORGOTTEN, {"patients": sorted(patients)}, 0o600)
