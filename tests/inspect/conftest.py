"""A small data set of phantoms, with labels and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from radload.demo import phantoms
from radload.pack import PackOptions, pack


@pytest.fixture(scope="session")
def phantom_shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of data sets by name: "labelled" and "plain", six patients of three modalities each."""
    root = tmp_path_factory.mktemp("inspect")
    made = phantoms.make(root / "dicoms", root / "labels.csv", scale=0.01, processes=1)
    for name, labels in (("labelled", made.labels), ("plain", None)):
        pack(PackOptions(made.folder, root / name, labels=labels, split="50/50/0", workers=1))
    return {name: root / name for name in ("labelled", "plain")}
