"""CT phantoms: slices of a chest in Hounsfield units, in some of them a round nodule in a lung.

Vessels are rods that wander through the slices, so that a nodule has to be told from the many round things beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radload.demo.shapes import Grid, Image, blur, paint, ramp, smooth_noise

AIR, LUNG, FAT, TISSUE, BONE = -1000.0, -860.0, -100.0, 40.0, 480.0
HEART = (20.0, -22.0)  # its middle: x, y in millimetres
SLICE_MM = 4.0


@dataclass(frozen=True)
class Vessel:
    """A rod: its place (x, y) at z = 0, its drift per millimetre of z, and its radius, all in millimetres."""

    x: float
    y: float
    dx: float
    dy: float
    radius: float


@dataclass(frozen=True)
class Chest:
    """One patient. Lengths in millimetres, values in HU."""

    body: tuple[float, float]
    fat: float
    lungs: tuple[tuple[float, float], tuple[float, float]]
    lung_x: float
    heart: tuple[float, float]
    blood: float
    spine: float
    ribs: float
    table: float
    noise: float
    sharp: float
    shift: tuple[float, float]
    vessels: tuple[Vessel, ...]
    nodule: tuple[float, float, float, float, float] | None  # x, y, z, radius, HU


def chest(rng: np.random.Generator, height: float, nodule: bool) -> Chest:
    """Draw a patient whose slices span `height` millimetres, with or without a nodule."""
    lungs = tuple((float(rng.uniform(48, 60)), float(rng.uniform(74, 92))) for _ in range(2))
    lung_x = float(rng.uniform(72, 80))
    vessels = []
    for _ in range(110):
        side, depth, turn = rng.choice((-1, 1)), np.sqrt(rng.uniform(0.02, 0.95)), rng.uniform(0, 2 * np.pi)
        x, y = side * lung_x + depth * 50 * np.cos(turn), -4 + depth * 74 * np.sin(turn)
        hilum = np.hypot(x - side * 34, y - 6)
        radius = float(np.clip(5.0 - hilum / 14, 0.8, 4.2) * rng.uniform(0.6, 1.1))
        drift = rng.normal(0, 0.25, 2)
        vessels.append(Vessel(float(x), float(y), float(drift[0]), float(drift[1]), radius))
    heart = (float(rng.uniform(40, 52)), float(rng.uniform(34, 44)))
    return Chest(
        body=(float(rng.uniform(150, 172)), float(rng.uniform(105, 122))),
        fat=float(rng.uniform(6, 20)),
        lungs=(lungs[0], lungs[1]),
        lung_x=lung_x,
        heart=heart,
        blood=float(rng.choice((45, 50, 170, 240))),
        spine=float(rng.uniform(16, 20)),
        ribs=float(rng.uniform(0, 1)),
        table=float(rng.uniform(128, 136)),
        noise=float(rng.uniform(14, 34)),
        sharp=float(rng.uniform(0.4, 0.9)),
        shift=(float(rng.uniform(-8, 8)), float(rng.uniform(-8, 4))),
        vessels=tuple(vessels),
        nodule=_nodule(rng, height, lung_x, heart) if nodule else None,
    )


def _nodule(
    rng: np.random.Generator, height: float, lung_x: float, heart: tuple[float, float]
) -> tuple[float, float, float, float, float]:
    """x, y, z, radius and HU of a nodule in one of the lungs, clear of the heart, which would hide it."""
    radius = float(rng.uniform(10, 16))
    while True:
        side, turn, depth = rng.choice((-1, 1)), rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0.05, 0.5))
        x, y = side * (lung_x + 4) + depth * 40 * np.cos(turn), -4 + depth * 66 * np.sin(turn)
        if np.hypot((x - HEART[0]) / (heart[0] + radius), (y - HEART[1]) / (heart[1] + radius)) > 1.05:
            return float(x), float(y), float(rng.uniform(-0.3, 0.3) * height), radius, float(rng.uniform(10, 80))


def shows_nodule(patient: Chest, z: float) -> bool:
    """Whether the slice at `z` (millimetres) cuts the nodule well enough to see it: at half its radius or more."""
    return patient.nodule is not None and _cut(patient.nodule, z) >= 0.5 * patient.nodule[3]


def grazes_nodule(patient: Chest, z: float) -> bool:
    """Whether the slice holds a rim of the nodule that nobody should be asked to label."""
    return patient.nodule is not None and 0 < _cut(patient.nodule, z) < 0.5 * patient.nodule[3]


def _cut(nodule: tuple[float, float, float, float, float], z: float) -> float:
    return float(np.sqrt(max(nodule[3] ** 2 - (z - nodule[2]) ** 2, 0.0)))


def slice_hu(patient: Chest, grid: Grid, z: float, rng: np.random.Generator) -> Image:
    """The slice at `z` millimetres, (rows, cols) HU, with the noise of `rng`."""
    p, shape = patient, (grid.rows, grid.cols)
    sx, sy = p.shift
    image = np.full(shape, AIR, np.float32)
    paint(image, grid, -650, (sx, p.table), (150, 9), edge=2)
    paint(image, grid, AIR, (sx, p.table - 3), (147, 6), edge=2)
    paint(image, grid, FAT, (sx, sy), p.body, edge=2, power=2.3)
    paint(image, grid, TISSUE, (sx, sy), (p.body[0] - p.fat, p.body[1] - p.fat), edge=3, power=2.3)
    parenchyma = LUNG + 18 * smooth_noise(rng, shape, 5) + np.float32(0.6) * grid.y
    size = 1 - 0.18 * abs(z) / 60
    for side, (rx, ry) in zip((-1, 1), p.lungs, strict=True):
        paint(image, grid, parenchyma, (sx + side * p.lung_x, sy - 6), (rx * size, ry * size), -side * 0.1, 2, 2.2)
    in_lung = ramp(-400 - image, 200)
    _vessels(image, grid, p, z, in_lung)
    if p.nodule is not None and (radius := _cut(p.nodule, z)) > 0:
        paint(image, grid, p.nodule[4], (sx + p.nodule[0], sy + p.nodule[1]), (radius, radius), edge=2.5)
    _mediastinum(image, grid, p, z)
    _bones(image, grid, p, z)
    image = blur(image, p.sharp)
    return image + p.noise * smooth_noise(rng, shape, 2 * p.sharp + 0.6)


def _vessels(image: Image, grid: Grid, p: Chest, z: float, in_lung: Image) -> None:
    for v in p.vessels:
        centre = (p.shift[0] + v.x + v.dx * z, p.shift[1] + v.y + v.dy * z)
        box = grid.box(centre, (v.radius + 2, v.radius + 2))
        target = image[box]
        distance = np.hypot(grid.x[:, box[1]] - centre[0], grid.y[box[0]] - centre[1]).astype(np.float32)
        target += (np.float32(30) - target) * ramp(v.radius - distance, 1.6) * in_lung[box]


def _mediastinum(image: Image, grid: Grid, p: Chest, z: float) -> None:
    sx, sy = p.shift
    paint(image, grid, TISSUE, (sx, sy - 4), (27, 66), edge=4)
    grow = float(np.clip(0.75 - z / 120, 0.35, 1.2))
    heart = (p.heart[0] * grow, p.heart[1] * grow)
    paint(image, grid, 0.5 * (TISSUE + p.blood), (sx + HEART[0], sy + HEART[1]), heart, 0.4, 3)
    paint(image, grid, p.blood, (sx + 12, sy - 24), (heart[0] * 0.55, heart[1] * 0.6), 0.4, 5)
    paint(image, grid, p.blood, (sx + 16, sy + 40), (12, 12), edge=2)
    if z > -10:
        paint(image, grid, AIR, (sx, sy - 2), (8, 7), edge=1.5)
    else:
        for side in (-1, 1):
            paint(image, grid, AIR, (sx + side * 15, sy + 4), (5.5, 5), edge=1.5)


def _bones(image: Image, grid: Grid, p: Chest, z: float) -> None:
    sx, sy = p.shift
    back = sy + p.body[1] - p.fat - 44
    paint(image, grid, BONE, (sx, back), (p.spine, p.spine * 0.85), edge=2)
    paint(image, grid, 190, (sx, back), (p.spine - 3, p.spine * 0.85 - 3), edge=2)
    for side in (-1, 1):
        paint(image, grid, BONE, (sx + side * 17, back + 20), (15, 3.2), side * 0.45, 1.5)
    paint(image, grid, 20, (sx, back + p.spine * 0.85 + 8), (8, 7), edge=1.5)
    paint(image, grid, BONE, (sx, back + p.spine * 0.85 + 20), (3, 9), edge=1.5)
    paint(image, grid, 300, (sx, sy - p.body[1] + p.fat + 8), (17, 5), edge=2)
    rx, ry = p.body[0] - p.fat - 9, p.body[1] - p.fat - 8
    for index in range(7):  # ribs run forward and down, so each slice cuts them at other angles
        turn = -1.15 + 0.42 * index + 0.42 * ((p.ribs + z / 30) % 1.0)
        for side in (-1, 1):
            x, y = side * rx * np.cos(turn), ry * np.sin(turn)
            lean = np.arctan2(ry * np.cos(turn), -side * rx * np.sin(turn))
            paint(image, grid, BONE, (sx + x, sy + y), (12, 4), float(lean), 1.5)
            paint(image, grid, 220, (sx + x, sy + y), (9.5, 2), float(lean), 1.5)
