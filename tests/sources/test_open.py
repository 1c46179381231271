"""Promise 5: bad bytes cost one file. They end as slices, `Refused` or `NotAnImage`, with nothing of the file in the words."""

from __future__ import annotations

import pickle
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from source_golden import GOLDEN, path_of
from source_make import make_dicom

from radload.sources import CODES, NotAnImage, PartOf, Refused, read, scan
from radload.sources.sniff import Kind, sniff

SEEDS = [
    path_of(GOLDEN, f"pydicom:test_files/{name}")
    for name in (
        "CT_small.dcm",
        "MR_small_RLE.dcm",
        "image_dfl.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "JPGExtended.dcm",
        "MR_small_expb.dcm",
    )
] + [
    GOLDEN / name
    for name in (
        "pydicom-data__JLSL_08_07_0_1F.dcm",
        "nifti-rs__rgb_3D.nii",
        "nifti-rs__minimal_v2.nii.gz",
        "grey16.png",
    )
]
BYTES = [seed.read_bytes() for seed in SEEDS]
PIXELS = np.arange(12, dtype=np.int16).reshape(3, 4)


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, len(SEEDS) - 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans()), max_size=8),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_bytes_end_as_refused(
    tmp_path: Path, seed: int, flips: list[tuple[float, int, bool]], keep: float
) -> None:
    data = bytearray(BYTES[seed])
    for where, value, early in flips:
        data[int(where * (min(len(data), 2000) if early else len(data)))] = value
    path = tmp_path / "damaged"
    path.write_bytes(data[: int(keep * len(data))])
    for attempt in (lambda: scan(path, "damaged"), lambda: list(read(path))):
        try:
            attempt()
        except Refused as refused:
            assert refused.code in CODES
        except NotAnImage:
            pass


def test_formats_are_told_by_content_not_by_name(tmp_path: Path) -> None:
    kinds = {seed.suffix: sniff(data[:1024]) for seed, data in zip(SEEDS, BYTES, strict=True)}
    assert kinds == {".dcm": Kind.DICOM, ".nii": Kind.NIFTI, ".gz": Kind.NIFTI, ".png": Kind.PNG}
    for index, data in enumerate(BYTES):
        (tmp_path / "a.txt").write_bytes(data)
        assert scan(tmp_path / "a.txt", "a.txt").rows == scan(SEEDS[index], "a").rows


def test_a_dicom_file_without_preamble_is_recognised(tmp_path: Path) -> None:
    plain = make_dicom(tmp_path / "a.dcm", PIXELS)
    bare = tmp_path / "b.dcm"
    bare.write_bytes(plain.read_bytes()[132:])
    assert replace(scan(bare, "x"), source="") == replace(scan(plain, "y"), source="")


@pytest.mark.parametrize(
    "data", [b"hello", b"\0" * 4000, b"PK\x03\x04" + b"\1" * 500, b"\x1f\x8b" + b"\2" * 400, b"filename,label\n" * 99]
)
def test_other_files_are_ignored(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(data)
    with pytest.raises(NotAnImage):
        scan(tmp_path / "a.dcm", "a.dcm")
    with pytest.raises(NotAnImage):
        list(read(tmp_path / "a.dcm"))


def test_an_empty_file_is_refused_and_a_missing_one_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").touch()
    with pytest.raises(Refused, match="empty-file"):
        scan(tmp_path / "a.dcm", "a.dcm")
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "b.dcm", "b.dcm")


def test_a_refusal_quotes_nothing_and_warns_of_nothing(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "Secret.dcm", PIXELS, PatientID="SECRET", NumberOfFrames=1)
    data = path.read_bytes().replace(b"\x28\x00\x08\x00IS\x02\x001 ", b"\x28\x00\x08\x00IS\x06\x00SECRET")
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Refused) as refused:
            scan(path, "Secret.dcm")
    assert refused.value.code == "bad-header"
    assert "secret" not in str(refused.value).lower()


@pytest.mark.parametrize(
    "error", [KeyError("SECRET"), RecursionError("SECRET"), struct.error("SECRET"), OSError("SECRET")]
)
def test_what_a_parser_raises_becomes_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = make_dicom(tmp_path / "a.dcm", PIXELS)
    monkeypatch.setattr("radload.sources.dicom.open_dicom", fail)
    for attempt in (lambda: scan(path, "a.dcm"), lambda: list(read(path))):
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.code == "bad-header"
        assert "SECRET" not in str(refused.value)
    error.errno = 5  # a failing disk is no damaged file
    if isinstance(error, OSError):
        with pytest.raises(OSError, match="SECRET"):
            scan(path, "a.dcm")


def test_a_file_that_changed_since_its_scan_is_refused(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", PIXELS)
    header = scan(path, "a.dcm")
    assert len(list(read(path, header))) == 1
    make_dicom(path, np.zeros((3, 5), dtype=np.int16))
    with pytest.raises(Refused, match="changed-file"):
        list(read(path, header))


def test_read_takes_a_path_under_a_root(tmp_path: Path) -> None:
    make_dicom(tmp_path / "a.dcm", PIXELS)
    assert len(list(read(Path("a.dcm"), root=tmp_path))) == 1


def test_refusals_cross_process_borders() -> None:
    for error in (Refused("truncated", "the file ends early"), PartOf("a/b.hdr")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert again.__dict__ == error.__dict__
