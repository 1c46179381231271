"""What packing costs: slices per second of a generated CT series, one process, beside reading and encoding the same files alone.

The difference between the two is the packer's own: catalog, plan, statistics, hashes, tar, index, fsync.
Run: pytest benchmarks/bench_pack.py
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pytest_benchmark.fixture import BenchmarkFixture

from radload.codecs import CodecName, encode
from radload.pack import PackOptions, pack
from radload.sources import Slice, read, scan

pytestmark = pytest.mark.benchmark(group="pack")
SLICES, SIDE = 40, 512


def ct_slices() -> Iterator[NDArray[np.int16]]:
    """A body with two lungs, noise of 25 HU that is correlated as a reconstruction kernel leaves it; HU + 1024 in 12 bits."""
    rng = np.random.default_rng(0)
    rows, cols = np.indices((SIDE, SIDE)) / SIDE - 0.5
    for place in range(SLICES):
        size = 1 - 0.3 * abs(place / SLICES - 0.5)
        values = np.where((rows / 0.33) ** 2 + (cols / 0.45) ** 2 < size, 40.0, -1000.0)
        for side in (-1, 1):
            values[(rows / 0.21) ** 2 + ((cols - 0.2 * side) / 0.14) ** 2 < size] = -850
        noise = rng.normal(0, 1, (SIDE, SIDE))
        for axis in (0, 1):
            noise = 0.5 * noise + 0.25 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
        yield (values + noise * (25 / noise.std()) + 1024).round().clip(0, 4095).astype(np.int16)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one series of 40 uncompressed DICOM files, 21 MB."""
    root = tmp_path_factory.mktemp("ct")
    for place, pixels in enumerate(ct_slices()):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"1.2.3.{place}"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.PatientID, image.Modality = "1.2.4", "1.2.5", "P1", "CT"
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, place]
        image.Rows = image.Columns = SIDE
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 1
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.RescaleSlope, image.RescaleIntercept = 1, -1024
        image.PixelData = pixels.tobytes()
        image.save_as(root / f"{place:03d}.dcm", enforce_file_format=True)
    return root


def report(benchmark: BenchmarkFixture) -> None:
    if benchmark.stats is not None:  # None where benchmarks are switched off
        benchmark.extra_info["slices/s"] = round(SLICES / benchmark.stats.stats.median)


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
def test_pack(benchmark: BenchmarkFixture, source: Path, tmp_path: Path, codec: str) -> None:
    """All of `radload pack`, in this process."""
    names = count()

    def run() -> int:
        return pack(PackOptions(source, tmp_path / str(next(names)), codec=codec, workers=0)).samples

    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1) == SLICES  # type: ignore[no-untyped-call]
    report(benchmark)


@pytest.mark.parametrize("codec", ["htj2k", "raw"])
def test_read_and_encode(benchmark: BenchmarkFixture, source: Path, codec: CodecName) -> None:
    """The part of it that no packer can leave out."""

    def run() -> int:
        done = 0
        for path in sorted(source.iterdir()):
            for image in read(path, scan(path, path.name)):
                if isinstance(image, Slice):
                    done += len(encode(image.stored, codec).data) > 0
        return done

    assert benchmark.pedantic(run, rounds=3, warmup_rounds=1) == SLICES  # type: ignore[no-untyped-call]
    report(benchmark)
