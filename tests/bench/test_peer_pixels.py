"""The peers of the benchmarks deliver what radload delivers: otherwise a ratio of their speeds would mean nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import peer_loaders
import pytest
import torch
from make import ct_series, write_dataset
from peer_files import PeerFiles, write_peer_files
from peer_loaders import CENTRE, PEERS, WIDTH, missing, prepare

import radload
from radload.loading import Loader

SIZE, COUNT, BATCH = 24, 12, 6
SAME = 1e-4  # normalised units; the kernel's tolerance of 1e-5 divided by a deviation of 0.25, and float32 sums in another order


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("peers") / "shards", [ct_series(i, 4) for i in range(3)])


@pytest.fixture(scope="module")
def files(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerFiles]:
    pytest.importorskip("webdataset", reason="webdataset, which writes the peers' shards, is not installed")
    with radload.open(shards) as dataset:
        yield write_peer_files(tmp_path_factory.mktemp("files"), (one.stored for one in dataset), per_shard=4)


def loaded(shards: Path, resolution: str) -> dict[int, torch.Tensor]:
    """Every slice as radload delivers it, by its number."""
    window = (CENTRE, WIDTH)
    with Loader(shards, batch_size=COUNT, size=SIZE, window=window, channels=1, resolution=resolution) as loader:
        batch = next(iter(loader))
    found = dict(zip(batch["index"].tolist(), batch["image"], strict=True))
    assert sorted(found) == list(range(COUNT))
    return found


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_delivers_our_pixels(shards: Path, files: PeerFiles, name: str) -> None:
    start, package = PEERS[name]
    if reason := missing(package):
        pytest.skip(reason)
    expected, batches = loaded(shards, "full"), start(files, SIZE, BATCH, 2)
    seen: set[int] = set()
    for _ in range(40):
        images, numbers = next(batches)
        assert images.shape == (BATCH, 1, SIZE, SIZE) and images.dtype == torch.float32
        for image, number in zip(images, numbers.tolist(), strict=True):
            assert (image - expected[number]).abs().max() < SAME
        seen |= set(numbers.tolist())
        if len(seen) == COUNT:
            break
    assert len(seen) == COUNT, "an endless, shuffled loader shows every slice in time"


def test_a_half_level_is_another_resample(shards: Path) -> None:
    """It is what makes the default fast, and it is not the peers' arithmetic: the level is a resample before the window."""
    full, half = loaded(shards, "full"), loaded(shards, "auto")
    error = np.array([float((full[i] - half[i]).pow(2).mean()) for i in range(COUNT)])
    assert (error > SAME**2).all()
    # these phantoms have far more noise than anatomy at 64 pixels; still the images are the same
    agree = [float(torch.corrcoef(torch.stack([full[i].ravel(), half[i].ravel()]))[0, 1]) for i in range(COUNT)]
    assert min(agree) > 0.95


def test_the_peers_arithmetic_is_the_textbooks(files: PeerFiles) -> None:
    """A constant slice stays constant: HU 40 is the middle of the window, 0 after normalisation; beyond the window is +-2."""
    for hu, value in ((40, 0.0), (-160, -2.0), (-1000, -2.0), (240, 2.0), (3000, 2.0), (140, 1.0)):
        found = prepare(np.full((64, 64), hu + 1024, np.int16), SIZE)
        torch.testing.assert_close(found, torch.full((1, SIZE, SIZE), value), rtol=0, atol=1e-5)


def test_the_files_hold_the_stored_values(shards: Path, files: PeerFiles) -> None:
    import pydicom

    assert len(files.npy) == len(files.png) == 3 and len(files.dicom) == COUNT
    with radload.open(shards) as dataset:
        for path, sample in zip(files.dicom, dataset, strict=True):
            np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, sample.stored)


def test_a_package_that_is_not_there_is_a_reason() -> None:
    assert missing("numpy") is None
    assert missing("no_such_package") == "no_such_package is not installed: pip install '.[peers]'"


def test_the_training_peer_without_chance_delivers_our_pixels(
    shards: Path, files: PeerFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops of the whole image, no flips, windows that stay: the three windows, in their order, and the flip of the other half."""
    monkeypatch.setattr(peer_loaders, "AREA", (1.0, 1.0))
    monkeypatch.setattr(peer_loaders, "RATIO", (1.0, 1.0))
    monkeypatch.setattr(peer_loaders, "JITTER", (0.0, 0.0))
    data = peer_loaders.TrainingSlices(files.dicom, SIZE)
    with Loader(shards, batch_size=COUNT, size=SIZE, resolution="full") as loader:
        batch = next(iter(loader))
    for image, number in zip(batch["image"], batch["index"].tolist(), strict=True):
        for flip, expected in ((0.0, image), (1.0, image.flip(-1))):
            monkeypatch.setattr(peer_loaders, "FLIP", flip)
            assert (data[number][0] - expected).abs().max() < SAME
