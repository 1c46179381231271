"""Promise 1: stored integers survive. Every frame that the reference decoders read comes out with exactly their sums."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from source_golden import GOLDEN, differences, path_of, rows_of

from radload.sources import CODES, NotAnImage, PartOf, Refused, Slice, read, scan

# Rows of the big folder that radload answers otherwise than the reference, and why.
DATA_HALVES = ("nifti/nifti-rs__minimal.img", "nifti/nifti-rs__minimal.img.gz")
COMPLEX = ("nifti/nifti-rs__complex_complex32.nii", "nifti/nifti-rs__complex_complex64.nii")  # read as magnitudes
READ_AFTER_ALL = (
    "nondicom/highdicom__frame_rgb.jpeg",  # no DICOM, but a JPEG
    "broken/pydicom-data__liver_deflate.dcm",  # Deflated Image Frame Compression, which the reference did not know
)
SOME_FRAMES = ("broken/fo-dicom__multiframe.dcm", "broken/pydicom-data__emri_small_jpeg_2k_lossless_too_short.dcm")


def _mismatch(folder: Path, file: str, rows: list[dict[str, str]]) -> list[str]:
    path = path_of(folder, file)
    try:
        header = scan(path, file)
        pieces = list(read(path, header))
    except Refused as refused:
        return [f"{file}: {refused}"]
    refused_frames = [f"{file} frame {piece[0]}: {piece[1]}" for piece in pieces if not isinstance(piece, Slice)]
    slices = [piece for piece in pieces if isinstance(piece, Slice)]
    if len(pieces) != header.frames:
        refused_frames.append(f"{file}: {len(pieces)} frames, the header said {header.frames}")
    if (
        not slices[0].exact and header.format == "nifti"
    ):  # RGBA32: the reference's sums hold the alpha that is dropped here
        return refused_frames
    return refused_frames + differences(slices, rows, header.format == "nifti")


def test_committed_files_and_those_of_the_pydicom_package() -> None:
    golden = rows_of(GOLDEN)
    wrong = [line for file, rows in golden.items() for line in _mismatch(GOLDEN, file, rows)]
    assert not wrong, "\n".join(wrong)
    assert len(golden) > 90
    committed = [
        path for path in GOLDEN.iterdir() if path.suffix not in (".csv", ".md", ".gz") or path.name.endswith("i.gz")
    ]
    assert {path.name for path in committed} <= set(golden)


def test_every_row_of_the_big_folder(shared_data: Path) -> None:
    with (shared_data / "INDEX.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    golden = rows_of(shared_data)
    wrong, compared = [], 0
    for row in index:
        if row["expect"] == "decodes" and row["file"] not in (*DATA_HALVES, *COMPLEX):
            compared += 1
            wrong += _mismatch(shared_data, row["file"], golden[row["file"]])
    assert not wrong, "\n".join(wrong[:20])
    assert compared > 700


def test_complex_volumes_are_their_magnitude(shared_data: Path) -> None:
    """Rule 36: the golden table holds complex sums; a shard holds the magnitude, and says that it is not exact."""
    golden = rows_of(shared_data)
    for name, dtype in zip(COMPLEX, ("f4", "f8"), strict=True):
        volume = np.asanyarray(nibabel.load(shared_data / name).dataobj)
        assert abs(volume.sum() - complex(golden[name][0]["sum_stored"])) < 1e-6
        pieces = [piece for piece in read(shared_data / name) if isinstance(piece, Slice)]
        assert pieces and len(pieces) == scan(shared_data / name, name).frames
        assert all(piece.stored.dtype == np.dtype(dtype) and not piece.exact for piece in pieces)
        stored = np.stack([piece.stored.T for piece in pieces], axis=-1)
        np.testing.assert_allclose(stored.ravel(), np.abs(volume).ravel(), rtol=1e-6)


def test_modality_values_keep_their_sums_through_float32(shared_data: Path) -> None:
    """Modality sums of lossless files agree with the golden table to 1e-6 through float32, which Sample.modality() gives."""
    compared = 0
    for name, rows in rows_of(shared_data).items():
        if name in COMPLEX or name.startswith("nifti/") or rows[0]["lossy"] == "yes":
            continue
        if rows[0]["modality_source"] not in (
            "RescaleSlope/Intercept",
            "ModalityLUTSequence",
            "functional group rescale",
        ):
            continue
        pieces = {p.frame: p for p in read(path_of(shared_data, name)) if isinstance(p, Slice)}
        for row in rows:
            value = pieces[int(row["frame"])].modality()
            total = float(value.astype(np.float32).sum(dtype=np.float64))
            scale = max(abs(float(row["sum_modality"])), float(np.abs(value).sum()))  # sums of mixed signs cancel
            assert abs(total - float(row["sum_modality"])) <= 1e-6 * scale, name
            compared += 1
    assert compared > 450


def test_what_cannot_be_decoded_is_refused_or_ignored(shared_data: Path) -> None:
    with (shared_data / "INDEX.csv").open(newline="") as file:
        refused = [row["file"] for row in csv.DictReader(file) if row["expect"].startswith("refuse")]
    assert len(refused) > 60
    for name in (*refused, *DATA_HALVES):
        path = path_of(shared_data, name)
        try:
            scan(path, name)
            pieces = list(read(path))
        except Refused as reason:
            assert reason.code in CODES
            continue
        except NotAnImage:
            continue
        bad = [piece for piece in pieces if not isinstance(piece, Slice)]
        assert name in READ_AFTER_ALL or (name in SOME_FRAMES and bad), f"{name} was read"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("rtplan.dcm", "rt-object"),
        ("dicomdirtests/DICOMDIR", "dicomdir"),
        ("test-SR.dcm", "structured-report"),
        ("waveform_ecg.dcm", "waveform"),
        ("MR_truncated.dcm", "truncated"),
        ("badVR.dcm", "bad-header"),
    ],
)
def test_why_files_of_the_pydicom_package_are_refused(name: str, code: str) -> None:
    path = path_of(GOLDEN, f"pydicom:test_files/{name}")
    with pytest.raises(Refused) as scanned:
        scan(path, name)
    with pytest.raises(Refused) as reading:
        list(read(path))
    assert scanned.value.code == reading.value.code == code


def test_lossless_encodings_of_one_slice_are_equal(shared_data: Path) -> None:
    folder = shared_data / "syntaxes" / "ct_one_slice_every_syntax"
    plain = next(iter(read(folder / "cwil__CTImage.dcm")))
    assert isinstance(plain, Slice)
    equal = 0
    for path in sorted(folder.iterdir()):
        try:
            piece = next(iter(read(path)))
        except Refused:
            continue
        assert isinstance(piece, Slice)
        equal += bool(piece.stored.dtype == plain.stored.dtype and np.array_equal(piece.stored, plain.stored))
    assert equal >= 10


def test_the_data_half_of_a_pair_names_its_header() -> None:
    with pytest.raises(PartOf) as part:
        scan(GOLDEN / "nifti-rs__minimal.img.gz", "a/nifti-rs__minimal.img.gz")
    assert part.value.source == "a/nifti-rs__minimal.hdr.gz"
    assert scan(GOLDEN / "nifti-rs__minimal.hdr.gz", "a/nifti-rs__minimal.hdr.gz").parts == (
        "a/nifti-rs__minimal.img.gz",
    )
