"""Rotation: what the definition promises, and that the CPU kernel holds it where random cases would hardly look."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import Case, random_case

from radload.kernels import cpu, prepare, reference
from radload.kernels.prepare import Voi
from radload.kernels.reference import Window

IDENTITY = [Window(Voi.LINEAR_EXACT, 0.5, 1.0)]  # y is the value, for values in [0, 1]
RNG = np.random.default_rng(2)


def rendered(case: Case, scratch: cpu.Scratch | None = None) -> np.ndarray:
    samples, windows, norm, pool = case.records()
    out = np.full((len(case.windows), *case.size), np.nan, np.float32)
    cpu.render_into(case.coded, samples, windows, norm, out, tables=pool, scratch=scratch)
    return out


def test_quarter_turns_are_counter_clockwise() -> None:
    image = RNG.random((40, 40))
    upright = reference.render(image, IDENTITY, (17, 17))[0]
    for quarters in (1, 2, 3):
        turned = reference.render(image, IDENTITY, (17, 17), angle=90.0 * quarters)[0]
        assert np.allclose(turned, np.rot90(upright, quarters), atol=1e-12)


def test_a_vanishing_angle_changes_nothing_but_what_the_filter_sees_beyond_the_crop() -> None:
    image = RNG.random((50, 60))
    for level, crop in ((0, (0, 0, 50, 60)), (0, (10, 20, 20, 30)), (1, (8, 10, 30, 44)), (0, (-10, -7, 90, 80))):
        coded = image[:: 2**level, :: 2**level].copy()
        size = (12, 11)
        options = {"full": image.shape, "level": level, "crop": crop}
        upright = reference.render(coded, IDENTITY, size, **options)[0]
        turned = reference.render(coded, IDENTITY, size, angle=1e-11, **options)[0]
        same = np.isclose(upright, turned, atol=1e-9)
        assert same[1:-1, 1:-1].all()
        assert same.all() == (crop[0] <= 0)  # beyond a crop of part of the image there is more of it


@pytest.mark.parametrize("angle", [7.0, -31.0, 130.0])
def test_a_ramp_stays_a_ramp(angle: float) -> None:
    """An average around a point of a linear function is its value there: so the picture lies where `centres` says."""
    y, x = np.mgrid[:200, :160] + 0.5
    image = 0.2 + 0.001 * y + 0.002 * x
    crop, size = (60, 40, 80, 80), (20, 20)
    turned = reference.render(image, IDENTITY, size, crop=crop, angle=angle)[0]
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    a, b = np.mgrid[:20, :20] + 0.5 - 10
    at_y, at_x = 100 + 4 * (cosine * a + sine * b), 80 + 4 * (cosine * b - sine * a)
    assert np.abs(turned - (0.2 + 0.001 * at_y + 0.002 * at_x)).max() < 2e-4


def test_no_rotation_turns_an_image_out_of_its_frame() -> None:
    """The middle of what is shown stays: also of an image in the corner of a large frame, and of one smaller than an output."""
    image = np.ones((30, 12))
    for crop in ((0, 0, 300, 300), (-270, -288, 300, 300), (-1000, -2000, 9000, 9000)):
        upright = reference.render(image, IDENTITY, (24, 24), crop=crop)[0]
        for angle in (10, 90, 180, 215.5):
            turned = reference.render(image, IDENTITY, (24, 24), crop=crop, angle=angle)[0]
            assert turned.max() == pytest.approx(1)
            if crop[2] == 300:
                assert 0.5 * upright.sum() < turned.sum() < 1.6 * upright.sum()


def test_seven_windows_take_three_rounds_of_three() -> None:
    coded = RNG.integers(0, 4096, (90, 70), np.uint16)
    windows = [Window(Voi.LINEAR, 300.0 * i, 900.0 + i) for i in (1, 2, 3, 2, 4, 5, 1, 6, 7, 5)]
    options = {"angle": 12.0, "mean": list(RNG.random(10)), "std": list(0.2 + RNG.random(10)), "flip": (True, True)}
    case = Case(coded, tuple(windows), (33, 40), options)
    case.assert_close(rendered(case))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 1), (64, 50)),
        ((1, 4000), (7, 90)),
        ((3000, 3), (2, 5)),
        ((97, 1031), (1, 1)),
        pytest.param((900, 700), (80, 90), marks=pytest.mark.soak),
    ],
)
def test_extreme_sizes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    coded = RNG.integers(0, 4096, shape, np.uint16)
    for angle in (3.0, 45.0, 100.0):
        windows = (Window(Voi.LINEAR, 2000, 3000), Window(Voi.SIGMOID, 100, 400))
        case = Case(coded, windows, size, {"padding": (0, 5), "angle": angle})
        case.assert_close(rendered(case))


def test_one_scratch_serves_turned_and_upright_samples() -> None:
    rng, scratch = np.random.default_rng(3), cpu.Scratch()
    for _ in range(60):
        case = random_case(rng)
        case.options["angle"] = float(rng.choice([0.0, 9.0, 77.0]))
        first = rendered(case, scratch)
        assert np.array_equal(first, rendered(case)) and np.array_equal(first, rendered(case, scratch))


def test_a_position_on_the_image_s_border_is_shown_by_reference_and_kernel_alike() -> None:
    """After a quarter turn centres fall exactly on borders; a fused product would move them by the last bit, to the other side."""
    coded = np.full((2, 33), 200, np.uint8)
    case = Case(coded, tuple(IDENTITY), (10, 53), {"full": (7, 132), "level": 2, "angle": 90.0})
    assert (case.expected()[0, :, 21] == 1).any()
    case.assert_close(rendered(case))
    with pytest.raises(ValueError, match="angle"):
        prepare.samples(8, 8, angle=np.nan)
