"""Generated NIfTI volumes, packed into many small shards."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from bucket import pack_options

from radload.pack import pack


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 subjects, each one volume of 96 x 96 x 10."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    y, x, z = np.mgrid[:96, :96, :10].astype(np.float32)
    for number in range(24):
        values = 1000 + 600 * np.sin(x / 15 + number) * np.cos(y / 17 + z) + rng.normal(0, 15, x.shape)
        path = folder / "ab"[number % 2] / f"sub-{number:02d}" / f"sub-{number:02d}_T1w.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.Nifti1Image(values.astype(np.int16), np.eye(4)).to_filename(path)
    return folder


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, volumes: Path) -> Path:
    """The data set as local files."""
    root = tmp_path_factory.mktemp("packed") / "shards"
    pack(pack_options(volumes, root))
    assert len(list(root.rglob("*.tar"))) >= 8
    return root
