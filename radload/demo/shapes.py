"""Drawing anatomy-like shapes with soft edges on a millimetre grid, and noise with a given grain: what the phantoms are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Pixel positions in millimetres, the origin in the middle; x grows to the image's right, y downwards.

    Attributes:
        rows, cols: size of the image; row_mm, col_mm: distance of neighbouring pixels along y and x.
    """

    rows: int
    cols: int
    row_mm: float
    col_mm: float

    @cached_property
    def y(self) -> Image:
        """(rows, 1) millimetres."""
        return ((np.arange(self.rows, dtype=np.float32) - (self.rows - 1) / 2) * np.float32(self.row_mm))[:, None]

    @cached_property
    def x(self) -> Image:
        """(1, cols) millimetres."""
        return ((np.arange(self.cols, dtype=np.float32) - (self.cols - 1) / 2) * np.float32(self.col_mm))[None, :]

    def box(self, centre: tuple[float, float], reach: tuple[float, float]) -> tuple[slice, slice]:
        """Rows and columns within `reach` (x, y) millimetres of `centre` (x, y); empty where that lies outside."""
        spans = []
        for middle, half, count, step in (
            (centre[1], reach[1], self.rows, self.row_mm),
            (centre[0], reach[0], self.cols, self.col_mm),
        ):
            low = int(np.floor((middle - half) / step + (count - 1) / 2))
            high = int(np.ceil((middle + half) / step + (count - 1) / 2)) + 1
            spans.append(slice(min(max(low, 0), count), min(max(high, 0), count)))
        return spans[0], spans[1]


def ellipse(
    grid: Grid,
    box: tuple[slice, slice],
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
    edge: float = 1.0,
    power: float = 2.0,
) -> Image:
    """Coverage 0..1 of a (super-)ellipse inside `box`, with an edge about `edge` millimetres wide.

    Args:
        centre, radii: (x, y) millimetres; angle: radians; power: 2 is an ellipse, more is squarer.
    """
    dx, dy = grid.x[:, box[1]] - centre[0], grid.y[box[0]] - centre[1]
    if angle:
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = dx * cosine + dy * sine, dy * cosine - dx * sine
    if power == 2.0:
        rho = np.sqrt(np.square(dx / radii[0]) + np.square(dy / radii[1]))
    else:
        rho = (np.abs(dx / radii[0]) ** power + np.abs(dy / radii[1]) ** power) ** (1 / power)
    return ramp((1 - rho) * min(radii), edge)


def ramp(inside: Image, edge: float) -> Image:
    """0 well outside, 1 well inside, linear over `edge` millimetres around 0."""
    return np.asarray(np.clip(inside / np.float32(edge) + np.float32(0.5), 0, 1), np.float32)


def paint(
    image: Image,
    grid: Grid,
    value: float | Image,
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
    edge: float = 1.0,
    power: float = 2.0,
) -> None:
    """Blend `value` (a number, or an image of the full size) into `image` where the ellipse covers it, in place."""
    reach = max(radii) * 1.05 + edge
    box = grid.box(centre, (reach, reach) if angle else (radii[0] * 1.05 + edge, radii[1] * 1.05 + edge))
    cover = ellipse(grid, box, centre, radii, angle, edge, power)
    target = image[box]
    colour = value[box] if isinstance(value, np.ndarray) else np.float32(value)
    target += (colour - target) * cover


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> Image:
    """Gaussian noise, mean 0 and deviation 1, blurred to structures of about `grain` pixels (periodic at the border)."""
    white = rng.standard_normal(shape, dtype=np.float32)
    return _unit(_filter(white, _gauss(shape, grain / 2)))


def band_noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> Image:
    """Like smooth_noise, without what is coarser than twice the grain: folds of one size."""
    white = rng.standard_normal(shape, dtype=np.float32)
    return _unit(_filter(white, _gauss(shape, grain / 2) - _gauss(shape, grain)))


def blur(image: Image, sigma: float) -> Image:
    """Gaussian blur by `sigma` pixels (periodic at the border)."""
    return _filter(image, _gauss((image.shape[0], image.shape[1]), sigma))


def _gauss(shape: tuple[int, int], sigma: float) -> Image:
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]
    return np.exp(-2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)).astype(np.float32)


def _filter(image: Image, response: Image) -> Image:
    return np.fft.irfft2(np.fft.rfft2(image) * response, s=image.shape).astype(np.float32)


def _unit(image: Image) -> Image:
    return np.asarray((image - image.mean()) / max(float(image.std()), 1e-6), np.float32)
