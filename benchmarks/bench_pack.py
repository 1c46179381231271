"""What packing costs: 1,000 slices of ten generated CT series, beside reading and encoding the same files alone on as many processes.

The difference between the two is the packer's own: catalog, plan, statistics, hashes, tar, index, fsync, and starting processes.
Run: pytest benchmarks/bench_pack.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pytest_benchmark.fixture import BenchmarkFixture

from radload.codecs import CodecName, encode
from radload.pack import PackOptions, fetch, pack
from radload.preload import start_server
from radload.sources import Slice, read, scan

pytestmark = pytest.mark.benchmark(group="pack")
SERIES, PER_SERIES, SIDE, ROUNDS = 10, 100, 512, 3
SLICES, SHAPES = SERIES * PER_SERIES, 40


def ct_slices() -> Iterator[NDArray[np.int16]]:
    """A body with two lungs, noise of 25 HU that is correlated as a reconstruction kernel leaves it; HU + 1024 in 12 bits."""
    rng = np.random.default_rng(0)
    rows, cols = np.indices((SIDE, SIDE)) / SIDE - 0.5
    for place in range(SHAPES):
        size = 1 - 0.3 * abs(place / SHAPES - 0.5)
        values = np.where((rows / 0.33) ** 2 + (cols / 0.45) ** 2 < size, 40.0, -1000.0)
        for side in (-1, 1):
            values[(rows / 0.21) ** 2 + ((cols - 0.2 * side) / 0.14) ** 2 < size] = -850
        noise = rng.normal(0, 1, (SIDE, SIDE))
        for axis in (0, 1):
            noise = 0.5 * noise + 0.25 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
        yield (values + noise * (25 / noise.std()) + 1024).round().clip(0, 4095).astype(np.int16)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ten series of 100 uncompressed DICOM files each, 504 MB: 40 slices, moved about."""
    root, shapes = tmp_path_factory.mktemp("ct"), list(ct_slices())
    for series in range(SERIES):
        for place in range(PER_SERIES):
            pixels = np.roll(shapes[place * SHAPES // PER_SERIES], (7 * series, 3 * place), (0, 1))
            write(root / f"{series:02d}" / f"{place:03d}.dcm", pixels, series, place)
    return root


def write(path: Path, pixels: NDArray[np.int16], series: int, place: int) -> None:
    """One DICOM file: a slice of a series of a patient of its own."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"1.2.3.{series}.{place}"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"1.2.4.{series}", f"1.2.5.{series}"
    image.PatientID, image.Modality = f"P{series}", "CT"
    image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, place]
    image.Rows = image.Columns = SIDE
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 1
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.RescaleSlope, image.RescaleIntercept = 1, -1024
    image.PixelData = pixels.tobytes()
    path.parent.mkdir(exist_ok=True)
    image.save_as(path, enforce_file_format=True)


def read_and_encode(paths: list[Path], codec: CodecName) -> int:
    """The part of packing that no packer can leave out; returns the slices done."""
    done = 0
    for path in paths:
        for image in read(path, scan(path, path.name)):
            if isinstance(image, Slice):
                done += len(encode(image.stored, codec).data) > 0
    return done


@pytest.mark.parametrize(("codec", "workers"), [("htj2k", 1), ("htj2k", 2), ("raw", 1)])
def test_pack(benchmark: BenchmarkFixture, source: Path, tmp_path: Path, codec: CodecName, workers: int) -> None:
    """All of `radload pack`, in turns with reading and encoding on as many processes, which have started before."""
    names, paths = count(), sorted(source.rglob("*.dcm"))
    parts = [paths[start::workers] for start in range(workers)]
    alone: list[float] = []
    whole: list[float] = []
    start_server()  # as the command does first: the pool below would start it without what packing imports
    with ProcessPoolExecutor(workers, get_context("forkserver")) as pool:

        def alone_then_all() -> None:
            start = time.perf_counter()
            assert sum(pool.map(read_and_encode, parts, [codec] * workers)) == SLICES
            middle = time.perf_counter()
            options = PackOptions(source, tmp_path / str(next(names)), codec=codec, workers=workers)
            assert pack(options).samples == SLICES
            alone.append(middle - start)
            whole.append(time.perf_counter() - middle)

        benchmark.pedantic(alone_then_all, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]
    benchmark.extra_info["slices/s"] = round(SLICES / median(whole[1:]))
    benchmark.extra_info["alone, slices/s"] = round(SLICES / median(alone[1:]))
    benchmark.extra_info["share"] = round(median(one / all_ for one, all_ in zip(alone[1:], whole[1:], strict=True)), 2)


def test_slow_source(benchmark: BenchmarkFixture, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading and encoding 200 files of which the first access takes 8 ms, as on a server with disks: in turns with and without Fetch."""
    paths = sorted(source.rglob("*.dcm"))[:200]
    names = [str(path.relative_to(source)) for path in paths]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    touched: dict[str, float] = {}
    path_open, system_open = Path.open, os.open

    def touch(path: Any) -> None:
        """Whoever is first waits for the disk, and who comes meanwhile too; later there is only the way to the server, 0.3 ms."""
        now = time.perf_counter()
        there = touched.setdefault(str(path), now + 0.008)
        time.sleep(max(there - now, 0.0003))

    def open_path(path: Path, *arguments: Any, **options: Any) -> Any:
        touch(path)
        return path_open(path, *arguments, **options)

    def open_descriptor(path: Any, *arguments: Any, **options: Any) -> int:
        touch(path)
        return system_open(path, *arguments, **options)

    def turn(ahead: bool) -> None:
        touched.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", open_path)
            patched.setattr(os, "open", open_descriptor)
            patched.setattr(fetch, "_in_memory", lambda descriptor, place: False)
            started = time.perf_counter()
            with fetch.Fetch(source, names if ahead else []) as files:
                for path in paths:
                    files.next()
                    read_and_encode([path], "htj2k")
            seconds[ahead].append(time.perf_counter() - started)

    def both() -> None:
        for ahead in (True, False):
            turn(ahead)

    benchmark.pedantic(both, rounds=3, warmup_rounds=1)  # type: ignore[no-untyped-call]
    for ahead, found in seconds.items():
        name = "asked for ahead, slices/s" if ahead else "read as they come, slices/s"
        benchmark.extra_info[name] = round(len(paths) / median(found[1:]))
