"""Which images a DICOM segmentation is of: by the SOP instances that its frames refer to, else by its series and positions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from radload.sources import Header

_SAME_PLACE: Final = 0.05  # millimetres along the normal between a frame and the image that it lies on
_SAME_NORMAL: Final = 0.002  # per component of a unit normal, which headers hold to 3 decimals


FramesOn: TypeAlias = dict[
    int, tuple[int, ...]
]  # frame of an image -> frames of the segmentation that lie on it, ascending


def find_targets(segmentations: Sequence[Header], images: Sequence[Header]) -> list[dict[int, FramesOn]]:
    """Per segmentation: image row -> its frames and what lies on them; empty where none of its images is there."""
    if not segmentations:
        return []
    by_instance: dict[str, list[int]] = defaultdict(list)
    by_series: dict[str, list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        if image.sop:
            by_instance[image.sop].append(row)
        if image.series:
            by_series[image.series].append(row)
    return [_targets(header, images, by_instance, by_series) for header in segmentations]


def _targets(
    header: Header,
    images: Sequence[Header],
    by_instance: Mapping[str, Sequence[int]],
    by_series: Mapping[str, Sequence[int]],
) -> dict[int, FramesOn]:
    segmentation = header.segmentation
    if segmentation is None:
        return {}
    referenced = [row for uid in sorted(segmentation.instances) for row in by_instance.get(uid, ())]
    referenced = referenced or [row for uid in sorted(segmentation.series) for row in by_series.get(uid, ())]
    found: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for frame, sources in enumerate(segmentation.images):
        here = {source for source in sources if source[0] in by_instance}
        hits = {hit for uid, number in here for row in by_instance[uid] for hit in _frames(images[row], row, number)}
        # Writers name the whole of a multi-frame image, or all images of a series: those in the frame's plane are meant.
        named = len(here) == 1 and all(
            number is not None or images[row].frames == 1 for _, number in here for row, _ in hits
        )
        if not named:
            near = {row: _same_place(header, frame, images[row]) for row in {row for row, _ in hits}}
            hits = {(row, number) for row, number in hits if number in near[row]}
        if not sources:
            hits = {(row, number) for row in referenced for number in _same_place(header, frame, images[row])}
        for row, number in hits:
            found[row][number].append(frame)
    return {row: {number: tuple(frames) for number, frames in sorted(found[row].items())} for row in sorted(found)}


def _frames(image: Header, row: int, number: int | None) -> list[tuple[int, int]]:
    """The frames of an image that is referred to: the one that is named, or all."""
    if number is None:
        return [(row, every) for every in range(image.frames)]
    return [(row, number)] if 0 <= number < image.frames else []


def _same_place(header: Header, frame: int, image: Header) -> list[int]:
    """Frames of `image` in the plane of frame `frame` of the segmentation, as far as headers tell."""
    if None in (header.positions, header.normal, image.positions, image.normal):
        return []
    positions, normal = header.positions or (), header.normal or ()
    if any(abs(a - b) > _SAME_NORMAL for a, b in zip(normal, image.normal or (), strict=True)):
        return []
    return [i for i, place in enumerate(image.positions or ()) if abs(place - positions[frame]) <= _SAME_PLACE]
