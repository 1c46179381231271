"""The fidelity table measures what loaders deliver, and no reduced level is further from the full image than is written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fidelity
import numpy as np
import pytest
from fidelity import Fidelity, measure, table
from make import Image, Series, write_dataset
from numpy.typing import NDArray

from radload.demo import ct
from radload.demo.shapes import Grid
from radload.loading import Loader
from radload.pack import PackOptions, pack

SIDE, COUNT = 256, 4


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four chest phantoms of 256 x 256 with the noise of a scanner, HU + 1024."""
    rng = np.random.default_rng(3)
    grid = Grid(SIDE, SIDE, 1.3, 1.3)
    series = []
    for _ in range(COUNT):
        patient = ct.chest(rng, 40, nodule=True)
        stored = (np.rint(ct.slice_hu(patient, grid, 0.0, rng)) + 1024).clip(0, 4095).astype(np.int16)
        series.append(Series([Image(stored, intercept=-1024.0)], body_part="CHEST"))
    return write_dataset(tmp_path_factory.mktemp("fidelity") / "shards", series)


def delivered(root: Path, **options: Any) -> NDArray[np.float64]:
    """y of all images by row, from a Loader."""
    fixed: dict[str, Any] = {
        "window": "soft_tissue",
        "channels": 1,
        "size": 112,
        "mean": 0.0,
        "std": 1.0,
        "shuffle": False,
    }
    with Loader(root, batch_size=COUNT, **fixed, **options) as loader:
        return next(iter(loader))["image"].numpy().astype(np.float64)


@pytest.mark.parametrize(("slack", "level"), [(1.0, 1), (2.0, 2)])
def test_it_measures_what_loaders_deliver(phantoms: Path, slack: float, level: int) -> None:
    error = np.abs(delivered(phantoms, level_slack=slack) - delivered(phantoms, resolution="full"))
    (found,) = [one for one in measure(phantoms, [112], [slack]) if one.window == "soft_tissue"]
    assert found.levels == {level: COUNT} and (found.images, found.of) == (COUNT, COUNT)
    assert found.mean == pytest.approx(error.mean(), rel=1e-4)
    assert found.psnr == pytest.approx(-10 * np.log10(np.square(error).mean()), abs=1e-3)
    assert found.p999 == pytest.approx(np.quantile(error, 0.999), rel=1e-3)


PHANTOM_BOUNDS: dict[tuple[str, float], float] = {
    # (window, slack) -> dB at 112 pixels
    ("brain", 1.0): 27.2,
    ("liver", 1.0): 29.8,
    ("soft_tissue", 1.0): 34.1,
    ("lung", 1.0): 41.5,
    ("bone", 1.0): 43.5,
    ("broad", 1.0): 43.8,
    ("brain", 2.0): 19.5,
    ("liver", 2.0): 21.3,
    ("soft_tissue", 2.0): 24.9,
    ("lung", 2.0): 30.2,
    ("bone", 2.0): 34.1,
    ("broad", 2.0): 32.5,
}


def by_window(found: list[Fidelity]) -> dict[tuple[str, float], Fidelity]:
    return {(one.window, one.slack): one for one in found}


def test_phantoms_keep_their_fidelity(phantoms: Path) -> None:
    """Lower bounds, 1 dB under what was measured; and narrower windows and deeper levels are worse, as the rules assume."""
    found = by_window(measure(phantoms, [112], [1.0, 2.0]))
    assert {window for window, _ in found} == set(fidelity.CT_WINDOWS)
    for (window, slack), bound in PHANTOM_BOUNDS.items():
        assert found[window, slack].psnr > bound, (window, slack)
    for slack in (1.0, 2.0):
        order = [found[window, slack].psnr for window in ("brain", "liver", "soft_tissue", "lung")]
        assert order == sorted(order)
    assert all(found[window, 1.0].psnr > found[window, 2.0].psnr for window in fidelity.CT_WINDOWS)


def test_the_table_has_a_line_per_window_and_size(phantoms: Path) -> None:
    lines = table(measure(phantoms, [112, 256], [1.0, 1.5, 2.0]), [1.0, 1.5, 2.0])
    assert len(lines) == 2 + 2 * len(fidelity.CT_WINDOWS)
    assert lines[2].count("|") == 7 and "80 HU, brain" in lines[2]
    (large,) = [line for line in lines if "| 80 HU, brain | 256 |" in line]
    assert large.count("all in full") == 2  # 256 from 256: only a slack of 2 allows the half level


REAL_BOUNDS: dict[tuple[str, str, float], float] = {
    # (modality, window, slack) -> dB at 224 pixels, 1 under what was measured
    ("CT", "brain", 1.0): 26.2,
    ("CT", "liver", 1.0): 27.9,
    ("CT", "soft_tissue", 1.0): 31.2,
    ("CT", "lung", 1.0): 39.5,
    ("CT", "bone", 1.0): 40.7,
    ("CT", "broad", 1.0): 41.2,
    ("CT", "soft_tissue", 1.5): 31.2,
    ("CT", "soft_tissue", 2.0): 24.2,
    ("CT", "lung", 2.0): 30.0,
    ("CR", "recipe", 1.0): 50.6,
    ("CR", "recipe", 1.5): 47.1,
    ("DX", "recipe", 1.0): 43.9,
    ("MG", "recipe", 1.0): 53.0,
    ("MG", "recipe", 1.5): 43.5,
    ("MR", "recipe", 1.0): 41.8,
    ("MR", "recipe", 1.5): 37.4,
    ("NM", "recipe", 2.0): 44.7,
    ("SC", "recipe", 2.0): 37.0,
    ("US", "recipe", 1.0): 33.3,
    ("US", "recipe", 1.5): 31.9,
    ("XA", "recipe", 1.5): 49.2,
}


def test_real_files_keep_their_fidelity(
    shared_data: Path, all_decided: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every modality that comes in images large enough for a level at 224 pixels."""
    out = tmp_path_factory.mktemp("real") / "shards"
    pack(PackOptions(shared_data, out, decisions=all_decided))
    found = {(one.kind, one.window, one.slack): one for one in measure(out, [224], [1.0, 1.5, 2.0], limit=12)}
    for kind, bound in REAL_BOUNDS.items():
        assert found[kind].psnr > bound, (kind, found[kind])
