"""Thin head series are listed, others not, and what headers do not say is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audit_make import Packed
from conftest_pack import WriteDicom

from radload.audit import audit
from radload.audit.faces import is_head


@pytest.mark.parametrize(
    ("part", "head"),
    [
        ("HEAD", True), ("BRAIN", True), ("SKULL", True), ("HEADNECK", True), ("EAR", True), ("T_BONE EAR", True), ("WHOLEBODY", True),
        ("CHEST", False), ("HEART", False), ("", False), ("KNEE", False), ("ABDOMEN", False), ("PEAR", False),
    ],
)  # fmt: skip
def test_body_parts(part: str, head: bool) -> None:
    assert is_head(part) is head


def test_series_by_part_length_spacing_and_modality(tmp_path: Path, write_dicom: WriteDicom, packed: Packed) -> None:
    cases = {  # name: (body part, slices, spacing, modality)
        "thin": ("HEAD", 50, 1.5, "CT"),
        "short": ("HEAD", 49, 1.0, "CT"),
        "thick": ("HEAD", 50, 1.6, "CT"),
        "chest": ("CHEST", 50, 1.0, "CT"),
        "pet": ("HEAD", 50, 1.0, "PT"),
        "nameless": (None, 50, 1.0, "MR"),
        "unplaced": ("BRAIN", 50, None, "MR"),
    }
    pixels = np.random.default_rng(0).integers(0, 999, (len(cases) * 50, 4, 4)).astype(np.int16)
    for number, (name, (part, slices, spacing, modality)) in enumerate(cases.items()):
        for place in range(slices):
            options = {"BodyPartExamined": part} if part else {}
            position = [0, 0, spacing * place] if spacing else [0, 0, 0]
            path = tmp_path / "src" / name / f"{place}.dcm"
            write_dicom(
                path, pixels[number * 50 + place], patient=name, study=name, series=name, place=place, Modality=modality,
                ImagePositionPatient=position, **options,
            )  # fmt: skip
    root = packed(tmp_path / "src", splits=None)
    faces = audit(root).faces
    assert faces is not None
    (found,) = faces.series
    assert (found["modality"], found["body_part"], found["slices"], found["slice_spacing"]) == (
        "CT",
        "HEAD",
        50,
        1.5,
    )
    assert (faces.unknown_part, faces.unknown_spacing) == (1, 1)
