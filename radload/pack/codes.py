"""Reject codes that the packer adds to those of the sources, for what happens around a reader."""

from __future__ import annotations

from typing import Final

UNREADABLE: Final = "unreadable"
INTERNAL_ERROR: Final = "internal-error"
WORKER_DIED: Final = "worker-died"
MISSING_FRAME: Final = "missing-frame"
TRANSFORM_FAILED: Final = "transform-failed"

PACK_CODES: Final[dict[str, str]] = {
    UNREADABLE: "The operating system refused to read the file: no permission, a broken link, a failing disk.",
    INTERNAL_ERROR: "A reader met something that radload does not know; the reason names the exception's type. Please report it.",
    WORKER_DIED: "The worker process ended while it read this file, twice: a crash in a decoder, or too little memory.",
    MISSING_FRAME: "The header announces more frames than the file yields.",
    TRANSFORM_FAILED: "The function of --transform raised, or returned something that is no slice of the same size and type.",
}
