"""Headers that would take hours, claim too much, or have a message say what nobody may read."""

from __future__ import annotations

import gzip
import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from source_golden import GOLDEN, path_of
from source_make import make_dicom

from radload.sources import Header, Refused, few_values, read, scan
from radload.sources import dicom_tags as tags
from radload.sources.dicom_file import open_dicom

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)


def test_no_message_quotes_a_transfer_syntax_that_is_none(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", RAMP)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"Doe^Jane 1.2.840.100"))
    with pytest.raises(Refused, match="unsupported-transfer-syntax") as refused:
        scan(path, "a")
    assert "Doe" not in refused.value.reason
    path.write_bytes(path.read_bytes().replace(b"Doe^Jane 1.2.840.100", b"1.2.840.10008.1.2.99"))
    with pytest.raises(Refused, match=r"1\.2\.840\.10008\.1\.2\.99"):
        scan(path, "a")


def test_a_palette_of_endless_empty_segments_is_refused(tmp_path: Path) -> None:
    """Indirect segments that each refer to 65,535 empty ones: 10,000 of them would be walked for minutes."""
    empty = [0, 0] * 65_535
    segments = np.array([*empty, *([2, 65_535, 0, 0] * 10_000)], np.uint16)
    tables = {
        f"Segmented{name}PaletteColorLookupTableData": ("OW", segments.tobytes()) for name in ("Red", "Green", "Blue")
    }
    sizes = {f"{name}PaletteColorLookupTableDescriptor": ("US", [9, 0, 16]) for name in ("Red", "Green", "Blue")}
    path = make_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="PALETTE COLOR", **sizes, **tables)
    started = time.process_time()
    with pytest.raises(Refused, match="bad-header"):
        list(read(path))
    assert time.process_time() - started < 10


def test_frames_that_are_missing_are_named_one_by_one_up_to_a_limit(tmp_path: Path) -> None:
    header = scan(make_dicom(tmp_path / "a.dcm", RAMP, NumberOfFrames=1000), "a")
    assert isinstance(header, Header) and header.frames == 1000
    outcomes = list(read(tmp_path / "a.dcm"))
    assert len(outcomes) == 1000 and [frame for frame, _ in outcomes[1:]] == list(range(1, 1000))  # type: ignore[misc]
    with pytest.raises(Refused, match="bad-header: Number of Frames"):
        scan(make_dicom(tmp_path / "b.dcm", RAMP, NumberOfFrames=1025), "b")
    sizes = {"Rows": 3, "Columns": 4, "BitsAllocated": 8}
    fragments = encapsulate([b"\0" * 20] * 10, has_bot=False)
    for frames in (1024, 1025):  # fragments of at least ten bytes: 1,025 do not fit
        make_dicom(tmp_path / "c.dcm", fragments, "1.2.840.10008.1.2.5", NumberOfFrames=frames, **sizes)
        if frames == 1024:
            assert scan(tmp_path / "c.dcm", "c").frames == 1024
        else:
            with pytest.raises(Refused, match="bad-header: Number of Frames"):
                scan(tmp_path / "c.dcm", "c")


def test_a_length_that_lies_makes_no_room(tmp_path: Path) -> None:
    """An element that announces 4 GB in a file of a few kB: nothing asks the file for more than it holds."""
    asked: list[int] = []

    class Spy(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    data = path_of(GOLDEN, "pydicom:test_files/CT_small.dcm").read_bytes()
    meta_end = data.index(b"\x08\x00\x05\x00")
    lying = data[:meta_end] + struct.pack("<HH2sHI", 0x0008, 0x0070, b"UT", 0, 0xFFFFFFF0) + data[meta_end:]
    with pytest.raises(Refused):
        open_dicom(Spy(lying), tags.HEADER)
    assert max(asked) <= len(lying)


def test_voxels_that_begin_beyond_any_file_have_no_few_values(tmp_path: Path) -> None:
    data = bytearray((GOLDEN / "int16_slope_2p5_inter_m10.nii").read_bytes())
    struct.pack_into("<f", data, 108, 1e30)  # vox_offset
    struct.pack_into("<2f", data, 112, 1, 0)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(data)))
    assert few_values(path, 16) == ()
