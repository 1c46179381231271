"""The demo's data set: patients of three modalities as DICOM files, and labels.csv that says what each file shows.

Every patient is a function of (seed, modality, number), so the same files come out everywhere, whatever the number of processes.
"""

from __future__ import annotations

import csv
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
)

from radload.demo import ct, mr, xray
from radload.demo.dicom_files import Identity, Pixels, dataset, enhanced_ct, plane, save
from radload.demo.shapes import Grid

CLASSES = ("CT clear", "CT nodule", "MR clear", "MR ring lesion", "X-ray clear", "X-ray effusion")
PATIENTS = {"CT": 180, "MR": 144, "DX": 66}
SLICES = 10  # per CT and MR patient
FILMS = 6  # per X-ray patient

# What the scanners of this hospital write: (signed, bits stored, intercept, padding value, transfer syntax).
CT_WRITERS: tuple[tuple[bool, int, int, int | None, str], ...] = (
    (True, 16, 0, -2000, "explicit"),
    (False, 12, -1024, None, "implicit"),
    (True, 16, -1024, None, "rle"),
    (False, 16, -1024, None, "htj2k"),
    (False, 12, -1024, None, "j2k"),
    (True, 16, 0, -2000, "deflated"),
    (False, 12, -1024, None, "jpeg-ls"),
    (True, 16, 0, None, "big-endian"),
    (False, 12, -1024, None, "jpeg-lossless"),
)
MR_WRITERS = ("explicit", "jpeg-ls", "implicit", "j2k", "rle", "htj2k")
XRAY_WRITERS = (
    ("MONOCHROME1", "jpeg-lossless"),
    ("MONOCHROME2", "explicit"),
    ("MONOCHROME1", "j2k"),
    ("MONOCHROME2", "jpeg-ls"),
)


@dataclass(frozen=True)
class Job:
    """One patient to write: `modality` of PATIENTS, `number` from 0; `lesion` whether anything is to be found."""

    folder: Path
    modality: str
    number: int
    lesion: bool
    seed: int
    slices: int

    @property
    def patient(self) -> str:
        return f"DEMO-{self.modality}-{self.number:02d}"

    def rng(self, *scope: int) -> np.random.Generator:
        """A generator of its own for each `scope` of this patient."""
        return np.random.default_rng([self.seed, sorted(PATIENTS).index(self.modality), self.number, *scope])


@dataclass(frozen=True)
class Made:
    """What was written: number of files and patients, the table of labels, and samples per class."""

    folder: Path
    labels: Path
    files: int
    patients: int
    classes: dict[str, int]


def make(folder: Path, labels: Path, seed: int = 0, scale: float = 1.0, processes: int = 2) -> Made:
    """Write the data set under `folder` and its table `labels` (columns path, label; paths relative to `folder`).

    Args:
        scale: part of the patients that is made (1.0: all), at least two per modality.
    """
    jobs = [
        Job(folder, modality, number, number % 3 != 2, seed, SLICES)
        for modality, patients in PATIENTS.items()
        for number in range(max(2, round(patients * scale)))
    ]
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            results = list(pool.map(write_patient, jobs, chunksize=2))
    else:
        results = [write_patient(job) for job in jobs]
    rows = [row for result in results for row in result]
    counts = dict.fromkeys(CLASSES, 0)
    with labels.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        for path, label, frames in rows:
            if label is not None:
                writer.writerow((path, label))
                counts[label] += frames
    return Made(folder, labels, len(rows), len(jobs), counts)


def write_patient(job: Job) -> list[tuple[str, str | None, int]]:
    """Write one patient's files. Returns (path relative to the folder, class or None where nobody should say, frames)."""
    return {"CT": _write_ct, "MR": _write_mr, "DX": _write_xray}[job.modality](job)


def _name(job: Job, series: str, identity: Identity) -> str:
    """File names say nothing of the order, as in a real export."""
    return f"{job.patient}/{series}/IM{identity.uid(identity.study, identity.series, identity.instance)[-8:]}.dcm"


def _write_ct(job: Job) -> list[tuple[str, str | None, int]]:
    rng = job.rng()
    spacing = float(rng.choice((1.25, 1.3, 1.4)))
    grid = Grid(256, 256, spacing, spacing)
    patient = ct.chest(rng, job.slices * ct.SLICE_MM, job.lesion)
    signed, bits, intercept, padding, syntax = CT_WRITERS[job.number % len(CT_WRITERS)]
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    outside = np.hypot(grid.x, grid.y) > 127 * spacing
    frames, planes, rows = [], [], []
    for index in range(job.slices):
        z = (index - (job.slices - 1) / 2) * ct.SLICE_MM
        hu = ct.slice_hu(patient, grid, z, job.rng(1, index))
        stored = np.clip(np.rint(hu) - intercept, max(low, -1024 - intercept), min(high, 3071 - intercept))
        if padding is not None:
            stored = np.where(outside, padding, stored)
        frames.append(stored.astype(np.int16 if signed else np.uint16))
        corner = -127.5 * spacing
        planes.append(plane((corner, corner, z), (spacing, spacing), ct.SLICE_MM))
    if not job.lesion and job.number % 18 == 8:  # one file with all slices, where no slice differs in class
        identity = Identity(job.patient, 1, 1, 1)
        pixels = Pixels(np.stack(frames), bits, "MONOCHROME2", syntax)
        path = _name(job, "enhanced", identity)
        save(enhanced_ct(identity, pixels, planes, (1, intercept)), job.folder / path)
        return [(path, "CT clear", job.slices)]
    frame_of_reference = Identity(job.patient, 1, 1, 0).uid("frame of reference")
    for index, (stored, where) in enumerate(zip(frames, planes, strict=True)):
        z = (index - (job.slices - 1) / 2) * ct.SLICE_MM
        identity = Identity(job.patient, 1, 1, index + 1)
        extra: dict[str, Any] = {
            **where,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "FrameOfReferenceUID": frame_of_reference,
            "BodyPartExamined": "CHEST",
            "KVP": 120,
            "ConvolutionKernel": "SHARP" if patient.sharp < 0.6 else "STANDARD",
            "RescaleSlope": 1,
            "RescaleIntercept": intercept,
            "RescaleType": "HU",
            "WindowCenter": [40, -600],
            "WindowWidth": [400, 1500],
        }
        if padding is not None:
            extra["PixelPaddingValue"] = padding
        path = _name(job, "thorax", identity)
        save(
            dataset(identity, CTImageStorage, "CT", Pixels(stored, bits, "MONOCHROME2", syntax, extra)),
            job.folder / path,
        )
        label = "CT nodule" if ct.shows_nodule(patient, z) else None if ct.grazes_nodule(patient, z) else "CT clear"
        rows.append((path, label, 1))
    return rows


def _write_mr(job: Job) -> list[tuple[str, str | None, int]]:
    rng = job.rng()
    grid = Grid(256, 208, 0.9, 0.9) if job.number % 3 else Grid(224, 224, 1.0, 0.95)
    patient = mr.head(rng, job.slices * mr.SLICE_MM, job.lesion)
    slope = (1.0, 1.0, 1.73)[job.number % 3]  # some makers rescale MR, and it means nothing to anybody else
    rows: list[tuple[str, str | None, int]] = []
    for index in range(job.slices):
        z = (index - (job.slices - 1) / 2) * mr.SLICE_MM
        signal = mr.slice_signal(patient, grid, z, job.rng(1, index))
        bits = 16 if MR_WRITERS[job.number % len(MR_WRITERS)] == "htj2k" else 12
        stored = np.clip(np.rint(signal), 0, 4095).astype(np.uint16)
        corner = (-grid.col_mm * (grid.cols - 1) / 2, -grid.row_mm * (grid.rows - 1) / 2, z)
        extra: dict[str, Any] = {
            **plane(corner, (grid.row_mm, grid.col_mm), mr.SLICE_MM),
            "ImageType": ["ORIGINAL", "PRIMARY", "M"],
            "FrameOfReferenceUID": Identity(job.patient, 1, 1, 0).uid("frame of reference"),
            "BodyPartExamined": "BRAIN",
            "MagneticFieldStrength": (1.5, 3)[job.number % 2],
            "EchoTime": 9 if patient.contrast == "T1" else 120,
            "RepetitionTime": 500 if patient.contrast == "T1" else 9000,
            "WindowCenter": round(0.5 * patient.scale, 1),
            "WindowWidth": round(patient.scale, 1),
        }
        if slope != 1.0:
            extra |= {"RescaleSlope": slope, "RescaleIntercept": 0, "RescaleType": "US"}
        identity = Identity(job.patient, 1, 1, index + 1)
        path = _name(job, patient.contrast.lower(), identity)
        pixels = Pixels(stored, bits, "MONOCHROME2", MR_WRITERS[job.number % len(MR_WRITERS)], extra)
        save(dataset(identity, MRImageStorage, "MR", pixels), job.folder / path)
        lesion, label = patient.lesion, "MR clear"
        radius = lesion.cut(z) if lesion is not None else 0.0
        if lesion is not None and radius > 0:
            # A slice that only grazes the ring shows a blob: nobody should be asked to label it.
            label = "MR ring lesion" if radius >= 1.6 * lesion.wall else ""
        rows.append((path, label or None, 1))
    return rows


def _write_xray(job: Job) -> list[tuple[str, str | None, int]]:
    patient = xray.thorax(job.rng())
    photometric, syntax = XRAY_WRITERS[job.number % len(XRAY_WRITERS)]
    grid = Grid(480, 400, 0.9, 0.9) if job.number % 2 else Grid(512, 448, 0.8, 0.8)
    rows: list[tuple[str, str | None, int]] = []
    for index in range(FILMS):
        effusion = index % 2 == job.number % 2 if job.number % 4 != 3 else index == 1
        exposure = xray.film(job.rng(1, index), effusion)
        density = xray.radiograph(patient, exposure, grid, job.rng(2, index))
        stored = np.rint(density * 3600 + 200).astype(np.uint16)
        centre, width = 2000, 3600
        if photometric == "MONOCHROME1":  # 12 bits, low values are white
            stored, centre = (4095 - stored).astype(np.uint16), 2095
        extra: dict[str, Any] = {
            "ImageType": ["ORIGINAL", "PRIMARY", ""],
            "BodyPartExamined": "CHEST",
            "ViewPosition": "PA",
            "ImageLaterality": "U",
            "PatientOrientation": ["L", "F"],
            "ImagerPixelSpacing": [grid.row_mm, grid.col_mm],
            "PixelIntensityRelationship": "LOG",
            "PixelIntensityRelationshipSign": -1 if photometric == "MONOCHROME1" else 1,
            "PresentationLUTShape": "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY",
            "RescaleSlope": 1,
            "RescaleIntercept": 0,
            "RescaleType": "US",
            "WindowCenter": centre,
            "WindowWidth": width,
        }
        if job.number % 5 == 0:
            extra["VOILUTFunction"] = "SIGMOID"
        identity = Identity(job.patient, index + 1, 1, 1)
        path = _name(job, f"film-{index + 1}", identity)
        pixels = Pixels(stored, 12, photometric, syntax, extra)
        save(dataset(identity, DigitalXRayImageStorageForPresentation, "DX", pixels), job.folder / path)
        rows.append((path, "X-ray effusion" if effusion else "X-ray clear", 1))
    return rows
