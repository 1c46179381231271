"""Makes small DICOM files for the tests beside it; the header values are ours, pydicom only writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"


def make_dicom(
    path: Path, pixels: NDArray[Any] | bytes, syntax: str = ExplicitVRLittleEndian, **attributes: Any
) -> Path:
    """Write `pixels`, (rows, cols), (frames, rows, cols) or encapsulated bytes; `attributes` by keyword replace or add, None removes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(CT), UID("1.2.3.4")
    meta.TransferSyntaxUID = UID(syntax)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID = (
        UID(CT),
        "1.2.3.4",
        "1.2.3",
        "1.2.5",
    )
    data.Modality, data.PatientID, data.ImageType = "CT", "P1", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    if isinstance(pixels, np.ndarray):
        data.Rows, data.Columns = pixels.shape[-2:]
        if pixels.ndim == 3:
            data.NumberOfFrames = len(pixels)
        data.BitsAllocated = data.BitsStored = pixels.dtype.itemsize * 8
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        pixels = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    data.add_new(0x7FE00010, "OW", pixels + b"\0" * (len(pixels) % 2))
    if data.file_meta.TransferSyntaxUID.is_compressed:
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    for keyword, value in attributes.items():
        if value is None:
            delattr(data, keyword)
        elif isinstance(value, tuple):  # (VR, value): where pydicom would choose another VR
            data.add_new(keyword, *value)
        else:
            setattr(data, keyword, value)
    data.save_as(path, enforce_file_format=True, implicit_vr=None if syntax != "1.2.840.10008.1.2" else True)
    return path


def item(**attributes: Any) -> Dataset:
    """A sequence item."""
    data = Dataset()
    for keyword, value in attributes.items():
        if isinstance(value, tuple):
            data.add_new(keyword, *value)
        else:
            setattr(data, keyword, value)
    return data
