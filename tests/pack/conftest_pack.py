"""Small DICOM files and NIfTI-free trees for the packer's tests, made with pydicom."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

WriteDicom = Callable[..., NDArray[Any]]
WriteSeries = Callable[..., None]


def uid(text: str) -> str:
    """A valid UID that depends on `text` only."""
    return f"1.2.826.0.1.3680043.8.498.{zlib.crc32(text.encode())}"


@pytest.fixture
def write_dicom() -> WriteDicom:
    """write_dicom(path, pixels=None, patient=…, study=…, series=…, place=0, **elements): one CT slice; returns its pixels."""

    def write(
        path: Path,
        pixels: NDArray[Any] | None = None,
        *,
        patient: str = "P1",
        study: str = "study",
        series: str = "series",
        place: int = 0,
        **elements: Any,
    ) -> NDArray[Any]:
        if pixels is None:
            random = np.random.default_rng(zlib.crc32(f"{patient}{series}{place}".encode()))
            pixels = np.cumsum(random.integers(-3, 4, (24, 20)), axis=1).astype(np.int16)
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = uid(f"{series}-{place}-{path.name}")
        image.PatientID, image.PatientName = patient, f"Name^{patient}"
        image.StudyInstanceUID, image.SeriesInstanceUID = uid(study), uid(series)
        image.Modality, image.InstanceNumber = "CT", place + 1
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 2.5 * place]
        image.PixelSpacing = [0.7, 0.8]
        image.Rows, image.Columns = pixels.shape[:2]
        image.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
        image.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
        if pixels.ndim == 3:
            image.PlanarConfiguration = 0
        image.BitsAllocated = image.BitsStored = pixels.dtype.itemsize * 8
        image.HighBit = image.BitsStored - 1
        image.PixelRepresentation = int(pixels.dtype.kind == "i")
        image.RescaleSlope, image.RescaleIntercept = 1, -1000
        image.PixelData = np.ascontiguousarray(pixels).tobytes()
        for name, value in elements.items():
            if value is None:
                delattr(image, name)
            else:
                setattr(image, name, value)
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save_as(path, enforce_file_format=True)
        return pixels

    return write


@pytest.fixture
def write_series(write_dicom: WriteDicom) -> WriteSeries:
    """write_series(folder, slices=3, **as write_dicom): slices in files whose names are not in order of position."""

    def write(folder: Path, slices: int = 3, **options: Any) -> None:
        for place in range(slices):
            write_dicom(folder / f"{(place * 7 + 3) % slices:03d}.dcm", place=place, **options)

    return write


@pytest.fixture
def clinic(tmp_path: Path, write_series: WriteSeries) -> Path:
    """Six patients with a series each, two of them with two; 8 series, 24 slices, and a text file."""
    root = tmp_path / "clinic"
    for number in range(6):
        write_series(root / f"Doe_{number}" / "a", patient=f"P{number}", study=f"st{number}", series=f"s{number}a")
    for number in range(2):
        write_series(root / f"Doe_{number}" / "b", patient=f"P{number}", study=f"st{number}", series=f"s{number}b")
    (root / "readme.txt").write_text("no image")
    return root


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """A grey or RGB PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def shards_of(out: Path) -> dict[str, str]:
    """Name -> SHA-256 of every shard."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.glob("*/*.tar"))
    }
