"""Reject codes that the packer adds to those of the sources, for what happens around a reader."""

from __future__ import annotations

from typing import Final

UNREADABLE: Final = "unreadable"
INTERNAL_ERROR: Final = "internal-error"
WORKER_DIED: Final = "worker-died"
MISSING_FRAME: Final = "missing-frame"
LOOKS_LIKE_MASK: Final = "looks-like-mask"
MASK_WITHOUT_IMAGE: Final = "mask-without-image"
MASK_GRID_DIFFERS: Final = "mask-grid-differs"
MASK_AMBIGUOUS: Final = "mask-ambiguous"
MASK_VALUES: Final = "mask-values"

PACK_CODES: Final[dict[str, str]] = {
    UNREADABLE: "The operating system refused to read the file: no permission, a broken link, a failing disk.",
    INTERNAL_ERROR: "A reader met something that radload does not know; the reason names the exception's type. Please report it.",
    WORKER_DIED: "The worker process ended while it read this file, twice: a crash in a decoder, or too little memory.",
    MISSING_FRAME: "The header announces more frames than the file yields.",
    LOOKS_LIKE_MASK: "Labels of another image, no image itself, and not paired with one: by its name, by its few values, or a DICOM "
    "segmentation whose images are not there.",
    MASK_WITHOUT_IMAGE: "A mask for which there is no image, or none of whose images could be packed.",
    MASK_GRID_DIFFERS: "A mask whose pixels do not lie on those of its image: another size, or another place in space.",
    MASK_AMBIGUOUS: "A mask that fits several images, or one of several masks of one image.",
    MASK_VALUES: "A mask whose values are no labels: negative, fractional, above 65,535, or colours.",
}
