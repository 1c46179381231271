"""Which patients left in which export, in the private folder: who withdraws must be called back from there, too."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from radload.dataset.files import write_json
from radload.errors import UsageError
from radload.pack.workspace import EXPORTS


def record_export(private: Path, to: Path, version: int, fingerprint: str, patients: Collection[str]) -> None:
    """Add an export to exports.json (mode 0600): where to, of which version, its fingerprint, and our pseudonyms of the patients."""
    exports = read_exports(private)
    exports.append({"to": str(to), "version": version, "fingerprint": fingerprint, "patients": sorted(patients)})
    write_json(private / EXPORTS, {"exports": exports}, 0o600)


def exports_of(private: Path, patients: Collection[str]) -> list[str]:
    """Where samples of these patients (pseudonyms) were exported to."""
    wanted = set(patients)
    return [str(one["to"]) for one in read_exports(private) if wanted & set(one["patients"])]


def read_exports(private: Path) -> list[dict[str, Any]]:
    """All exports, oldest first. Raises UsageError for a damaged list."""
    path = private / EXPORTS
    if not path.exists():
        return []
    try:
        exports = json.loads(path.read_bytes())["exports"]
        if all(isinstance(one["to"], str) and isinstance(one["patients"], list) for one in exports):
            return list(exports)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{path} is damaged, and it says who was given which images: restore it from a copy")
