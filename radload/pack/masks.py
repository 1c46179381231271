"""Masks among the files of a catalog: they are taken out, paired with their images, or rejected. No image becomes a sample twice."""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radload.errors import UsageError
from radload.pack.codes import LOOKS_LIKE_MASK, MASK_AMBIGUOUS, MASK_GRID_DIFFERS, MASK_WITHOUT_IMAGE
from radload.pack.compact import chosen
from radload.pack.mask_names import Place, glob_pattern, named_as_mask, place_of, without_channel
from radload.pack.mask_segments import FramesOn, find_targets
from radload.pack.scan import Catalog, InputFile, Reject
from radload.sources import Header

_SMALLEST: Final = 4096  # voxels: a smaller file may hold few values by chance
_LARGEST_LABEL: Final = 255

_Targets: TypeAlias = dict[int, FramesOn]  # by image row

_SEGMENTATION: Final = "a segmentation object, and which image its labels are of is not here, or cannot be told"
_NAMED: Final = "its name says that it is a mask: pair it with its image by --masks"
_LABELS: Final = "it holds a few small whole numbers, as label maps do: pair it with its image by --masks"


@dataclass(frozen=True, slots=True)
class PairedMask:
    """A mask with the frames of one image file. row: catalog row of the mask, counted on behind those of the images."""

    row: int
    header: Header


@dataclass(frozen=True, slots=True)
class Segments:
    """The segmentation of an image file's series; frames: frame of the image -> frames of the segmentation that lie on it."""

    row: int
    header: Header
    frames: FramesOn


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks that are packed.

    Attributes:
        headers: of all masks, in order of their catalog rows; the first has row `first`.
        paired: image row -> its mask; segments: image row -> the segmentation of its series.
    """

    first: int = 0
    headers: tuple[Header, ...] = ()
    paired: dict[int, PairedMask] = field(default_factory=dict)
    segments: dict[int, Segments] = field(default_factory=dict)


NO_MASKS: Final = Masks()


def looks_like_mask(header: Header) -> str | None:
    """Why a NIfTI, PNG or JPEG file looks like a mask: one clause; None where it does not."""
    if header.format == "dicom":
        return None  # DICOM has its own objects for masks
    if named_as_mask(header.source):
        return _NAMED
    values = header.few_values
    large = header.rows * header.cols * header.frames >= _SMALLEST
    return _LABELS if large and len(values) > 1 and values[0] == 0 and values[-1] <= _LARGEST_LABEL else None


def holds_labels(header: Header) -> bool:
    """Whether a file that is packed as an image holds numbers of things, of which a mean is no thing (see `--include`)."""
    return header.segmentation is not None or looks_like_mask(header) is not None


def is_mask(header: Header, patterns: Sequence[re.Pattern[str]] = (), *, allow: bool = False) -> bool:
    """Whether `take_masks`, with the same arguments, takes a file for a mask, before it is known whether it has an image."""
    if header.segmentation is not None or any(pattern.fullmatch(header.source) for pattern in patterns):
        return True
    return not allow and looks_like_mask(header) is not None


def mask_patterns(globs: Sequence[str], files: Iterable[InputFile]) -> list[re.Pattern[str]]:
    """Patterns of `--masks`.

    Raises:
        UsageError: a glob that cannot be understood, or that none of `files` matches.
    """
    patterns: list[re.Pattern[str]] = []
    if not globs:
        return patterns
    names = [file.source for file in files]
    for glob in globs:
        try:
            pattern = glob_pattern(glob)
        except ValueError as error:
            raise UsageError(
                f"--masks {glob} is no glob ({error}): give something like '**/*_seg.nii.gz', relative to --src"
            ) from None
        if not any(pattern.fullmatch(name) for name in names):
            raise UsageError(
                f"--masks {glob} matches none of the {len(names):,} files: give a glob relative to --src, such as '**/*_seg.nii.gz'"
            )
        patterns.append(pattern)
    return patterns


def take_masks(
    catalog: Catalog, patterns: Sequence[re.Pattern[str]] = (), *, allow: bool = False
) -> tuple[Catalog, Masks]:
    """Take the masks out of a catalog: (catalog of images, masks that have an image); the others are rejects of the catalog.

    Args:
        patterns: of `--masks`: what they match is a mask, whatever it looks like.
        allow: pack as images what looks like a mask and is not paired.
    """
    places = array("q")  # of images among the headers
    place_of_segmentation: dict[str, int] = {}
    named: list[Header] = []
    segmentations: list[Header] = []
    rejects: list[Reject] = []
    for place, header in enumerate(catalog.headers):
        given = any(pattern.fullmatch(header.source) for pattern in patterns)
        if header.segmentation is not None:
            segmentations.append(header)
            place_of_segmentation[header.source] = place
        elif given:
            named.append(header)
        elif not allow and (reason := looks_like_mask(header)) is not None:
            rejects += _reject(header, LOOKS_LIKE_MASK, reason)
        else:
            places.append(place)
    images = chosen(catalog.headers, places)
    targets, refused, unseen = _segmentations(segmentations, images, patterns)
    if allow:  # last, because the targets name rows of images
        places.extend(place_of_segmentation[header.source] for header in unseen)
    else:
        refused |= {header.source: (LOOKS_LIKE_MASK, _SEGMENTATION) for header in unseen}
    images = chosen(catalog.headers, places)
    pairs, unpaired = _pairs(named, images)
    for header in (*named, *segmentations):
        if why := (unpaired | refused).get(header.source):
            rejects += _reject(header, *why)
    rows = catalog.rows[np.array(places, np.int64)]
    masks = _number(len(images), pairs, targets)
    return replace(catalog, headers=images, rejects=(*catalog.rejects, *rejects), rows=rows), masks


def of_images(masks: Masks, kept: Sequence[int] | NDArray[np.int64]) -> tuple[Masks, list[Header]]:
    """(`masks` where only the images in the rows `kept` are left, which are rows 0, 1, … now; the masks none of whose images is)."""
    if not masks.headers:
        return Masks(len(kept)), []
    place = {int(row): number for number, row in enumerate(kept)}
    pairs = [(mask.header, place[row]) for row, mask in masks.paired.items() if row in place]
    targets: dict[int, tuple[Header, _Targets]] = {}
    for row, segments in masks.segments.items():
        if row in place:
            targets.setdefault(segments.row, (segments.header, {}))[1][place[row]] = segments.frames
    left = _number(len(kept), pairs, list(targets.values()))
    names = {header.source for header in left.headers}
    return left, [header for header in masks.headers if header.source not in names]


def _segmentations(
    segmentations: Sequence[Header], images: Sequence[Header], patterns: Sequence[re.Pattern[str]]
) -> tuple[list[tuple[Header, _Targets]], dict[str, tuple[str, str]], list[Header]]:
    """(segmentations to pack with their targets, source -> code and reason of those refused, those none of whose images is there).

    A series has one segmentation: with two, what one leaves as background may be a segment of the other.
    """
    refused: dict[str, tuple[str, str]] = {}
    unseen: list[Header] = []
    kept: list[tuple[Header, _Targets]] = []
    of_series: dict[tuple[str, int, int], list[Header]] = defaultdict(list)
    for header, every in zip(segmentations, find_targets(segmentations, images), strict=True):
        targets = {
            row: target
            for row, target in every.items()
            if (images[row].rows, images[row].cols) == (header.rows, header.cols)
        }
        if not every:
            unseen.append(header)
        elif not targets:
            refused[header.source] = MASK_GRID_DIFFERS, "its images have another number of rows or columns"
        else:
            kept.append((header, targets))
            for series in {(images[row].series or images[row].source, header.rows, header.cols) for row in targets}:
                of_series[series].append(header)
    for rivals in of_series.values():
        given = [one for one in rivals if any(pattern.fullmatch(one.source) for pattern in patterns)]
        for one in rivals:
            if len(rivals) > 1 and given != [one]:
                refused[one.source] = (
                    MASK_AMBIGUOUS,
                    "its series has other segmentations: name the one to pack by --masks",
                )
    return [(header, targets) for header, targets in kept if header.source not in refused], refused, unseen


def _pairs(
    masks: Sequence[Header], images: Sequence[Header]
) -> tuple[list[tuple[Header, int]], dict[str, tuple[str, str]]]:
    """((mask, image row) of each pair, source -> code and reason of each mask without one)."""
    if not masks:
        return [], {}
    exact: dict[tuple[str, Place], list[int]] = defaultdict(list)
    channels: dict[tuple[str, Place], list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        place = place_of(image.source, mask=False)
        exact[image.format, place].append(row)
        shorter = without_channel(place)
        if shorter is not None:
            channels[image.format, shorter].append(row)
    unpaired: dict[str, tuple[str, str]] = {}
    wanted: dict[int, list[Header]] = defaultdict(list)
    for mask in masks:
        name = (mask.format, place_of(mask.source, mask=True))
        rows = exact.get(name) or channels.get(name) or []
        beside = [row for row in rows if _folder(images[row].source) == _folder(mask.source)]
        rows = beside or rows
        if not rows:
            unpaired[mask.source] = MASK_WITHOUT_IMAGE, "no image has its name without the words for masks"
        elif len(rows) > 1:
            unpaired[mask.source] = MASK_AMBIGUOUS, f"{len(rows)} images have its name without the words for masks"
        else:
            wanted[rows[0]].append(mask)
    pairs = []
    for row, rivals in wanted.items():
        image = images[row]
        for mask in rivals:
            if len(rivals) > 1:
                unpaired[mask.source] = MASK_AMBIGUOUS, f"its image has {len(rivals)} masks: name one by --masks"
            elif (mask.rows, mask.cols, mask.frames) != (image.rows, image.cols, image.frames):
                unpaired[mask.source] = MASK_GRID_DIFFERS, "its image has another number of rows, columns or slices"
            else:
                pairs.append((mask, row))
    return pairs, unpaired


def _number(first: int, pairs: Sequence[tuple[Header, int]], segmentations: Sequence[tuple[Header, _Targets]]) -> Masks:
    """Give each mask its catalog row, in order of names."""
    headers = [header for header, _ in (*pairs, *segmentations)]
    headers.sort(key=lambda header: header.source.encode("utf-8", "surrogateescape"))
    rows = {header.source: first + i for i, header in enumerate(headers)}
    return Masks(
        first,
        tuple(headers),
        {row: PairedMask(rows[mask.source], mask) for mask, row in pairs},
        {
            row: Segments(rows[header.source], header, frames)
            for header, targets in segmentations
            for row, frames in targets.items()
        },
    )


def _reject(header: Header, code: str, reason: str) -> list[Reject]:
    return [Reject(source, None, code, reason) for source in (header.source, *header.parts)]


def _folder(source: str) -> str:
    return source.rpartition("/")[0]
