"""Headers of DICOM segmentations: which segment and which image each frame is of (PS3.3 C.8.20, C.7.6.16.2.6), and no free text."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from radload.sources import Refused, SegmentationType, SegmentCode
from radload.sources.dicom import read_dicom, scan_dicom
from radload.sources.slice import Slice

Make = Callable[..., io.BytesIO]


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def source(uid: str, frames: list[int] | None = None) -> Dataset:
    reference = item(ReferencedSOPInstanceUID=uid)
    if frames is not None:
        reference.ReferencedFrameNumber = frames
    return reference


def made(frames: list[Dataset], shared: Dataset | None = None, label_map: bool = False, **elements: Any) -> io.BytesIO:
    """A segmentation of 3 x 3 pixels per frame, whose 9 bits each start inside a byte."""
    seg = Dataset()
    seg.file_meta = FileMetaDataset()
    seg.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.66.{7 if label_map else 4}"
    seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID
    seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPInstanceUID = "1.2.3"
    seg.Rows = seg.Columns = 3
    seg.NumberOfFrames, seg.SamplesPerPixel, seg.PhotometricInterpretation = len(frames), 1, "MONOCHROME2"
    seg.BitsAllocated = seg.BitsStored = 8 if label_map else 1
    seg.HighBit, seg.PixelRepresentation = seg.BitsStored - 1, 0
    seg.SegmentationType = "LABELMAP" if label_map else "BINARY"
    seg.SegmentSequence = [item(SegmentNumber=1), item(SegmentNumber=2)]
    seg.SharedFunctionalGroupsSequence = [shared or Dataset()]
    seg.PerFrameFunctionalGroupsSequence = frames
    size = len(frames) * 9 if label_map else -(-len(frames) * 9 // 8)
    seg.add_new("PixelData", "OB", bytes(range(1, size + 1)) + b"\0" * (size % 2))
    for name, value in elements.items():
        setattr(seg, name, value)
    file = io.BytesIO()
    seg.save_as(file, enforce_file_format=True)
    return file


def frame(segment: int | None = 1, *sources: Dataset) -> Dataset:
    group = Dataset()
    if segment is not None:
        group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=segment)]
    if sources:
        group.DerivationImageSequence = [item(SourceImageSequence=list(sources))]
    return group


def test_frames_name_their_segment_and_their_images() -> None:
    file = made([frame(2, source("1.1"), source("1.2", [3, 5])), frame(1), frame(2, source("1.3", [1]))])
    found = scan_dicom(file, "s").segmentation
    assert found is not None and (found.type, found.maximum) == (SegmentationType.BINARY, 1)
    assert found.segments == (2, 1, 2) and found.numbers == {1, 2}
    assert found.images == ((("1.1", None), ("1.2", 2), ("1.2", 4)), (), (("1.3", 0),))


def test_what_is_shared_holds_for_each_frame_that_says_nothing_else() -> None:
    found = scan_dicom(made([frame(None), frame(1)], shared=frame(2, source("1.1"))), "s").segmentation
    assert found is not None and found.segments == (2, 1) and found.images == ((("1.1", None),),) * 2


def test_referenced_series_are_kept() -> None:
    series = item(SeriesInstanceUID="1.9", ReferencedInstanceSequence=[source("1.1"), source("1.2")])
    found = scan_dicom(made([frame()], ReferencedSeriesSequence=[series]), "s").segmentation
    assert found is not None and found.series == {"1.9"} and found.instances == {"1.1", "1.2"}


def test_a_label_map_names_no_segment_per_frame() -> None:
    found = scan_dicom(made([frame(None)], label_map=True), "s").segmentation
    assert found is not None and found.type is SegmentationType.LABELMAP and found.segments == (0,)


def test_only_codes_of_public_vocabularies_are_kept() -> None:
    codes = [
        ("SCT", "10200004"), ("SRT", "T-62000"), ("99LOCAL", "10200004"), ("SCT", "Meier Hans"), ("DCM", "125040"), ("SCT", ""),
    ]  # fmt: skip
    segments = [
        item(
            SegmentNumber=number,
            SegmentLabel="Meier",
            SegmentedPropertyTypeCodeSequence=[
                item(CodingSchemeDesignator=scheme, CodeValue=code, CodeMeaning="Meier")
            ],
        )
        for number, (scheme, code) in enumerate(codes, 1)
    ]
    found = scan_dicom(made([frame()], SegmentSequence=segments), "s").segmentation
    assert found is not None
    assert found.codes == (
        SegmentCode(1, "SCT", "10200004"),
        SegmentCode(2, "SRT", "T-62000"),
        SegmentCode(5, "DCM", "125040"),
    )
    assert "Meier" not in repr(found)


@pytest.mark.parametrize(
    ("frames", "elements"),
    [
        ([frame(None)], {}),
        ([frame(0)], {}),
        ([frame()], {"SegmentationType": "SOMETHING"}),
        ([frame()], {"SegmentationType": "FRACTIONAL"}),
        ([frame()], {"SegmentationType": "FRACTIONAL", "MaximumFractionalValue": 0}),
    ],
)
def test_a_segmentation_that_does_not_say_what_it_holds_is_refused(
    frames: list[Dataset], elements: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refused:
        scan_dicom(made(frames, **elements), "s")
    assert refused.value.code == "bad-header"


def test_the_frames_come_through_the_one_door_bit_by_bit() -> None:
    slices = list(read_dicom(made([frame(), frame(2), frame(1)])))
    every = [int(bit) for piece in slices if isinstance(piece, Slice) for bit in piece.stored.ravel()]
    assert every == [(byte >> bit) & 1 for byte in range(1, 5) for bit in range(8)][:27]


def test_images_have_no_segmentation() -> None:
    file = made([frame()], SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    assert scan_dicom(file, "s").segmentation is None
