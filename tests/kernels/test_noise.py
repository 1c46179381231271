"""Noise is the counter's, the same in every plane, and normal; gamma is a power; neither changes anything that it was not asked for."""

from __future__ import annotations

import numpy as np
import pytest

from radload.kernels import cpu, noise, prepare
from radload.kernels.philox import normals
from radload.kernels.prepare import Voi

NORM = prepare.normalisation([0.5, 0.1], [0.25, 0.5])


def test_golden() -> None:
    """Changing these changes the noise of every run that is resumed."""
    found = normals((0x12345678, 0x9ABCDEF0), 6)
    assert np.allclose(found, GOLDEN, rtol=0, atol=1e-12)


GOLDEN = [
    2.710860635522736,
    -1.388810838707655,
    -0.05573367917700295,
    0.458788115100145,
    -0.15439632915927165,
    0.37786287766598226,
]


def test_the_first_numbers_do_not_depend_on_how_many_are_asked_for() -> None:
    whole = normals((5, 9), 1003)
    for count in (1, 2, 3, 4, 5, 1000):
        assert np.array_equal(normals((5, 9), count), whole[:count])
    assert not np.any(normals((5, 10), 1003) == whole) and not np.any(normals((6, 9), 1003) == whole)


def test_normal() -> None:
    found = normals((1, 2), 400_000)
    assert abs(found.mean()) < 0.005 and abs(found.std() - 1) < 0.004
    for limit, share in ((1.0, 0.317311), (2.0, 0.045500), (3.0, 0.002700)):
        assert abs((np.abs(found) > limit).mean() - share) < 4 * np.sqrt(share / 400_000)
    assert (
        abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.005 and abs(np.corrcoef(found[:-4], found[4:])[0, 1]) < 0.005
    )
    assert 4 < np.abs(found).max() < 5.78


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (224, 224), (41, 513)])
def test_the_kernel_s_numbers_are_the_definition_s(size: tuple[int, int]) -> None:
    out = np.zeros((1, 2, *size), np.float32)
    noise.finish(prepare.samples(9, 9, noise=1.0, key=(2**32 - 1, 77)), NORM, out)
    want = normals((2**32 - 1, 77), size[0] * size[1]).reshape(size)
    assert np.abs(out[0, 0] * 0.25 - want).max() < 1e-6
    assert np.abs(out[0, 1] * 0.5 - want).max() < 1e-6  # the same in every plane, in units of y


def test_gamma_is_a_power_of_y() -> None:
    y = np.concatenate([[0.0, 1.0, 1e-38, 1e-7, 1.0000001], np.random.default_rng(0).random(2000)]).astype(np.float32)
    for gamma in (0.37, 0.8, 1.3, 2.7):
        out = (y * 4 - 2).reshape(1, 1, 5, -1).repeat(2, axis=1)
        out[:, 1] = (y * 2 - 0.2).reshape(5, -1)
        noise.finish(prepare.samples(9, 9, gamma=gamma), NORM, out)
        for plane, std, mean in ((0, 0.25, 0.5), (1, 0.5, 0.1)):
            found = out[0, plane].reshape(-1) * std + mean
            want = np.clip(y.astype(float), 0, 1) ** gamma
            near = np.clip(y.astype(float) + np.array([[-2e-7], [2e-7]]), 0, 1) ** gamma
            assert np.all(np.abs(found - want) < 1e-6 + np.ptp(near, axis=0))
        assert out[0, 0, 0, 0] == -2 and out[0, 0, 0, 1] == 2  # black and white stay what they are, exactly


def test_noise_reaches_outside_of_the_image_and_only_its_own_sample() -> None:
    coded = np.zeros((8, 8), np.uint16)
    samples = prepare.samples(
        8, 8, crop=(-8, -8, 24, 24), size=(12, 12), noise=[0.0, 0.1, 0.1], key=[(1, 1), (1, 1), (2, 1)]
    )
    out = np.empty((3, 2, 12, 12), np.float32)
    cpu.render_many([coded] * 3, samples, prepare.windows([Voi.LINEAR] * 2, [50, 50], [9, 9]), NORM, out)
    assert (out[0] == NORM[:, 1, None, None]).all()
    for i, key in ((1, (1, 1)), (2, (2, 1))):
        want = 0.1 * normals(key, 144).reshape(12, 12)
        assert np.abs((out[i, 0] + 2) * 0.25 - want).max() < 1e-6


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"gamma": np.nan}, {"noise": -0.1}, {"noise": np.inf}])
def test_effects_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="gamma"):
        prepare.samples(8, 8, **wrong)
