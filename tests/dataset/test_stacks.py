"""Stacks are found again from the index: orientation, phase, place, size; whatever else stands beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make import Image, Series, write_dataset
from numpy.typing import NDArray

from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.stacks import Stacks, find_stacks, vectors
from radload.pack.stacks import _SAME_PLACE, _SAME_STACK

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # normal +z
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)  # normal +y


def at(z: float | None, orientation: Any = AXIAL, shape: tuple[int, int] = (4, 5), spacing: float = 0.5) -> Image:
    """A slice at z (or y, if coronal) millimetres; None: unknown."""
    position = None if z is None else (1.0, 2.0, z) if orientation == AXIAL else (1.0, z, 2.0)
    return Image(
        np.zeros(shape, np.int16),
        spacing=(spacing, spacing),
        position=position,
        orientation=None if z is None else orientation,
    )


def index_of(folder: Path, *series: Series) -> Index:
    root = write_dataset(folder / "d", list(series))
    return open_index(root, read_manifest(root))


def found(folder: Path, *series: Series) -> Stacks:
    index = index_of(folder, *series)
    return find_stacks(index, range(len(index.records)))


def test_the_packer_s_limits_are_ours() -> None:
    from radload.dataset import stacks

    assert (stacks.SAME_NORMAL, stacks.SAME_PLACE) == (_SAME_STACK, _SAME_PLACE)


ONE_STACK: dict[str, list[Image]] = {
    "even": [at(z) for z in (0, 1, 2, 3)],
    "a gap": [at(z) for z in (0, 1, 7, 8)],
    "copies at one place": [at(z) for z in (0, 1, 1, 2)],
    "a NIfTI volume that grows against its normal": [at(-z) for z in (0, 1, 2, 3)],
    "no positions": [at(None) for _ in range(4)],
    "spacing written with fewer digits": [at(0, spacing=0.703125), at(1, spacing=0.703)],
    "normals that wobble": [at(0), at(1, (1.0, 0.0, 0.0, 0.0, 0.998, 0.0632))],
}


@pytest.mark.parametrize("images", ONE_STACK.values(), ids=ONE_STACK)
def test_one_stack(tmp_path: Path, images: list[Image]) -> None:
    assert found(tmp_path, Series(images)).number.tolist() == [0] * len(images)


SEVERAL: dict[str, tuple[list[Image], list[int], dict[str, Any]]] = {
    "two orientations": ([at(0), at(1), at(5, CORONAL), at(6, CORONAL)], [0, 0, 1, 1], {}),
    "two phases": ([at(z) for z in (0, 1, 2, 0, 1, 2)], [0, 0, 0, 1, 1, 1], {"phases": 2}),
    "a 4-D volume against its normal": ([at(-z) for z in (0, 1, 0, 1, 0, 1)], [0, 0, 1, 1, 2, 2], {}),
    "time points of one place": ([at(3.0) for _ in range(3)], [0, 1, 2], {"phases": 3}),
    "positions that are not all known": ([at(0), at(1), at(None), at(None)], [0, 0, 1, 1], {}),
    "another size": ([at(0), at(1, shape=(5, 5)), at(2, shape=(5, 5))], [0, 1, 1], {}),
    "another spacing": ([at(0), at(1), at(2, spacing=0.6)], [0, 0, 1], {}),
}


@pytest.mark.parametrize(("images", "number", "columns"), SEVERAL.values(), ids=SEVERAL)
def test_several_stacks(tmp_path: Path, images: list[Image], number: list[int], columns: dict[str, Any]) -> None:
    assert found(tmp_path, Series(images, columns=columns)).number.tolist() == number


def test_series_never_share_a_stack_and_a_part_is_found_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    kinds = [*(images for images in ONE_STACK.values()), *(images for images, _, _ in SEVERAL.values())]
    series = [Series(kinds[i], columns={"phases": int(rng.integers(0, 4))}) for i in rng.permutation(len(kinds))]
    index = index_of(tmp_path, *series)
    whole = find_stacks(index, range(len(index.records)))
    for one in index.series:
        first, stop = int(one["first_row"]), int(one["first_row"]) + int(one["count"])
        alone = find_stacks(index, range(first, stop))
        assert np.array_equal(alone.number, whole.number[first:stop] - whole.number[first])
        assert np.allclose(alone.along, whole.along[first:stop], atol=1e-9, equal_nan=True)
        assert stop == len(whole.number) or whole.number[stop] == whole.number[stop - 1] + 1


def test_millimetres_count_from_the_first_slice_of_a_stack(tmp_path: Path) -> None:
    images = [at(5.0), at(7.5), at(7.5), at(15.0), at(-3, CORONAL), at(-1, CORONAL)]
    stacks = found(tmp_path, Series(images), Series([at(None), at(None)]), Series([at(-2.0), at(-6.0)]))
    expected: NDArray[np.float64] = np.array([0, 2.5, 2.5, 10, 0, 2, np.nan, np.nan, 0, 4])
    assert np.allclose(stacks.along, expected, equal_nan=True)
    first, last = stacks.bounds()
    assert first.tolist() == [0, 0, 0, 0, 4, 4, 6, 6, 8, 8] and last.tolist() == [3, 3, 3, 3, 5, 5, 7, 7, 9, 9]


def test_a_slice_spacing_stands_in_for_positions(tmp_path: Path) -> None:
    volume = Series([at(None) for _ in range(4)], columns={"slice_spacing": 3.0})
    stacks = found(tmp_path, volume, Series([at(1.0), at(2.0)]), Series([at(None), at(None)]))
    want = [0, 3, 6, 9, 0, 1, np.nan, np.nan]
    assert np.allclose(stacks.along, want, equal_nan=True) and stacks.number.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


def test_vectors_with_holes(tmp_path: Path) -> None:
    index = index_of(tmp_path, Series([at(None), at(1), at(None), at(3)]))
    for rows in (range(4), range(1, 3), range(3, 4), range(1)):
        positions = vectors(index, "image_position", rows)
        want = [[1.0, 2.0, float(row)] if row % 2 else [np.nan] * 3 for row in rows]
        assert np.array_equal(positions, np.array(want), equal_nan=True)


def test_nothing(tmp_path: Path) -> None:
    stacks = find_stacks(index_of(tmp_path, Series([at(0)])), range(0))
    assert len(stacks.number) == len(stacks.along) == 0 and [len(b) for b in stacks.bounds()] == [0, 0]
