"""Reject codes that the packer adds to those of the sources, for what happens around a reader."""

from __future__ import annotations

from typing import Final

UNREADABLE: Final = "unreadable"
INTERNAL_ERROR: Final = "internal-error"
WORKER_DIED: Final = "worker-died"
MISSING_FRAME: Final = "missing-frame"
QUARANTINED: Final = "quarantined"
BURNED_IN: Final = "burned-in"

PACK_CODES: Final[dict[str, str]] = {
    UNREADABLE: "The operating system refused to read the file: no permission, a broken link, a failing disk.",
    INTERNAL_ERROR: "A reader met something that radload does not know; the reason names the exception's type. Please report it.",
    WORKER_DIED: "The worker process ended while it read this file, twice: a crash in a decoder, or too little memory.",
    MISSING_FRAME: "The header announces more frames than the file yields.",
    QUARANTINED: "The pixels may hold burned-in text, such as a name: see `radload review` (docs/privacy-pixels.md).",
    BURNED_IN: "Left out because of burned-in text: a saved screen that says so itself, or what a reviewer decided.",
}
