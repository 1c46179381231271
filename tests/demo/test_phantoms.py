"""The demo's data set is the same everywhere, holds what labels.csv says, and survives every transfer syntax to the last bit."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radload import sources
from radload.demo import ct, mr, phantoms
from radload.demo.dicom_files import CODECS, SYNTAXES, Identity, Pixels, dataset, save
from radload.demo.shapes import Grid
from radload.sources import Slice


def _read(path: Path) -> list[Slice]:
    header = sources.scan(path, path.name)
    frames = list(sources.read(path, header))
    assert all(isinstance(frame, Slice) for frame in frames), frames
    return [frame for frame in frames if isinstance(frame, Slice)]


def _digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.dcm")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> phantoms.Made:
    root = tmp_path_factory.mktemp("phantoms")
    return phantoms.make(root / "dicoms", root / "labels.csv", scale=0.01, processes=1)


def test_same_files_from_any_number_of_processes(made: phantoms.Made, tmp_path: Path) -> None:
    again = phantoms.make(tmp_path / "dicoms", tmp_path / "labels.csv", scale=0.01, processes=2)
    assert _digests(again.folder) == _digests(made.folder)
    assert again.labels.read_text() == made.labels.read_text()
    assert again.classes == made.classes


def test_another_seed_makes_other_pixels(made: phantoms.Made, tmp_path: Path) -> None:
    job = phantoms.Job(tmp_path, "DX", 0, True, 1, phantoms.SLICES)
    for path, _, _ in phantoms.write_patient(job):
        other, ours = pydicom.dcmread(tmp_path / path), pydicom.dcmread(made.folder / path)
        assert other.PixelData != ours.PixelData


def test_labels_name_files_that_exist_and_every_class(made: phantoms.Made) -> None:
    with made.labels.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == set(phantoms.CLASSES)
    assert len({row["path"] for row in rows}) == len(rows)
    for row in rows:
        modality = pydicom.dcmread(made.folder / row["path"], stop_before_pixels=True).Modality
        assert {"CT": "CT", "MR": "MR", "X-ray": "DX"}[row["label"].split()[0]] == modality
    assert sum(made.classes.values()) == len(rows)


def test_series_have_the_geometry_of_a_volume(made: phantoms.Made) -> None:
    files = [pydicom.dcmread(p, stop_before_pixels=True) for p in (made.folder / "DEMO-CT-00").rglob("*.dcm")]
    assert len({ds.SeriesInstanceUID for ds in files}) == 1
    assert len({ds.SOPInstanceUID for ds in files}) == len(files) == phantoms.SLICES
    z = sorted(float(ds.ImagePositionPatient[2]) for ds in files)
    np.testing.assert_allclose(np.diff(z), ct.SLICE_MM)


@pytest.mark.parametrize("syntax", sorted(SYNTAXES))
@pytest.mark.parametrize("frames", [1, 3])
def test_every_transfer_syntax_returns_the_stored_values(syntax: str, frames: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    smooth = np.cumsum(rng.integers(-9, 10, (frames, 40, 56)), axis=2) + 2000
    stored = np.clip(smooth, 0, 4095).astype(np.uint16)
    bits = 16 if syntax == "htj2k" else 12
    pixels = Pixels(stored if frames > 1 else stored[0], bits, "MONOCHROME2", syntax)
    ds = dataset(Identity("P", 1, 1, 1), phantoms.CTImageStorage, "CT", pixels)
    save(ds, tmp_path / "image.dcm")
    got = _read(tmp_path / "image.dcm")
    assert len(got) == frames
    for slice_, want in zip(got, stored, strict=True):
        np.testing.assert_array_equal(slice_.stored, want)
        assert not slice_.lossy
    assert pydicom.dcmread(tmp_path / "image.dcm").file_meta.TransferSyntaxUID == SYNTAXES[syntax]


def test_signed_values_survive_in_the_syntaxes_used_for_them(tmp_path: Path) -> None:
    stored = (np.arange(40 * 56).reshape(40, 56) - 1100).astype(np.int16)
    for signed, bits, _, _, syntax in phantoms.CT_WRITERS:
        if not signed:
            continue
        ds = dataset(Identity("P", 1, 1, 1), phantoms.CTImageStorage, "CT", Pixels(stored, bits, "MONOCHROME2", syntax))
        save(ds, tmp_path / f"{syntax}.dcm")
        np.testing.assert_array_equal(_read(tmp_path / f"{syntax}.dcm")[0].stored, stored)
    assert {syntax for *_, syntax in phantoms.CT_WRITERS} == set(SYNTAXES)
    assert not any(signed and syntax in CODECS for signed, *_, syntax in phantoms.CT_WRITERS)


def test_enhanced_ct_keeps_rescale_and_positions_in_its_functional_groups(tmp_path: Path) -> None:
    job = phantoms.Job(tmp_path, "CT", 8, False, 0, 4)
    ((path, label, frames),) = phantoms.write_patient(job)
    assert (label, frames) == ("CT clear", 4)
    got = _read(tmp_path / path)
    assert [slice_.position[2] if slice_.position else None for slice_ in got] == [-6.0, -2.0, 2.0, 6.0]
    assert {(slice_.slope, slice_.intercept) for slice_ in got} == {(1.0, -1024.0)}
    assert all(-1100 < slice_.modality().min() < -900 < 300 < slice_.modality().max() for slice_ in got)


def test_monochrome1_and_2_mean_the_same_brightness(tmp_path: Path) -> None:
    """Number 0 writes MONOCHROME1, 1 MONOCHROME2: after inversion lungs are darker than the belly in both."""
    for number in (0, 1):
        for path, _, _ in phantoms.write_patient(phantoms.Job(tmp_path, "DX", number, False, 0, 1)):
            (slice_,) = _read(tmp_path / path)
            assert slice_.invert == (number == 0)
            value = -slice_.modality() if slice_.invert else slice_.modality()
            rows, cols = value.shape
            lung = value[int(0.4 * rows) : int(0.5 * rows), int(0.27 * cols) : int(0.33 * cols)].mean()
            belly = value[int(0.9 * rows) :, int(0.27 * cols) : int(0.33 * cols)].mean()
            assert lung < belly - 300


def test_a_nodule_is_where_the_label_says() -> None:
    """Without a nodule the same patient's slice differs only near it, by several hundred HU."""
    grid = Grid(256, 256, 1.3, 1.3)
    seen = 0
    for seed in range(6):
        patient = ct.chest(np.random.default_rng(seed), 40, nodule=True)
        assert patient.nodule is not None
        x, y, z, radius, _ = patient.nodule
        with_, without = (
            ct.slice_hu(p, grid, z, np.random.default_rng(1)) for p in (patient, replace(patient, nodule=None))
        )
        difference = np.abs(with_ - without)
        far = np.hypot(grid.x - patient.shift[0] - x, grid.y - patient.shift[1] - y) > radius + 8
        assert difference[far].max() < 20
        seen += int((difference > 400).sum() > 100)
        assert ct.shows_nodule(patient, z)
        assert not ct.shows_nodule(patient, z + radius)
    assert seen == 6


def test_mr_scale_is_that_of_the_series() -> None:
    heads = [mr.head(np.random.default_rng(seed), 40, lesion=False) for seed in range(40)]
    scales = [head.scale for head in heads]
    assert max(scales) / min(scales) > 5
    grid = Grid(96, 96, 2.4, 2.4)
    top = [np.percentile(mr.slice_signal(head, grid, 0, np.random.default_rng(0)), 99) for head in heads[:8]]
    np.testing.assert_allclose(np.corrcoef(np.log(top), np.log(scales[:8]))[0, 1], 1, atol=0.1)
