"""What a scan reads about burned-in text: the annotation as stored, and two-dimensional ultrasound regions inside the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from source_make import make_dicom

from radload.sources import scan


def region(left: int, top: int, right: int, bottom: int, form: int | None = 1) -> Dataset:
    item = Dataset()
    if form is not None:
        item.RegionSpatialFormat = form
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_regions_are_two_dimensional_and_inside_the_image(tmp_path: Path, syntax: str) -> None:
    """PS3.3 C.8.5.5.1: corners belong to the region; 80 in an image of 80 columns is beyond it."""
    half = region(0, 0, 5, 5)
    del half.RegionLocationMaxY1
    regions = [
        region(10, 20, 39, 59),
        region(40, 5, 80, 70),
        region(0, 0, 79, 9, form=2),  # M mode
        region(0, 0, 79, 9, form=4),  # waveform
        region(0, 0, 79, 9, form=None),
        region(90, 0, 99, 9),
        region(30, 30, 20, 40),
        half,
    ]
    pixels = np.zeros((60, 80), np.uint8)
    path = make_dicom(
        tmp_path / "us.dcm", pixels, syntax, SequenceOfUltrasoundRegions=regions, BurnedInAnnotation="YES"
    )
    header = scan(path, "us.dcm")
    assert header.us_regions == ((20, 10, 40, 30), (5, 40, 55, 40))
    assert header.burned_in == "YES"


def test_most_files_say_nothing(tmp_path: Path) -> None:
    header = scan(make_dicom(tmp_path / "ct.dcm", np.zeros((6, 8), np.int16)), "ct.dcm")
    assert (header.us_regions, header.burned_in) == ((), None)


def test_regions_of_a_real_file(shared_data: Path) -> None:
    """480 x 640, two views side by side and a grey scale bar, which is no region of the scan."""
    name = "photometric/pydicom-data__gdcm-US-ALOKA-16.dcm"
    assert scan(shared_data / name, name).us_regions == ((24, 32, 392, 304), (24, 336, 392, 304))
