"""A NIfTI volume is cut, scaled and placed as its header says, and damaged bytes never become pixels."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_golden import GOLDEN

from radload.sources import Refused, Slice, few_values, read, scan


def save(path: Path, volume: np.ndarray, affine: np.ndarray | None = None, kind: type = nib.Nifti1Image) -> Path:
    image = kind(volume, np.eye(4) if affine is None else affine)
    image.header.set_slope_inter(1, 0)
    image.to_filename(path)
    return path


def slices(path: Path, axis: int = 2) -> list[Slice]:
    pieces = list(read(path, nifti_axis=axis))
    assert all(isinstance(piece, Slice) for piece in pieces)
    return [piece for piece in pieces if isinstance(piece, Slice)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_follow_the_later_axis(tmp_path: Path, axis: int) -> None:
    volume = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    path = save(tmp_path / "a.nii", volume)
    pieces = slices(path, axis)
    header = scan(path, "a.nii", nifti_axis=axis)
    assert (header.frames, header.rows, header.cols) == (volume.shape[axis], *pieces[0].stored.shape)
    for frame, piece in enumerate(pieces):
        assert np.array_equal(piece.stored, np.take(volume, frame, axis=axis).T)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), axis=st.sampled_from([0, 1, 2]))
def test_a_voxel_lies_where_the_affine_puts_it(tmp_path: Path, seed: int, axis: int) -> None:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.3, 5, size=3)
    affine[:3, 3] = rng.uniform(-100, 100, size=3)
    path = save(tmp_path / "a.nii", np.zeros((4, 5, 6), dtype=np.uint8), affine)
    piece = slices(path, axis)[2]
    assert piece.position is not None
    assert piece.orientation is not None
    assert piece.spacing is not None
    row, col = 1, 3
    along_row, along_column = np.array(piece.orientation[:3]), np.array(piece.orientation[3:])
    lps = np.array(piece.position) + along_row * piece.spacing[1] * col + along_column * piece.spacing[0] * row
    voxel = np.insert(np.array([col, row]), axis, 2)  # columns follow the earlier of the two axes
    ras = (affine @ np.append(voxel, 1))[:3]
    assert np.allclose(lps * [-1, -1, 1], ras, atol=1e-3)
    header = scan(path, "a.nii", nifti_axis=axis)
    assert header.positions is not None
    steps = np.diff(header.positions)
    assert np.allclose(np.abs(steps), np.linalg.norm(affine[:3, axis]), rtol=1e-4)


def test_volumes_of_a_4d_file_follow_one_another(tmp_path: Path) -> None:
    volume = np.arange(2 * 2 * 3 * 2, dtype=np.int16).reshape(2, 2, 3, 2)
    path = save(tmp_path / "a.nii", volume)
    assert scan(path, "a.nii").positions is None
    pieces = slices(path)
    assert [piece.frame for piece in pieces] == list(range(6))
    assert np.array_equal(pieces[4].stored, volume[:, :, 1, 1].T)


def test_values_keep_their_type_in_either_byte_order(tmp_path: Path) -> None:
    for code in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
        for order in "<>":
            volume = np.arange(8).reshape(2, 2, 2).astype(order + code)
            header = nib.Nifti1Header(endianness=order)
            header.set_data_dtype(volume.dtype)
            image = nib.Nifti1Image(volume, np.eye(4), header)
            path = tmp_path / "a.nii"
            image.header.set_slope_inter(1, 0)
            image.to_filename(path)
            piece = slices(path)[1]
            assert piece.stored.dtype == np.dtype(code)
            assert piece.stored.dtype.isnative
            assert np.array_equal(piece.stored, volume[:, :, 1].T)


def test_slope_zero_and_nan_mean_no_scaling(tmp_path: Path) -> None:
    path = GOLDEN / "int16_slope_2p5_inter_m10.nii"
    assert (slices(path)[0].slope, slices(path)[0].intercept) == (2.5, -10.0)
    for slope, inter in ((0.0, 5.0), (float("nan"), float("nan"))):
        data = bytearray(path.read_bytes())
        data[112:120] = np.array([slope, inter], dtype="<f4").tobytes()
        (tmp_path / "a.nii").write_bytes(data)
        assert (slices(tmp_path / "a.nii")[0].slope, slices(tmp_path / "a.nii")[0].intercept) == (1.0, 0.0)


def test_a_flipped_byte_or_a_cut_in_a_gzip_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plain = save(tmp_path / "a.nii", rng.integers(0, 1000, (16, 16, 8)).astype(np.int16)).read_bytes()
    packed = gzip.compress(plain)
    path = tmp_path / "b.nii.gz"
    for position in (len(packed) // 3, len(packed) // 2, len(packed) - 6):
        path.write_bytes(packed[:position] + bytes([packed[position] ^ 1]) + packed[position + 1 :])
        with pytest.raises(Refused, match=r"bad-checksum|truncated"):
            list(read(path))
    for length in (len(packed) // 2, len(packed) - 1, len(packed) - 8):
        path.write_bytes(packed[:length])
        with pytest.raises(Refused, match="truncated"):
            list(read(path))
    (tmp_path / "a.nii").write_bytes(plain[:-1])
    with pytest.raises(Refused, match="truncated"):
        scan(tmp_path / "a.nii", "a.nii")


def test_colour_has_three_channels_and_alpha_is_dropped(tmp_path: Path) -> None:
    values = np.arange(2 * 2 * 2 * 4, dtype=np.uint8)
    for names, exact in (("RGB", True), ("RGBA", False)):
        dtype = np.dtype([(name, "u1") for name in names])
        volume = values[: 8 * len(names)].view(dtype).reshape(2, 2, 2)
        path = save(tmp_path / "a.nii", volume)
        piece = slices(path)[1]
        assert (piece.stored.shape, piece.photometric, piece.exact) == ((2, 2, 3), "RGB", exact)
        assert piece.stored[1, 0].tolist() == [int(volume[0, 1, 1][name]) for name in "RGB"]
        assert scan(path, "a").channels == 3


def test_complex_values_are_refused_and_half_a_pair_too(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="unsupported-dtype"):
        scan(save(tmp_path / "a.nii", np.zeros((2, 2, 2), dtype=np.complex64)), "a")
    header = tmp_path / "only.hdr.gz"
    header.write_bytes((GOLDEN / "nifti-rs__minimal.hdr.gz").read_bytes())
    with pytest.raises(Refused, match="missing-part"):
        scan(header, "only.hdr.gz")


def test_nifti_2_and_flat_images(tmp_path: Path) -> None:
    volume = np.arange(6, dtype=np.int32).reshape(2, 3)
    path = save(tmp_path / "a.nii", volume, kind=nib.Nifti2Image)
    for axis in (0, 1, 2):  # a flat image is one slice along whatever axis
        assert [piece.stored.tolist() for piece in slices(path, axis)] == [volume.T.tolist()]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".img"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">u2", "<i4", "<f4", "<f8"])
def test_few_values_are_all_values_where_there_are_few(tmp_path: Path, dtype: str, suffix: str) -> None:
    labels = np.zeros((50, 60, 70), dtype)
    labels[10:20], labels[-1, -1, -1] = 3, 100  # the last voxel lies in the last block
    kind = nib.Nifti1Pair if suffix == ".img" else nib.Nifti1Image
    save(tmp_path / f"a{suffix}", labels, kind=kind)
    path = tmp_path / f"a{suffix.replace('img', 'hdr')}"
    assert few_values(path, 3) == (0, 3, 100)
    assert few_values(path, 2) == ()


@pytest.mark.parametrize(
    "values",
    [
        np.array([[[0, -1]]], np.int16),
        np.array([[[0, 70000]]], np.int32),
        np.array([[[0, 0.5]]], np.float32),
        np.array([[[0, np.nan]]], np.float32),
        np.array([[[0, np.inf]]], np.float64),
        np.array([[[(0, 0, 1)]]], [("R", "u1"), ("G", "u1"), ("B", "u1")]),
    ],
)
def test_other_values_are_never_few(tmp_path: Path, values: np.ndarray) -> None:
    image = nib.Nifti1Image(values, np.eye(4))
    image.to_filename(tmp_path / "a.nii")
    assert few_values(tmp_path / "a.nii", 16) == ()


def test_scaled_and_damaged_files_have_no_few_values(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((40, 40, 40), np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 0)
    image.to_filename(tmp_path / "scaled.nii")
    assert few_values(tmp_path / "scaled.nii", 16) == ()
    whole = save(tmp_path / "whole.nii.gz", np.random.default_rng(0).integers(0, 3, (40, 40, 40)).astype(np.uint8))
    assert few_values(whole, 16) == (0, 1, 2)
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:-200])
    assert few_values(tmp_path / "cut.nii.gz", 16) == ()
    (tmp_path / "text.nii").write_text("no header")
    assert few_values(tmp_path / "text.nii", 16) == () == few_values(tmp_path / "absent.nii", 16)
