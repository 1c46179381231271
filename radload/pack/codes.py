"""Reject codes that the packer adds to those of the sources, for what happens around a reader."""

from __future__ import annotations

from typing import Final

UNREADABLE: Final = "unreadable"
INTERNAL_ERROR: Final = "internal-error"
DECODER_CRASHED: Final = "decoder-crashed"
TIMEOUT: Final = "timeout"
OUT_OF_MEMORY: Final = "out-of-memory"  # also a code of the sources
CHANGED_FILE: Final = "changed-file"  # a code of the sources
MISSING_FRAME: Final = "missing-frame"
NOT_SELECTED: Final = "not-selected"
EMPTY: Final = "empty"
LOOKS_LIKE_MASK: Final = "looks-like-mask"
MASK_WITHOUT_IMAGE: Final = "mask-without-image"
MASK_GRID_DIFFERS: Final = "mask-grid-differs"
MASK_AMBIGUOUS: Final = "mask-ambiguous"
MASK_VALUES: Final = "mask-values"
TRANSFORM_FAILED: Final = "transform-failed"
QUARANTINED: Final = "quarantined"
BURNED_IN: Final = "burned-in"
WITHDRAWN: Final = "withdrawn"

# A file that a reader refuses has a code of `sources.CODES`, one that can be read and is no training image one of `eligible.KINDS`.
PACK_CODES: Final[dict[str, str]] = {
    UNREADABLE: "The operating system refused to read the file: no permission, a broken link, a failing disk.",
    INTERNAL_ERROR: "A reader met something that radload does not know; the reason names the exception's type. Please report it.",
    DECODER_CRASHED: "The worker process ended while it read this file, twice: a crash in a decoder, or a machine out of memory.",
    TIMEOUT: "Not one more frame of this file came out within `--timeout` seconds: a decoder that hangs, or a disk that does.",
    OUT_OF_MEMORY: "The file takes more memory than a worker may have (`--memory`).",
    MISSING_FRAME: "The header announces more frames than the file yields.",
    NOT_SELECTED: "An image that --where, --slices or --frames leaves out, or a mask none of whose images is left.",
    EMPTY: "The slice is constant, or nearly so, beside its padding, and --drop-empty was given.",
    LOOKS_LIKE_MASK: "Labels of another image, no image itself, and not paired with one: by its name, by its few values, or a DICOM "
    "segmentation whose images are not there.",
    MASK_WITHOUT_IMAGE: "A mask for which there is no image, or none of whose images could be packed.",
    MASK_GRID_DIFFERS: "A mask whose pixels do not lie on those of its image: another size, or another place in space.",
    MASK_AMBIGUOUS: "A mask that fits several images, or one of several masks of one image.",
    MASK_VALUES: "A mask whose values are no labels: negative, fractional, above 65,535, or colours.",
    TRANSFORM_FAILED: "The function of --transform raised, or returned something that is no slice of the same size and type.",
    QUARANTINED: "The pixels may hold burned-in text, such as a name: see `radload review` (docs/privacy-pixels.md).",
    BURNED_IN: "Left out because of burned-in text: a saved screen that says so itself, or what a reviewer decided.",
    WITHDRAWN: "An image of a patient who withdrew: `radload forget` was told so (docs/versions.md).",
}
