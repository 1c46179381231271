"""Makes small DICOM files for the tests beside it; the header values are ours, pydicom only writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

# Compressed syntaxes that pydicom writes, in place of those that it does not know: length of the UID's text -> UID.
_SAME_LENGTH = {21: "1.2.840.10008.1.2.4.90", 23: "1.2.840.10008.1.2.4.201"}
CT = "1.2.840.10008.5.1.4.1.1.2"


def make_dicom(
    path: Path, pixels: NDArray[Any] | bytes, syntax: str = ExplicitVRLittleEndian, **attributes: Any
) -> Path:
    """Write `pixels`, (rows, cols), (frames, rows, cols) or encapsulated bytes; `attributes` by keyword replace or add, None removes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(CT), UID("1.2.3.4")
    written = syntax if syntax in UID_dictionary else _SAME_LENGTH[len(syntax)]
    meta.TransferSyntaxUID = UID(written)
    little = syntax != ExplicitVRBigEndian
    data = FileDataset(
        str(path), {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=False, is_little_endian=little
    )
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
    data.save_as(
        path,
        enforce_file_format=True,
        implicit_vr=syntax == "1.2.840.10008.1.2",
        little_endian=little,
    )
    if written != syntax:
        path.write_bytes(path.read_bytes().replace(_element(written), _element(syntax), 1))
    return path


def _element(syntax: str) -> bytes:
    """Transfer Syntax UID in the meta information."""
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value


def item(**attributes: Any) -> Dataset:
    """A sequence item."""
    data = Dataset()
    for keyword, value in attributes.items():
        if isinstance(value, tuple):
            data.add_new(keyword, *value)
        else:
            setattr(data, keyword, value)
    return data
