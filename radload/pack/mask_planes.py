"""The mask of each slice while its series is packed: read beside the image, compared with it, and written as KEY.mask.npy.

One mask file is open at a time. Of a NIfTI file or a picture, a plane is taken when its slice comes; a segmentation, whose frames come in
any order, is laid out plane by plane before the first slice of its series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radload.codecs import encode
from radload.pack.codes import INTERNAL_ERROR, MASK_GRID_DIFFERS, MASK_VALUES, MISSING_FRAME
from radload.pack.frames import planned_frames
from radload.pack.masks import PairedMask
from radload.pack.part import RejectedFrame
from radload.pack.plan import FileJob, SegmentsJob, SeriesJob, ShardJob
from radload.pack.redact import Rectangle, cut
from radload.sources import Refused, Segmentation, SegmentationType, Slice

_NEAR: Final = 0.1  # of a pixel: how far the corners of mask and image may be apart
_LARGEST: Final = 65535

Labels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Mask:
    """The mask of one slice: bytes of KEY.mask.npy, and the catalog row of the file it came from."""

    data: bytes
    row: int


@dataclass(slots=True)
class _Layer:
    """A plane of a segmentation, and where it lies: a frame without pixels."""

    labels: Labels
    plane: Slice


class MaskPlanes:
    """The masks of one series' slices, asked for file by file in order of frames.

    Attributes:
        rejects: frames of masks that are not packed; overlaps: pixels that several segments claim.
    """

    def __init__(self, job: ShardJob, series: SeriesJob, reading: Callable[[int], None]) -> None:
        """`reading` is told the catalog row of a mask before it is read, and that of the image afterwards."""
        self.rejects: list[RejectedFrame] = []
        self.overlaps = 0
        self._job, self._series, self._reading = job, series, reading
        self._layers: dict[int, _Layer] | None = None
        self._failed: set[int] = set()  # rows of masks
        self._open: tuple[int, Iterator[tuple[int, Slice | Refused]]] | None = None
        self._ahead: tuple[int, Slice | Refused] | None = (
            None  # a frame of the open mask that came before it was wanted
        )

    def of(self, file: FileJob, image: Slice, crop: Rectangle | None = None) -> Mask | None:
        """The mask of a slice, None where it has none or where that cannot be used.

        `image` is the whole frame that the file holds; where a part of it is packed, `crop` says which.
        """
        source = file.mask or self._series.segments
        if source is None:
            return None
        try:
            if isinstance(source, PairedMask):
                return self._written(self._paired(file, source, image), crop)
            return self._written(self._segment(file, source, image), crop)
        except Exception as error:  # noqa: BLE001 - a mask never costs its image; only the type is kept, the text may quote values
            self._reject(source.row, range(source.header.frames), Refused(INTERNAL_ERROR, type(error).__name__))
            return None

    @staticmethod
    def _written(found: tuple[Labels, int] | None, crop: Rectangle | None) -> Mask | None:
        if found is None:
            return None
        labels, row = found
        return Mask(encode(labels if crop is None else _small(cut(labels, crop)), "raw").data, row)

    def _paired(self, file: FileJob, mask: PairedMask, image: Slice) -> tuple[Labels, int] | None:
        if self._open is None or self._open[0] != mask.row:
            self._open = (mask.row, planned_frames(self._job, mask.row, mask.header))
            self._ahead = None
        self._reading(mask.row)
        plane = self._plane(self._open[1], image.frame)
        self._reading(file.row)
        if isinstance(plane, Slice):
            try:
                check_same_plane(image, plane)
                return labels_of(plane), mask.row
            except Refused as refused:
                plane = refused
        self._reject(mask.row, (image.frame,), plane)
        return None

    def _plane(self, frames: Iterator[tuple[int, Slice | Refused]], wanted: int) -> Slice | Refused:
        """Frame `wanted`, which comes after those asked for before, or why there is none."""
        while True:
            item = self._ahead or next(frames, None)
            self._ahead = None
            if item is not None and item[0] < wanted:  # the slice there could not be packed
                continue
            if item is None or item[0] > wanted:
                self._ahead = item
                return Refused(MISSING_FRAME, "the header announces more frames than the file yields")
            return item[1]

    def _segment(self, file: FileJob, segments: SegmentsJob, image: Slice) -> tuple[Labels, int] | None:
        if self._layers is None:
            self._reading(segments.row)
            self._layers = self._lay_out(segments)
            self._reading(file.row)
        if segments.row in self._failed:
            return None
        place = file.places[image.frame]
        layer = self._layers.pop(place, None)  # each slice is asked for once
        if layer is None:
            return np.zeros((file.header.rows, file.header.cols), np.uint8), segments.row
        try:
            check_same_plane(image, layer.plane)
        except Refused as refused:
            frames = (number for number, places in enumerate(segments.places) if place in places)
            self._reject(segments.row, frames, refused)
            return None
        return layer.labels, segments.row

    def _lay_out(self, segments: SegmentsJob) -> dict[int, _Layer]:
        """Planes by place. A segmentation one of whose frames cannot be read is no mask: what it lacks would look like background."""
        layers: dict[int, _Layer] = {}
        segmentation = segments.header.segmentation
        for number, frame in planned_frames(self._job, segments.row, segments.header):
            try:
                if isinstance(frame, Refused):
                    raise frame
                if segmentation is None:
                    raise Refused(INTERNAL_ERROR, "the header of the segmentation has been lost")
                labels = segment_labels(frame, segmentation)
                plane = replace(frame, stored=np.broadcast_to(np.uint8(0), labels.shape))
                for place in segments.places[number]:
                    self._lay_over(layers, place, labels, plane)
            except Refused as refused:
                self._failed.add(segments.row)
                self._reject(segments.row, range(segments.header.frames), refused)
                return {}
        return layers

    def _lay_over(self, layers: dict[int, _Layer], place: int, labels: Labels, plane: Slice) -> None:
        layer = layers.get(place)
        if layer is None:
            layers[place] = _Layer(labels, plane)
            return
        check_same_plane(layer.plane, plane)
        claimed = (labels != 0) & (layer.labels != 0) & (labels != layer.labels)
        self.overlaps += int(np.count_nonzero(claimed))
        layer.labels = _small(np.where(labels != 0, labels, layer.labels))

    def _reject(self, row: int, frames: Iterable[int], refused: Refused) -> None:
        self.rejects += [RejectedFrame(row, frame, refused.code, refused.reason) for frame in frames]


def labels_of(plane: Slice) -> Labels:
    """The labels of a mask's plane, (rows, cols), after its rescale: uint8, or uint16 where one exceeds 255.

    Three equal channels count as one; indices of a palette are labels.

    Raises:
        Refused: `mask-values`, where they are no whole numbers from 0 to 65,535, or are colours.
    """
    values: NDArray[np.generic] = plane.stored
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise Refused(MASK_VALUES, "the mask has colours, not labels")
        values = values[..., 0]
    if plane.modality_lut is not None or (plane.slope, plane.intercept) != (1.0, 0.0) or values.dtype.kind == "f":
        scaled = (
            values.astype(np.float64) * plane.slope + plane.intercept
            if plane.modality_lut is None
            else plane.modality()
        )
        if not np.isfinite(scaled).all() or (scaled != np.rint(scaled)).any():
            raise Refused(MASK_VALUES, "the mask has values that are no whole numbers")
        values = scaled
    if values.min() < 0 or values.max() > _LARGEST:
        raise Refused(MASK_VALUES, "the mask has values below 0 or above 65,535")
    return _small(values)


def segment_labels(frame: Slice, segmentation: Segmentation) -> Labels:
    """The labels of a segmentation's frame, (rows, cols): the segment's number where it is, 0 elsewhere (PS3.3 C.8.20.2).

    A fractional segment is where the fraction is one half or more.

    Raises:
        Refused: `mask-values`, where the background of a label map cannot be told from segment 0, or a frame is in colour.
    """
    if frame.stored.ndim != 2 or frame.stored.dtype.kind not in "u":
        raise Refused(MASK_VALUES, "the frames of the segmentation hold no labels")
    stored = frame.stored.astype(np.int64)
    if segmentation.type is SegmentationType.LABELMAP:
        # Pixel Padding Value (0028,0120) is the background's number, 0 where absent
        background = (0, 0) if frame.padding is None else frame.padding
        if background != (0, 0) and 0 in segmentation.numbers:
            raise Refused(MASK_VALUES, "the label map has a segment 0 beside its background")
        labels = np.where((stored >= background[0]) & (stored <= background[1]), 0, stored)
        if labels.max() > _LARGEST:
            raise Refused(MASK_VALUES, "the mask has values below 0 or above 65,535")
        return _small(labels)
    inside = stored * 2 >= segmentation.maximum
    return _small(np.where(inside, segmentation.segments[frame.frame], 0))


def check_same_plane(image: Slice, mask: Slice) -> None:
    """Whether each pixel of `mask` lies on the pixel of `image`; without a position in either, their sizes decide.

    Raises:
        Refused: `mask-grid-differs`.
    """
    if image.stored.shape[:2] != mask.stored.shape[:2]:
        raise Refused(MASK_GRID_DIFFERS, "its image has another number of rows or columns")
    ours, theirs = _corners(image), _corners(mask)
    if ours is None or theirs is None:
        return
    allowed = _NEAR * min(image.spacing or (0.0,))
    if not (np.linalg.norm(ours - theirs, axis=1) <= allowed).all():
        raise Refused(MASK_GRID_DIFFERS, "it does not lie where its image lies in space")


def _corners(image: Slice) -> NDArray[np.float64] | None:
    """Three corner pixels in millimetres, (3, 3), None where position, orientation or spacing is unknown (PS3.3 C.7.6.2.1.1)."""
    if image.position is None or image.orientation is None or image.spacing is None:
        return None
    origin, directions = np.array(image.position), np.array(image.orientation).reshape(2, 3)
    rows, cols = image.stored.shape[:2]
    along_row = directions[0] * image.spacing[1] * (cols - 1)
    along_column = directions[1] * image.spacing[0] * (rows - 1)
    return np.stack([origin, origin + along_row, origin + along_column])


def _small(values: NDArray[np.generic]) -> Labels:
    return values.astype(np.uint8) if values.max() <= 255 else values.astype(np.uint16)
