"""Generated NIfTI volumes, packed into many small shards, and a bucket that holds them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serve import S3

from radload.pack import PackOptions, pack

URL = "s3://bucket/data/set"


def pack_options(source: Path, out: Path | str, private: Path | None = None) -> PackOptions:
    """Shards of two volumes each; labels from the first folder."""
    return PackOptions(
        source, Path(out), private, labels_from="folder:1", shard_size=0.4, workers=0, split="80/20/0", codec="htj2k"
    )


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


def fill_bucket(packed: Path, buckets: Path) -> Path:
    """Put the data set where URL is, and return that folder."""
    return Path(shutil.copytree(packed, buckets / URL.removeprefix("s3://")))


def point_at(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its children speak to `server`."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
