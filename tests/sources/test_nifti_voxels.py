"""Volumes come block by block, the same whatever the way: plain, gzipped and kept, gzipped and read twice."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from radload.sources import Refused, Slice, nifti_voxels, read

VOLUME = np.random.default_rng(1).integers(-500, 500, (5, 4, 3, 2)).astype(np.int16)


def slices(path: Path, axis: int) -> list[np.ndarray]:
    found = []
    for piece in read(path, nifti_axis=axis):
        assert isinstance(piece, Slice)
        found.append(piece.stored)
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at_once", [1 << 28, 0])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_are_the_same_whatever_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: int, at_once: int, suffix: str
) -> None:
    monkeypatch.setattr(nifti_voxels, "_AT_ONCE", at_once)
    path = tmp_path / f"a{suffix}"
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), path)
    expected = [np.take(VOLUME[..., time], k, axis).T for time in range(2) for k in range(VOLUME.shape[axis])]
    for got, wanted in zip(slices(path, axis), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("at_once", [1 << 28, 0])
@pytest.mark.parametrize(("damage", "code"), [("flip", "bad-checksum"), ("cut", "truncated"), ("short", "truncated")])
def test_a_damaged_stream_gives_no_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, damage: str, code: str
) -> None:
    monkeypatch.setattr(nifti_voxels, "_AT_ONCE", at_once)
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), path)
    whole = path.read_bytes()
    packed = bytearray(gzip.compress(whole[:-2] if damage == "short" else whole, 0))
    if damage == "flip":
        packed[-20] ^= 1
    path = tmp_path / "b.nii.gz"
    path.write_bytes(packed[:-9] if damage == "cut" else packed)
    got = []
    with pytest.raises(Refused) as refused:
        for piece in read(path):
            got.append(piece)
    assert refused.value.code == code and not got
