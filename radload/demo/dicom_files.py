"""Writing phantoms as DICOM files in many transfer syntaxes, with the identities, geometry and windows that real files carry.

Everything is a function of its arguments: UIDs come from the patient's name and numbers, no clock and no random source is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's own root: test objects, no institution
SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-lossless": JPEGLossless,
    "j2k": JPEG2000Lossless,
    "htj2k": HTJ2KLossless,
}
CODECS: dict[
    str, Callable[[NDArray[Any], int], Any]
] = {  # frame, Bits Stored -> codestream; the rest pydicom writes itself
    "j2k": lambda frame, bits: imagecodecs.jpeg2k_encode(
        frame, level=0, codecformat="j2k", reversible=True, bitspersample=bits
    ),
    "htj2k": lambda frame, bits: imagecodecs.htj2k_encode(frame),  # 16 bits always
    "jpeg-lossless": lambda frame, bits: imagecodecs.ljpeg_encode(frame, bitspersample=bits),
}


@dataclass(frozen=True)
class Identity:
    """Whose image it is, by numbers. `patient` is the Patient ID."""

    patient: str
    study: int
    series: int
    instance: int

    def uid(self, *scope: object) -> str:
        """A UID that depends on the arguments only."""
        return str(generate_uid(prefix=ROOT, entropy_srcs=["radload demo", self.patient, *map(str, scope)]))


@dataclass(frozen=True)
class Pixels:
    """Stored values and how they are described (PS3.3 C.7.6.3).

    Attributes:
        stored: (rows, cols) or (frames, rows, cols), 16-bit.
        bits: Bits Stored; photometric: MONOCHROME1 or MONOCHROME2; syntax: a key of SYNTAXES.
        extra: further elements by keyword.
    """

    stored: NDArray[Any]
    bits: int
    photometric: str
    syntax: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def dataset(identity: Identity, sop_class: UID, modality: str, pixels: Pixels) -> Dataset:
    """A data set with identities, description of the pixels, and Pixel Data encoded for `pixels.syntax`."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = identity.uid(
        identity.study, identity.series, identity.instance
    )
    ds.PatientID = identity.patient
    ds.PatientName = "Phantom^" + identity.patient
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyInstanceUID, ds.StudyID = identity.uid(identity.study), str(identity.study)
    ds.SeriesInstanceUID, ds.SeriesNumber = identity.uid(identity.study, identity.series), identity.series
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.ReferringPhysicianName = "20200101", "120000", "", ""
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "radload", "phantom"
    ds.InstanceNumber = identity.instance
    ds.BurnedInAnnotation = "NO"
    shape = pixels.stored.shape
    ds.Rows, ds.Columns, ds.SamplesPerPixel = shape[-2], shape[-1], 1
    if len(shape) == 3:
        ds.NumberOfFrames = shape[0]
    ds.PhotometricInterpretation = pixels.photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, pixels.bits, pixels.bits - 1
    ds.PixelRepresentation = int(pixels.stored.dtype.kind == "i")
    for keyword, value in pixels.extra.items():
        setattr(ds, keyword, value)
    _encode(ds, pixels)
    return ds


def _encode(ds: Dataset, pixels: Pixels) -> None:
    stored, syntax = pixels.stored, pixels.syntax
    # OW is written as it is, so a big-endian file needs big-endian bytes (PS3.5 A.3).
    ds.add_new(
        "PixelData", "OW", stored.astype(f"{'>' if syntax == 'big-endian' else '<'}{stored.dtype.str[1:]}").tobytes()
    )
    if syntax in ("rle", "jpeg-ls"):
        ds.compress(SYNTAXES[syntax], generate_instance_uid=False)
    elif syntax in CODECS:
        frames = stored[None] if stored.ndim == 2 else stored
        coded = [bytes(CODECS[syntax](np.ascontiguousarray(frame), pixels.bits)) for frame in frames]
        ds.add_new("PixelData", "OB", encapsulate(coded))
    ds.file_meta.TransferSyntaxUID = SYNTAXES[syntax]


def save(ds: Dataset, path: Path) -> None:
    """Write `ds` as a DICOM file (PS3.10) at `path`; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def plane(position: tuple[float, float, float], spacing: tuple[float, float], thickness: float) -> dict[str, Any]:
    """Elements of an axial image plane (PS3.3 C.7.6.2): `position` (x, y, z) and `spacing` (row, column), millimetres."""
    return {
        "ImagePositionPatient": [round(value, 4) for value in position],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": list(spacing),
        "SliceThickness": thickness,
        "PatientPosition": "HFS",
    }


def enhanced_ct(
    identity: Identity, pixels: Pixels, planes: list[dict[str, Any]], rescale: tuple[float, float]
) -> Dataset:
    """A multi-frame Enhanced CT (PS3.3 A.38) whose geometry, rescale and window stand in functional groups only."""
    ds = dataset(identity, EnhancedCTImageStorage, "CT", pixels)
    measures, orientation, values, window = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = planes[0]["PixelSpacing"], planes[0]["SliceThickness"]
    orientation.ImageOrientationPatient = planes[0]["ImageOrientationPatient"]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = rescale[0], rescale[1], "HU"
    window.WindowCenter, window.WindowWidth = 40, 400
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelValueTransformationSequence = Sequence([values])
    shared.FrameVOILUTSequence = Sequence([window])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index, elements in enumerate(planes):
        group, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = elements["ImagePositionPatient"]
        content.StackID, content.InStackPositionNumber = "1", index + 1
        group.PlanePositionSequence, group.FrameContentSequence = Sequence([position]), Sequence([content])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    return ds
