"""X-ray phantoms: frontal chest radiographs as optical density (0 black to 1 white), in some of them fluid at a lung's base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radload.demo.shapes import Grid, Image, blur, ellipse, paint, ramp, smooth_noise


@dataclass(frozen=True)
class Thorax:
    """One patient: lengths in millimetres on the detector."""

    body: float
    lungs: tuple[tuple[float, float], tuple[float, float]]
    apart: float
    domes: tuple[float, float]
    heart: tuple[float, float]
    ribs: float
    slope: float
    lines: int
    dense: float


@dataclass(frozen=True)
class Film:
    """One exposure: position, exposure, scatter, and the fluid's height on the left and right of the image in millimetres."""

    shift: tuple[float, float]
    tilt: float
    exposure: float
    contrast: float
    noise: float
    breath: float
    fluid: tuple[float, float]


def thorax(rng: np.random.Generator) -> Thorax:
    """Draw a patient."""
    return Thorax(
        body=float(rng.uniform(160, 185)),
        lungs=(
            (float(rng.uniform(54, 62)), float(rng.uniform(118, 138))),
            (float(rng.uniform(50, 58)), float(rng.uniform(116, 134))),
        ),
        apart=float(rng.uniform(68, 76)),
        domes=(float(rng.uniform(62, 82)), float(rng.uniform(72, 92))),
        heart=(float(rng.uniform(40, 58)), float(rng.uniform(48, 60))),
        ribs=float(rng.uniform(21, 26)),
        slope=float(rng.uniform(0.25, 0.5)),
        lines=int(rng.integers(1 << 31)),
        dense=float(rng.uniform(0.06, 0.14)),
    )


def film(rng: np.random.Generator, effusion: bool) -> Film:
    """Draw an exposure, with or without fluid on one side."""
    height = float(rng.uniform(34, 78)) if effusion else 0.0
    left = bool(rng.integers(2))
    return Film(
        shift=(float(rng.uniform(-12, 12)), float(rng.uniform(-14, 14))),
        tilt=float(rng.normal(0, 0.03)),
        exposure=float(rng.uniform(-0.06, 0.06)),
        contrast=float(rng.uniform(0.8, 1.15)),
        noise=float(rng.uniform(0.008, 0.022)),
        breath=float(rng.uniform(-10, 8)),
        fluid=(height, 0.0) if left else (0.0, height),
    )


def radiograph(patient: Thorax, exposure: Film, grid: Grid, rng: np.random.Generator) -> Image:
    """(rows, cols) in 0..1, dense is bright, with the noise of `rng`."""
    p, f, shape = patient, exposure, (grid.rows, grid.cols)
    cx, cy = f.shift
    everywhere = (slice(0, grid.rows), slice(0, grid.cols))
    image = np.full(shape, 0.02, np.float32)
    paint(image, grid, 0.62, (cx, cy + 70), (p.body, 240), edge=16, power=3.2)
    paint(image, grid, 0.66, (cx, cy - 190), (46, 90), edge=14)
    x, y = grid.x - cx, grid.y - cy
    lines = smooth_noise(np.random.default_rng(p.lines), shape, 14)
    for side, (rx, ry), dome, fluid in zip((-1, 1), p.lungs, p.domes, f.fluid, strict=True):
        middle = cx + side * p.apart
        field = ellipse(grid, everywhere, (middle, cy - 6), (rx, ry), -side * 0.12 + f.tilt, 7, 2.4)
        local = (x - side * p.apart) / np.float32(rx)
        floor = dome + f.breath - 16 + 26 * np.square(local + side * 0.25)  # the diaphragm's dome, lower at the sides
        field *= ramp(floor - y, 6)
        if fluid:
            lateral = np.clip(side * local, -1, 1.2)
            level = dome + f.breath + 6 - fluid - 22 * lateral  # the meniscus climbs towards the chest wall
            field *= 1 - np.float32(0.94) * ramp(y - level, 16)
        air = 0.2 + 0.035 * lines + 0.05 * (y / 120)
        image += (air - image) * field
    _vessels(image, grid, f, p)
    _heart(image, grid, p, f)
    _ribs(image, grid, p, f)
    image = blur(np.clip(image, 0, None), 1.0)
    image = 0.5 + (image - 0.42) * f.contrast + f.exposure
    image += f.noise * smooth_noise(rng, shape, 1.6)
    return np.clip(image, 0, 1).astype(np.float32)


def _vessels(image: Image, grid: Grid, f: Film, p: Thorax) -> None:
    """Branches from the hila, fading outwards."""
    rng = np.random.default_rng(p.lines + 1)
    for _ in range(34):
        side, turn = rng.choice((-1, 1)), rng.uniform(-1.3, 1.5)
        for step in range(9):
            reach = 6 + 8.5 * step
            centre = (f.shift[0] + side * (24 + reach * np.cos(turn)), f.shift[1] + 2 + reach * np.sin(turn))
            box = grid.box(centre, (8, 8))
            spot = ellipse(grid, box, centre, (5.5, max(3.2 - 0.3 * step, 0.8)), side * turn, 2)
            image[box] += np.float32(0.05 * (1 - step / 10)) * spot


def _heart(image: Image, grid: Grid, p: Thorax, f: Film) -> None:
    cx, cy = f.shift
    for value, centre, radii, turn in (
        (0.7, (cx, cy - 30), (25, 150), 0.0),  # mediastinum
        (0.72, (cx + 17, cy + 36), p.heart, 0.5),  # heart, to the patient's left: the image's right
        (0.7, (cx + 20, cy - 44), (15, 17), 0.0),  # aortic knob
        (0.8, (cx, cy + 20), (14, 220), 0.0),  # spine behind it
    ):
        paint(image, grid, value, centre, radii, turn, 9)
    paint(image, grid, 0.52, (cx - 1, cy - 118), (6.5, 50), edge=5)  # trachea


def _ribs(image: Image, grid: Grid, p: Thorax, f: Film) -> None:
    """Bands that fall from the spine to the sides, and the collar bones."""
    x, y = np.abs(grid.x - f.shift[0]), grid.y - f.shift[1]
    cage = ramp(p.body - 26 - x, 12) * ramp(x - 10, 12)
    for index in range(9):
        start = -140 + index * p.ribs
        arc = start - 14 + p.slope * x * (0.25 + x / 210)
        inside = 5.6 - np.abs(y - arc)
        image += np.float32(p.dense) * (ramp(inside, 2.5) - 0.45 * ramp(inside - 2.2, 2.5)) * cage
    bone = 5.5 - np.abs(y + 128 + 0.16 * x - 9 * np.sin(x / 36))
    image += np.float32(1.5 * p.dense) * ramp(bone, 2.5) * ramp(p.body - 40 - x, 8) * ramp(x - 16, 6)
