"""Data sets of the tests of `radload verify`: packed once, copied where a test damages one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest_pack import write_dicom
from verify_make import make

__all__ = ["write_dicom"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that nobody may change; "src" and "shards.private" lie beside it."""
    return make(tmp_path_factory.mktemp("verify"), write_dicom.__wrapped__())  # type: ignore[attr-defined]


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage, private folder beside it."""
    for name in ("shards", "shards.private"):
        shutil.copytree(whole.with_name(name), tmp_path / name)
    return tmp_path / "shards"
