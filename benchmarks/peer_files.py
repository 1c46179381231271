"""The same slices as files of others: WebDataset shards of .npy and of 16-bit PNG, and uncompressed DICOM files."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

INTERCEPT = -1024  # of the modality step; the slope is 1


@dataclass(frozen=True, slots=True)
class PeerFiles:
    """Slice i is called i everywhere: `npy` and `png` are tars with keys of six digits, `dicom` one file per slice, in order."""

    npy: tuple[str, ...]
    png: tuple[str, ...]
    dicom: tuple[str, ...]


def write_peer_files(folder: Path, slices: Iterable[NDArray[np.int16]], per_shard: int = 50) -> PeerFiles:
    """Write (h, w) slices with values from 0 up (PNG has no sign) in all three forms; needs webdataset."""
    import webdataset

    npy: list[str] = []
    png: list[str] = []
    dicom: list[str] = []
    writers: list[Any] = []
    for i, stored in enumerate(slices):
        if i % per_shard == 0:
            for writer in writers:
                writer.close()
            npy.append(str(folder / f"npy-{i // per_shard:06d}.tar"))
            png.append(str(folder / f"png-{i // per_shard:06d}.tar"))
            writers = [webdataset.TarWriter(npy[-1]), webdataset.TarWriter(png[-1])]
        array = io.BytesIO()
        np.save(array, stored)
        writers[0].write({"__key__": f"{i:06d}", "npy": array.getvalue()})
        coded = imagecodecs.png_encode(stored.astype(np.uint16), level=1)  # four times as fast to write; read as fast
        writers[1].write({"__key__": f"{i:06d}", "png": coded})
        dicom.append(str(folder / f"{i:06d}.dcm"))
        _write_dicom(Path(dicom[-1]), stored, i)
    for writer in writers:
        writer.close()
    return PeerFiles(tuple(npy), tuple(png), tuple(dicom))


def _write_dicom(path: Path, stored: NDArray[np.int16], number: int) -> None:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"1.2.3.{number}"
    image.StudyInstanceUID, image.SeriesInstanceUID, image.PatientID, image.Modality = "1.2.4", "1.2.5", "P1", "CT"
    image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, number]
    image.PixelSpacing, image.SliceThickness = [0.7, 0.7], 1
    image.Rows, image.Columns = stored.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 1
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.RescaleSlope, image.RescaleIntercept = 1, INTERCEPT
    image.PixelData = stored.astype("<i2").tobytes()
    image.save_as(path, enforce_file_format=True)
