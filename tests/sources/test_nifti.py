"""A NIfTI volume is cut, scaled and placed as its header says, and damaged bytes never become pixels."""

from __future__ import annotations

import gzip
import itertools
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
    """Rule 36: the axis to cut along is chosen, never guessed."""
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
    """Rules 33 and 35: oblique and mirrored affines; RAS becomes LPS by the signs of x and y."""
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
    """Rule 36: frame = k + n * t."""
    volume = np.arange(2 * 2 * 3 * 2, dtype=np.int16).reshape(2, 2, 3, 2)
    path = save(tmp_path / "a.nii", volume)
    assert scan(path, "a.nii").positions is None
    pieces = slices(path)
    assert [piece.frame for piece in pieces] == list(range(6))
    assert np.array_equal(pieces[4].stored, volume[:, :, 1, 1].T)


def test_values_keep_their_type_in_either_byte_order(tmp_path: Path) -> None:
    """Rule 36: big-endian and little-endian headers."""
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
    """Rule 34: value = scl_slope * raw + scl_inter, unless the slope is 0 or no number."""
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
    """Rule 36: RGB24 and RGBA32."""
    values = np.arange(2 * 2 * 2 * 4, dtype=np.uint8)
    for names, exact in (("RGB", True), ("RGBA", False)):
        dtype = np.dtype([(name, "u1") for name in names])
        volume = values[: 8 * len(names)].view(dtype).reshape(2, 2, 2)
        path = save(tmp_path / "a.nii", volume)
        piece = slices(path)[1]
        assert (piece.stored.shape, piece.photometric, piece.exact) == ((2, 2, 3), "RGB", exact)
        assert piece.stored[1, 0].tolist() == [int(volume[0, 1, 1][name]) for name in "RGB"]
        assert scan(path, "a").channels == 3


@pytest.mark.parametrize(("kind", "real"), [("c8", "f4"), ("c16", "f8")])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("scale", [(1.0, 0.0), (2.5, -10.0), (0.0, 5.0)])
def test_complex_numbers_become_their_magnitude(
    tmp_path: Path, kind: str, real: str, order: str, scale: tuple[float, float]
) -> None:
    """Rule 36: scaled first, then the magnitude; not exact, and no slope is left to apply."""
    rng = np.random.default_rng(0)
    volume = (rng.normal(size=(3, 4, 2)) + 1j * rng.normal(size=(3, 4, 2))).astype(order + kind)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(volume.dtype)
    image = nib.Nifti1Image(volume, np.eye(4), header)
    image.header.set_slope_inter(1, 0)
    image.to_filename(tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array(scale, dtype=f"{order}f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    pieces = slices(tmp_path / "a.nii")
    header = scan(tmp_path / "a.nii", "a.nii")
    assert (header.bits, header.frames) == (8 * int(real[1]), 2)
    slope, intercept = scale if scale[0] else (1.0, 0.0)
    for frame, piece in enumerate(pieces):
        assert (piece.stored.dtype, piece.exact, piece.slope, piece.intercept) == (np.dtype(real), False, 1.0, 0.0)
        expected = np.abs(volume[:, :, frame].T.astype(np.complex128) * slope + intercept)
        np.testing.assert_allclose(piece.stored, expected, rtol=1e-6 if real == "f4" else 1e-14)


@pytest.mark.parametrize("code", [16, 1536, 2048])
def test_floats_of_unusual_width_are_refused(tmp_path: Path, code: int) -> None:
    """Rule 36: float128 (1536) and complex256 (2048) are refused by name; float32 (16) of the same file is read."""
    path = save(tmp_path / "a.nii", np.zeros((4, 4, 16), dtype=np.float32))
    data = bytearray(path.read_bytes())
    data[70:74] = np.array([code, {16: 32, 1536: 128, 2048: 256}[code]], dtype="<i2").tobytes()
    path.write_bytes(data)
    if code == 16:
        assert len(slices(path)) == 16
        return
    with pytest.raises(Refused, match="unsupported-dtype"):
        scan(path, "a.nii")


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    """Rule 36: a header without its voxels."""
    header = tmp_path / "only.hdr.gz"
    header.write_bytes((GOLDEN / "nifti-rs__minimal.hdr.gz").read_bytes())
    with pytest.raises(Refused, match="missing-part"):
        scan(header, "only.hdr.gz")


def test_nifti_2_and_flat_images(tmp_path: Path) -> None:
    """Rule 36: the 540-byte header; one plane is one slice along whatever axis."""
    volume = np.arange(6, dtype=np.int32).reshape(2, 3)
    path = save(tmp_path / "a.nii", volume, kind=nib.Nifti2Image)
    for axis in (0, 1, 2):  # a flat image is one slice along whatever axis
        assert [piece.stored.tolist() for piece in slices(path, axis)] == [volume.T.tolist()]


@pytest.mark.parametrize("inter", [float("nan"), float("inf")])
def test_a_finite_slope_with_a_bad_intercept_is_refused(tmp_path: Path, inter: float) -> None:
    """Rule 34: the values would be wrong by an unknown number."""
    data = bytearray((GOLDEN / "int16_slope_2p5_inter_m10.nii").read_bytes())
    data[116:120] = np.array(inter, dtype="<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(Refused, match="bad-header"):
        list(read(tmp_path / "a.nii"))


@pytest.mark.parametrize(("sform", "qform", "expected"), [(1, 1, "sform"), (0, 1, "qform"), (0, 0, None)])
def test_sform_goes_before_qform(tmp_path: Path, sform: int, qform: int, expected: str | None) -> None:
    """Rule 35: sform, else qform, else no position at all; spacing is there in any case."""
    image = nib.Nifti1Image(np.zeros((4, 5, 6), dtype=np.uint8), np.eye(4))
    image.header.set_slope_inter(1, 0)
    image.set_sform(np.diag([-2.0, 3.0, 4.0, 1.0]) + np.outer([1, 2, 3, 0], [0, 0, 0, 1.0]), code=sform)
    image.set_qform(np.diag([2.0, 3.0, 4.0, 1.0]) + np.outer([7, 8, 9, 0], [0, 0, 0, 1.0]), code=qform)
    image.to_filename(tmp_path / "a.nii")
    piece = slices(tmp_path / "a.nii")[1]
    assert piece.position == {"sform": (-1, -2, 7), "qform": (-7, -8, 13), None: None}[expected]
    assert piece.orientation == {"sform": (1, 0, 0, 0, -1, 0), "qform": (-1, 0, 0, 0, -1, 0), None: None}[expected]
    assert piece.spacing == (3, 2)


def test_every_order_and_sign_of_axes(tmp_path: Path) -> None:
    """Rules 33 and 35: all 48 ways to lay voxels along the patient's axes put a marked voxel where it was."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.zeros((4, 4))
            for axis, (to, sign) in enumerate(zip(order, signs, strict=True)):
                affine[to, axis] = sign * (axis + 1.0)
            affine[:3, 3], affine[3, 3] = (10, 20, 30), 1
            volume = np.zeros((3, 4, 5), dtype=np.uint8)
            volume[1, 2, 3] = 9
            piece = slices(save(tmp_path / "a.nii", volume, affine))[3]
            ((row, col),) = np.argwhere(piece.stored == 9)
            assert piece.position is not None and piece.orientation is not None and piece.spacing is not None
            step = np.array(piece.orientation).reshape(2, 3) * np.array(piece.spacing)[::-1, None]
            lps = np.array(piece.position) + step[0] * col + step[1] * row
            np.testing.assert_allclose(lps, [-1, -1, 1] * (affine @ [1, 2, 3, 1])[:3], atol=1e-4)


def test_a_gzipped_volume_is_inflated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 37: all slices are cut in one pass."""
    path = save(tmp_path / "a.nii.gz", np.arange(4 * 5 * 30, dtype=np.int16).reshape(4, 5, 30))
    opened = []
    original = gzip.open
    monkeypatch.setattr("radload.sources.nifti_voxels.gzip.open", lambda *args: opened.append(1) or original(*args))
    assert len(slices(path)) == 30
    assert len(opened) == 1


def test_converters_that_scale_and_that_do_not_give_the_same_values(tmp_path: Path) -> None:
    """Rule 38: one baked the rescale into floats, one kept it as a slope: stored values differ, modality values do not."""
    raw = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    kept = nib.Nifti1Image(raw, np.eye(4))
    kept.header.set_slope_inter(2.5, -1000)
    kept.to_filename(tmp_path / "kept.nii")
    data = bytearray((tmp_path / "kept.nii").read_bytes())
    data[352:] = raw.astype("<i2").tobytes(order="F")  # nibabel scales when it writes
    (tmp_path / "kept.nii").write_bytes(data)
    baked = save(tmp_path / "baked.nii", (raw * 2.5 - 1000).astype(np.float32))
    for one, other in zip(slices(tmp_path / "kept.nii"), slices(baked), strict=True):
        assert one.stored.dtype != other.stored.dtype
        np.testing.assert_array_equal(one.modality(), other.modality())


def test_five_dimensions_and_an_extension_before_the_voxels(tmp_path: Path) -> None:
    """Rule 36: a vector axis follows time; voxels begin at vox_offset, behind header extensions."""
    volume = np.arange(2 * 3 * 2 * 2 * 3, dtype=np.int16).reshape(2, 3, 2, 2, 3)
    image = nib.Nifti1Image(volume, np.eye(4))
    image.header.set_slope_inter(1, 0)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    image.to_filename(tmp_path / "a.nii")
    pieces = slices(tmp_path / "a.nii")
    flat = volume.reshape(2, 3, -1, order="F")
    assert len(pieces) == 12
    for frame, piece in enumerate(pieces):
        np.testing.assert_array_equal(piece.stored, flat[:, :, frame].T)


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
