"""Patients whose slices differ in fine detail only: what a training on reduced levels might fail to learn.

The chest of `radload.demo.ct` at 256 x 256; the lungs of every slice show one of four classes: nothing, a coarse or a fine texture
of the same mean and deviation, or micro-calcifications two pixels wide. At 112 pixels of output the finest structure that
can be shown has a period of 4.6 pixels of the image; the fine texture's is 4.9 to 5.8, so half the resolution of the output
shows none of it. Class and patient are independent, so nothing but the detail tells the class.
"""

from __future__ import annotations

import csv
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage

from radload.demo import ct
from radload.demo.dicom_files import Identity, Pixels, dataset, plane, save
from radload.demo.shapes import Grid, Image, blur, ramp
from radload.pack import PackOptions, pack

CLASSES = ("clear", "coarse", "fine", "calcifications")
SIDE, SPACING, SLICES = 256, 1.3, 16
COARSE, FINE = (14.0, 20.0), (4.9, 5.8)  # periods of the textures in pixels, shortest and longest


@dataclass(frozen=True)
class Job:
    """One patient to write."""

    folder: Path
    number: int
    seed: int
    contrast: float


def pack_detail(folder: Path, patients: int, contrast: float, seed: int = 0, processes: int = 2) -> Path:
    """Write `patients` as DICOM files below `folder` and pack them, two of three for training. Returns the shards."""
    jobs = [Job(folder / "dicoms", number, seed, contrast) for number in range(patients)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        rows = [row for found in pool.map(write_patient, jobs, chunksize=4) for row in found]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    pack(PackOptions(folder / "dicoms", folder / "shards", labels=folder / "labels.csv", split="67/33/0"))
    return folder / "shards"


def write_patient(job: Job) -> list[tuple[str, str]]:
    """One patient's slices as DICOM files, HU + 1024 in 12 bits. Returns (path, class) of each."""
    rng = np.random.default_rng([job.seed, job.number])
    grid = Grid(SIDE, SIDE, SPACING, SPACING)
    patient = ct.chest(rng, SLICES * ct.SLICE_MM, nodule=False)
    name, rows = f"DETAIL-{job.number:03d}", []
    for index in range(SLICES):
        z = (index - (SLICES - 1) / 2) * ct.SLICE_MM
        hu = ct.slice_hu(patient, grid, z, rng)
        label = CLASSES[int(rng.integers(len(CLASSES)))]
        lung = ramp(-550 - blur(hu, 3), 200) * ramp(patient.body[1] - 20 - np.hypot(grid.x * 0.7, grid.y), 10)
        hu += disease(rng, lung, label, job.contrast)
        stored = np.clip(np.rint(hu) + 1024, 0, 4095).astype(np.uint16)
        extra = {
            **plane((-SIDE / 2 * SPACING, -SIDE / 2 * SPACING, z), (SPACING, SPACING), ct.SLICE_MM),
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "BodyPartExamined": "CHEST",
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "RescaleType": "HU",
        }
        path = f"{name}/{index:03d}.dcm"
        pixels = Pixels(stored, 12, "MONOCHROME2", "explicit", extra)
        save(dataset(Identity(name, 1, 1, index + 1), CTImageStorage, "CT", pixels), job.folder / path)
        rows.append((path, label))
    return rows


def disease(rng: np.random.Generator, lung: Image, label: str, contrast: float) -> Image:
    """What the class adds to a slice, (rows, cols) HU. `lung`: its cover, 0 to 1; `contrast`: deviation of the textures."""
    strength = np.float32(contrast * rng.uniform(0.7, 1.3))
    if label == "clear":
        return np.zeros_like(lung)
    if label == "calcifications":
        return np.float32(4.0) * strength * lung * points(rng, lung)
    return strength * lung * ring_noise(rng, lung.shape, FINE if label == "fine" else COARSE)


def ring_noise(rng: np.random.Generator, shape: tuple[int, int], periods: tuple[float, float]) -> Image:
    """Noise of mean 0 and deviation 1 that holds the periods between two bounds, in pixels, in all directions, and no others."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    spectrum[(frequency < 1 / periods[1]) | (frequency > 1 / periods[0])] = 0
    noise: NDArray[np.float64] = np.fft.irfft2(spectrum, s=shape)
    return (noise / noise.std()).astype(np.float32)


def points(rng: np.random.Generator, lung: Image, count: int = 40) -> Image:
    """`count` points anywhere in the lungs, each a Gaussian of 0.8 pixels, peak 1."""
    image, inside = np.zeros_like(lung), np.argwhere(lung > 0.9)
    y, x = np.mgrid[: lung.shape[0], : lung.shape[1]]
    for row, col in inside[rng.integers(len(inside), size=count)] + rng.uniform(-0.5, 0.5, (count, 2)):
        image += np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * 0.8**2)).astype(np.float32)
    return image
