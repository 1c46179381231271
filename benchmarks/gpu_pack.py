"""Packing with a GPU's help: are the shards the CPU's, and what does a frame cost? Used by gpu_check.py and tests/gpu."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from unittest import mock

import imagecodecs
import numpy as np
from ct_like import ct_like
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, generate_uid

from radload.codecs.nvimgcodec import HostFrames
from radload.codecs.verdicts import Verdicts
from radload.pack import PackOptions, pack
from radload.pack.ahead import FrameDecoder
from radload.pack.device import Device, DevicePacker
from radload.sources.dicom_codestreams import components

JPEG_2000, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"


def streams(syntax: str, count: int) -> list[bytes]:
    """Lossless streams of generated CT slices of 512 x 512."""
    slices = [one.astype(np.uint16) for one in ct_like(count, 7)]
    if syntax == HTJ2K:
        return [imagecodecs.htj2k_encode(one) for one in slices]
    return [imagecodecs.jpeg2k_encode(one, codecformat="j2k", reversible=True) for one in slices]


def write_files(root: Path, count: int) -> None:
    """DICOM files of both syntaxes, a series and a patient each."""
    for number, syntax in enumerate((JPEG_2000, HTJ2K)):
        series = generate_uid(entropy_srcs=[syntax])
        for place, stream in enumerate(streams(syntax, count)):
            image = Dataset()
            image.file_meta = FileMetaDataset()
            image.file_meta.TransferSyntaxUID = UID(syntax)
            image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = CTImageStorage
            instance = generate_uid(entropy_srcs=[syntax, str(place)])
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = instance
            image.PatientID, image.Modality = f"P{number}", "CT"
            image.StudyInstanceUID = image.SeriesInstanceUID = series
            image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, place]
            image.PixelSpacing = [0.7, 0.7]
            image.Rows = image.Columns = 512
            image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
            image.BitsAllocated = image.BitsStored = 16
            image.HighBit, image.PixelRepresentation = 15, 0
            image.RescaleSlope, image.RescaleIntercept = 1, -1024
            image.PixelData = encapsulate([stream])
            image["PixelData"].VR = "OB"
            path = root / f"{number}/{place:03d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save_as(path, enforce_file_format=True)


def shards_of(out: Path) -> dict[str, str]:
    """Name -> SHA-256 of every shard."""
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.glob("*/*.tar"))
    }


def differences(folder: Path, cuda: bool, count: int) -> list[str]:
    """How a pack with a GPU, or with nvImageCodec's CPU backends, differs from one without; also where it decoded nothing."""
    write_files(folder / "src", count)
    pack(PackOptions(folder / "src", folder / "plain", workers=0))
    options = PackOptions(folder / "src", folder / "device", workers=0, decode_device="cuda" if cuda else "cpu")
    if cuda:
        notes = pack(options).notes
    else:
        host = Device(DevicePacker(lambda: HostFrames(None), lambda: Verdicts(None, "")))
        with mock.patch("radload.pack.flow.find_device", lambda name: host):
            notes = pack(options).notes
    found = [note for note in notes if "does not decode" in note or "was not used" in note]
    if f"the GPU decoded {2 * count} frames" not in notes:
        found.append("not all frames were decoded there")
    if shards_of(folder / "plain") != shards_of(folder / "device"):
        found.append("the shards differ")
    return found


def frame_rates(decoder: FrameDecoder, syntax: str, seconds: float, batch: int = 64) -> tuple[float, float]:
    """Frames/s to an array on the host, of a decoder in batches and of one core of the CPU."""
    coded = streams(syntax, batch)
    decoder.decode(coded)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        decoder.decode(coded)
        done += batch
    device = done / (time.perf_counter() - start)
    few = coded[:16]
    start = time.perf_counter()
    for stream in few:
        components(stream, syntax, 1)
    return device, len(few) / (time.perf_counter() - start)
