"""Reject codes that the packer adds to those of the sources, for what happens around a reader."""

from __future__ import annotations

from typing import Final

UNREADABLE: Final = "unreadable"
INTERNAL_ERROR: Final = "internal-error"
DECODER_CRASHED: Final = "decoder-crashed"
TIMEOUT: Final = "timeout"
OUT_OF_MEMORY: Final = "out-of-memory"  # also a code of the sources
MISSING_FRAME: Final = "missing-frame"

# A file that a reader refuses has a code of `sources.CODES`, one that can be read and is no training image one of `eligible.KINDS`.
PACK_CODES: Final[dict[str, str]] = {
    UNREADABLE: "The operating system refused to read the file: no permission, a broken link, a failing disk.",
    INTERNAL_ERROR: "A reader met something that radload does not know; the reason names the exception's type. Please report it.",
    DECODER_CRASHED: "The worker process ended while it read this file, twice: a crash in a decoder, or a machine out of memory.",
    TIMEOUT: "Not one more frame of this file came out within `--timeout` seconds: a decoder that hangs, or a disk that does.",
    OUT_OF_MEMORY: "The file takes more memory than a worker may have (`--memory`).",
    MISSING_FRAME: "The header announces more frames than the file yields.",
}
