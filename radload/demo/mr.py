"""MR phantoms: axial slices of a brain in arbitrary units, in some of them a lesion with a bright ring.

Two contrasts, T1 after contrast agent and FLAIR, a receive field that fades over the image, Rician noise, and another scale
in every series: only the statistics of its series tell what a value means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radload.demo.shapes import Grid, Image, band_noise, blur, ellipse, paint, ramp, smooth_noise

SLICE_MM = 4.0

# Relative signal per tissue.
CONTRASTS: dict[str, dict[str, float]] = {
    "T1": {
        "scalp": 1.15,
        "fluid": 0.16,
        "grey": 0.5,
        "white": 0.72,
        "deep": 0.58,
        "core": 0.28,
        "ring": 1.3,
        "oedema": 0.5,
    },
    "FLAIR": {
        "scalp": 0.7,
        "fluid": 0.12,
        "grey": 0.62,
        "white": 0.5,
        "deep": 0.58,
        "core": 0.3,
        "ring": 1.05,
        "oedema": 0.82,
    },
}


@dataclass(frozen=True)
class Lesion:
    """A ball with a rim: place and radius in millimetres, thickness of the ring, width of the oedema around it."""

    x: float
    y: float
    z: float
    radius: float
    wall: float
    oedema: float

    def cut(self, z: float) -> float:
        """Radius of the lesion in the slice at `z`, 0 where the slice misses it."""
        return float(np.sqrt(max(self.radius**2 - (z - self.z) ** 2, 0.0)))


@dataclass(frozen=True)
class Head:
    """One patient and one series: shape in millimetres, `scale` in arbitrary units, `field` the strength of the receive field."""

    contrast: str
    skull: tuple[float, float]
    tilt: float
    shift: tuple[float, float]
    ventricle: tuple[float, float]
    folds: int
    scale: float
    field: float
    noise: float
    lesion: Lesion | None


def head(rng: np.random.Generator, height: float, lesion: bool) -> Head:
    """Draw a patient whose slices span `height` millimetres, with or without a lesion."""
    found = None
    if lesion:
        turn, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.68)
        found = Lesion(
            x=float(58 * depth * np.cos(turn)),
            y=float(74 * depth * np.sin(turn)),
            z=float(rng.uniform(-0.3, 0.3) * height),
            radius=float(rng.uniform(11, 18)),
            wall=float(rng.uniform(3.0, 4.6)),
            oedema=float(rng.uniform(5, 14)),
        )
    return Head(
        contrast=str(rng.choice(sorted(CONTRASTS))),
        skull=(float(rng.uniform(66, 75)), float(rng.uniform(84, 95))),
        tilt=float(rng.normal(0, 0.07)),
        shift=(float(rng.uniform(-6, 6)), float(rng.uniform(-6, 6))),
        ventricle=(float(rng.uniform(5, 9)), float(rng.uniform(20, 30))),
        folds=int(rng.integers(1 << 31)),
        scale=float(np.exp(rng.uniform(np.log(180), np.log(2400)))),
        field=float(rng.uniform(0.05, 0.28)),
        noise=float(rng.uniform(0.015, 0.04)),
        lesion=found,
    )


def slice_signal(patient: Head, grid: Grid, z: float, rng: np.random.Generator) -> Image:
    """The slice at `z` millimetres, (rows, cols), arbitrary units from 0, with the noise of `rng`."""
    p, shape, tissue = patient, (grid.rows, grid.cols), CONTRASTS[patient.contrast]
    size = float(np.sqrt(max(1 - ((z + 5) / 95) ** 2, 0.2)))
    centre, a, b = p.shift, p.skull[0] * size, p.skull[1] * size
    image = np.zeros(shape, np.float32)
    paint(image, grid, tissue["scalp"], centre, (a + 9, b + 9), p.tilt, 1.5)
    paint(image, grid, 0.06, centre, (a + 4.5, b + 4.5), p.tilt, 1.5)
    paint(image, grid, tissue["fluid"], centre, (a, b), p.tilt, 1.5)
    _brain(image, grid, p, (a, b), z)
    _deep(image, grid, p, size, z)
    if p.lesion is not None and (radius := p.lesion.cut(z)) > 0:
        _lesion(image, grid, p, p.lesion, radius)
    image = blur(image, 0.6)
    coil = 1 + p.field * smooth_noise(np.random.default_rng(p.folds + 1), shape, 160)
    noise = rng.normal(0, p.noise, (2, *shape)).astype(np.float32)
    return np.asarray(p.scale * np.hypot(np.clip(image * coil, 0, None) + noise[0], noise[1]), np.float32)


def _brain(image: Image, grid: Grid, p: Head, radii: tuple[float, float], z: float) -> None:
    """Cortex and white matter, their border folded by noise that drifts from slice to slice."""
    tissue, shape = CONTRASTS[p.contrast], (grid.rows, grid.cols)
    everywhere = (slice(0, grid.rows), slice(0, grid.cols))
    first, second = (band_noise(np.random.default_rng(p.folds + k), shape, 8) for k in (2, 3))
    phase = z / 12
    folds = np.cos(phase) * first + np.sin(phase) * second
    dx, dy = grid.x - np.float32(p.shift[0]), grid.y - np.float32(p.shift[1])
    depth = ((1 - np.sqrt(np.square(dx / radii[0]) + np.square(dy / radii[1]))) * min(radii)).astype(np.float32)
    cortex = ellipse(grid, everywhere, p.shift, (radii[0] - 2, radii[1] - 2), p.tilt, 1.5)
    sulci = ramp(np.abs(folds) - 0.3, 0.35) + ramp(depth - 17, 6)
    image += (tissue["grey"] - image) * cortex * np.clip(sulci, 0, 1)
    white = ramp(depth - 9 - 6 * np.abs(folds) + 3, 2.5)
    image += (tissue["white"] - image) * white
    fissure = (
        ramp(1.1 - np.asarray(np.abs(dx + dy * p.tilt), np.float32), 1.2)
        * ramp(np.abs(dy) - 0.45 * radii[1], 6)
        * cortex
    )
    image += (tissue["fluid"] - image) * fissure


def _deep(image: Image, grid: Grid, p: Head, size: float, z: float) -> None:
    """Ventricles and deep grey nuclei, largest in the middle slices."""
    tissue = CONTRASTS[p.contrast]
    open_ = float(np.clip(1.15 - abs(z) / 45, 0, 1)) * size
    if open_ < 0.15:
        return
    x, y = p.shift
    for side in (-1, 1):
        paint(image, grid, tissue["deep"], (x + side * 21 * open_, y + 2), (9 * open_, 17 * open_), -side * 0.35, 3)
        for end in (-1, 1):
            horn = (x + side * (7 + 4 * (end > 0)) * open_, y + end * 15 * open_ - 2)
            radii = (p.ventricle[0] * 0.75 * open_, p.ventricle[1] * 0.55 * open_)
            paint(image, grid, tissue["fluid"], horn, radii, side * end * -0.28, 1.5)
    paint(image, grid, tissue["fluid"], (x, y + 2), (2.2 * open_, 10 * open_), edge=1.5)


def _lesion(image: Image, grid: Grid, p: Head, lesion: Lesion, radius: float) -> None:
    tissue, centre = CONTRASTS[p.contrast], (p.shift[0] + lesion.x, p.shift[1] + lesion.y)
    halo = radius + lesion.oedema
    paint(image, grid, tissue["oedema"], centre, (halo * 1.1, halo * 0.9), lesion.wall, lesion.oedema)
    paint(image, grid, tissue["ring"], centre, (radius, radius), edge=1.5)
    inner = radius - lesion.wall
    if inner > 0:
        paint(image, grid, tissue["core"], centre, (inner, inner), edge=1.5)
