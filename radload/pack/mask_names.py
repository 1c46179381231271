"""What the name of a file says about masks: whether it looks like one, and which image it belongs to (docs/masks.md).

A name is taken apart into words at every sign that is no letter, and where a small letter meets a capital: "ManualMask" is two words,
"unmasked" is one, and none that counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_SUFFIXES: Final = (".nii.gz", ".hdr.gz", ".img.gz", ".nii", ".hdr", ".img", ".png", ".jpg", ".jpeg", ".dcm")
# Nothing but separators is lost: names that differ in any other sign are different names.
_PIECES: Final = re.compile(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]|[^\w\s.-]")

_PLAIN: Final = frozenset(
    ["mask", "masks", "seg", "segs", "dseg", "segmentation", "segmentations", "labelmap", "labelmaps"]
)
# Also names of classes and of burned-in text: a file must end with them, a folder be called nothing else.
_DOUBTFUL: Final = frozenset(["label", "labels", "annotation", "annotations", "gt", "groundtruth"])
_MASK_WORDS: Final = _PLAIN | _DOUBTFUL
_DENIALS: Final = frozenset(["no", "non", "not", "un", "with", "without"])  # "without_mask" is a class of images
_IMAGE_WORDS: Final = frozenset(
    ["image", "images", "img", "imgs", "imaging", "scan", "scans", "volume", "volumes", "vol", "orig"]
)
_SPLIT_WORDS: Final = frozenset(["tr", "ts", "va", "val", "train", "test", "training", "testing", "validation"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file stands among images and masks: equal for a mask and its image.

    Attributes:
        folder: the folders' names without those that only say "images" or "masks"; stem: pieces of the file's name likewise.
    """

    folder: tuple[str, ...]
    stem: tuple[str, ...]


def named_as_mask(source: str) -> bool:
    """Whether the name of the file `source` (path with POSIX separators), or of the one or two folders around it, says "mask"."""
    *folders, name = source.split("/")
    if _file_says_mask(_pieces(_stem(name))):
        return True
    around = [_pieces(folder) for folder in folders[-2:]]
    return any(_ends_with_plain(pieces) for pieces in around) or bool(around and _only_doubtful(around[-1]))


def place_of(source: str, *, mask: bool) -> Place:
    """The place of a mask, from whose file name the words for masks are taken, or of an image, from whose the words for images are."""
    *folders, name = source.split("/")
    words = _MASK_WORDS if mask else _IMAGE_WORDS
    pieces = tuple(piece for piece in _pieces(_stem(name)) if piece not in words)
    return Place(tuple(part for folder in folders for part in _folder(folder)), pieces)


def without_channel(place: Place) -> Place | None:
    """The place without the channel that nnU-Net writes behind an image's name ("case_0000"), None where it has none."""
    if len(place.stem) > 1 and re.fullmatch(r"\d{4}", place.stem[-1]):
        return Place(place.folder, place.stem[:-1])
    return None


def glob_pattern(glob: str) -> re.Pattern[str]:
    """A glob for whole relative paths: `*` and `?` stay within a folder, `**/` is any number of folders, `[...]` a set of signs.

    Raises:
        ValueError: no pattern can be made of it.
    """
    parts, at = [], 0
    while at < len(glob):
        if glob.startswith("**/", at):
            parts.append(r"(?:.*/)?")
            at += 3
        elif glob.startswith("**", at):
            parts.append(".*")
            at += 2
        elif glob[at] in "*?":
            parts.append("[^/]*" if glob[at] == "*" else "[^/]")
            at += 1
        elif glob[at] == "[" and (end := glob.find("]", at + 2)) > 0:
            inside = glob[at + 1 : end].replace("\\", r"\\")
            parts.append(f"[{'^' + inside[1:] if inside[0] == '!' else inside}]")
            at = end + 1
        else:
            parts.append(re.escape(glob[at]))
            at += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise ValueError(str(error)) from None


def _stem(name: str) -> str:
    lower = name.lower()
    for suffix in _SUFFIXES:
        if lower.endswith(suffix):
            return name[: -len(suffix)]
    return name


@lru_cache(maxsize=4096)  # folders come again for each of their files
def _pieces(name: str) -> tuple[str, ...]:
    """Words, in small letters, and numbers."""
    return tuple(piece.lower() for piece in _PIECES.findall(name))


def _words(pieces: tuple[str, ...]) -> list[str]:
    return [piece for piece in pieces if piece.isalpha()]


def _ends_with_plain(pieces: tuple[str, ...]) -> bool:
    """Whether the first or the last word says "mask", numbers aside: "mask_01", "case_7_seg", "leftMask"."""
    words = _words(pieces)
    return bool(words) and not _DENIALS & set(words) and (words[0] in _PLAIN or words[-1] in _PLAIN)


def _file_says_mask(pieces: tuple[str, ...]) -> bool:
    words = _words(pieces)
    return _ends_with_plain(pieces) or (bool(words) and not _DENIALS & set(words) and words[-1] in _DOUBTFUL)


def _only_doubtful(pieces: tuple[str, ...]) -> bool:
    """Whether a folder is called "labels" or "labelsTr" and not "label_1", which is a class."""
    rest = [piece for piece in pieces if piece not in _SPLIT_WORDS]
    return len(rest) == 1 and rest[0] in _DOUBTFUL


def _folder(name: str) -> tuple[str, ...]:
    """Nothing for "images" and "masks", ("tr",) for "imagesTr" and "labelsTr", the whole name for others."""
    pieces = _pieces(name)
    rest = [piece for piece in pieces if piece not in _IMAGE_WORDS and piece not in _MASK_WORDS]
    if len(rest) == len(pieces) or any(piece not in _SPLIT_WORDS for piece in rest):
        return (name.lower(),)
    return tuple(rest)
