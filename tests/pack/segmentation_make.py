"""DICOM segmentations for the tests, built by hand with pydicom: what is asked for, bit by bit, and nothing that radload wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
LIVER = ("SCT", "10200004")

# (image that the frame lies on, number of its segment, pixels)
Frame = tuple[Path, int, NDArray[Any]]


def write_segmentation(
    path: Path,
    frames: Sequence[Frame],
    *,
    kind: str = "BINARY",
    maximum: int = 255,
    codes: dict[int, tuple[str, str]] | None = None,
    refer: bool = True,
    numbers: Sequence[int] | None = None,
    moved: float = 0.0,
    **elements: Any,
) -> None:
    """Write a segmentation of classic single-frame images.

    Args:
        kind: BINARY (pixels of one bit), FRACTIONAL or LABELMAP (8 or 16 bits, by the pixels' type).
        refer: whether frames name the images that they lie on; without, only Referenced Series Sequence and positions are left.
        numbers: frame of its image, from 1, that each frame lies on; None: images have one frame.
        moved: millimetres along x by which the segmentation misses its images.
    """
    images = [dcmread(image, stop_before_pixels=True) for image, _, _ in frames]
    first = images[0]
    seg = Dataset()
    seg.file_meta = FileMetaDataset()
    seg.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg.SOPClassUID = LABEL_MAP if kind == "LABELMAP" else SEGMENTATION
    seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    seg.PatientID, seg.StudyInstanceUID = first.PatientID, first.StudyInstanceUID
    seg.SeriesInstanceUID, seg.Modality = generate_uid(entropy_srcs=[path.name, "series"]), "SEG"
    seg.ImageType = ["DERIVED", "PRIMARY"]
    seg.Rows, seg.Columns = frames[0][2].shape
    seg.NumberOfFrames = len(frames)
    seg.SamplesPerPixel, seg.PhotometricInterpretation, seg.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else frames[0][2].dtype.itemsize * 8
    seg.BitsAllocated = seg.BitsStored = bits
    seg.HighBit = bits - 1
    seg.SegmentationType = kind
    if kind == "FRACTIONAL":
        seg.MaximumFractionalValue, seg.SegmentationFractionalType = maximum, "PROBABILITY"
    seg.SegmentSequence = [_segment(number, codes or {}) for number in sorted({number for _, number, _ in frames})]
    seg.ReferencedSeriesSequence = [_referenced_series(images)]
    seg.SharedFunctionalGroupsSequence = [_shared(first)]
    seg.PerFrameFunctionalGroupsSequence = [
        _frame(image, number, kind, refer, moved) for image, (_, number, _) in zip(images, frames, strict=True)
    ]
    stack = np.stack([pixels for _, _, pixels in frames])
    if (
        kind == "BINARY"
    ):  # frames follow each other bit by bit: only the end is filled up to a byte (PS3.5 8.1.1, annex A.51)
        data = np.packbits(stack.astype(bool).ravel(), bitorder="little").tobytes()
    else:
        data = np.ascontiguousarray(stack).tobytes()
    seg.add_new("PixelData", "OB" if bits <= 8 else "OW", data + b"\0" * (len(data) % 2))
    for name, value in elements.items():
        setattr(seg, name, value)
    for group, number in zip(seg.PerFrameFunctionalGroupsSequence, numbers or (), strict=numbers is not None):
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = number
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path, enforce_file_format=True)


def _segment(number: int, codes: dict[int, tuple[str, str]]) -> Dataset:
    item, concept = Dataset(), Dataset()
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, f"Secret^Label{number}", "MANUAL"
    concept.CodingSchemeDesignator, concept.CodeValue = codes.get(number, LIVER)
    concept.CodeMeaning = "Secret meaning"
    item.SegmentedPropertyTypeCodeSequence = [concept]
    return item


def _referenced_series(images: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = []
    for image in images:
        series.ReferencedInstanceSequence.append(_reference(image))
    return series


def _reference(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return reference


def _shared(image: Dataset) -> Dataset:
    shared, plane, measures = Dataset(), Dataset(), Dataset()
    plane.ImageOrientationPatient = image.ImageOrientationPatient
    measures.PixelSpacing = image.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    return shared


def _frame(image: Dataset, number: int, kind: str, refer: bool, moved: float) -> Dataset:
    frame, position = Dataset(), Dataset()
    x, y, z = (float(value) for value in image.ImagePositionPatient)
    position.ImagePositionPatient = [x + moved, y, z]
    frame.PlanePositionSequence = [position]
    if kind != "LABELMAP":
        segment = Dataset()
        segment.ReferencedSegmentNumber = number
        frame.SegmentIdentificationSequence = [segment]
    if refer:
        derivation = Dataset()
        derivation.SourceImageSequence = [_reference(image)]
        frame.DerivationImageSequence = [derivation]
    return frame
