"""What people use today, each set up as its documentation says and as fast as we could make it, endless and shuffled.

All deliver the same: (images, numbers), images (N, 1, size, size) float32 of CT in HU, windowed to 40/400, resized by an
antialiased triangle filter, (y - 0.5) / 0.25; numbers (N,) say which slices they are. All use two or as many workers as
there are cores, read ahead as DataLoader does by default, and start no epoch anew (their workers would idle meanwhile).
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from peer_files import INTERCEPT, PeerFiles
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset, Sampler

from radload.loading.planning.augment import AREA, FLIP, JITTER, RATIO
from radload.loading.planning.recipe import PRESETS

CENTRE, WIDTH, MEAN, STD = 40.0, 400.0, 0.5, 0.25
READ_AHEAD = 2  # batches per worker: DataLoader's default

Batch = tuple[torch.Tensor, torch.Tensor]
Batches = Iterator[Batch]


def prepare(stored: NDArray[Any], size: int) -> torch.Tensor:
    """(h, w) stored values to (1, size, size): rescale, window, antialiased resize, normalise, in torch and float32."""
    value = torch.from_numpy(stored.astype(np.float32)) + INTERCEPT
    y = ((value - (CENTRE - WIDTH / 2)) / WIDTH).clamp_(0, 1)
    return (_resize(y[None], size) - MEAN) / STD


def _resize(image: torch.Tensor, size: int) -> torch.Tensor:
    """(C, h, w) to (C, size, size)."""
    return interpolate(image[None], (size, size), mode="bilinear", antialias=True, align_corners=False)[0]


class EndlessOrder(Sampler[int]):
    """One random order of n after another."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self.n).tolist()


class DicomSlices(Dataset[tuple[torch.Tensor, int]]):
    """pydicom, one file per slice."""

    def __init__(self, paths: tuple[str, ...], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return prepare(pydicom.dcmread(self.paths[i]).pixel_array, self.size), i


class TrainingSlices(DicomSlices):
    """pydicom, and what `train/pretrain.py` does by default: three windows, random resized crop, flip, window jitter."""

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        from torchvision.transforms import RandomResizedCrop

        value = torch.from_numpy(pydicom.dcmread(self.paths[i]).pixel_array.astype(np.float32)) + INTERCEPT
        top, left, height, width = RandomResizedCrop.get_params(value[None], list(AREA), list(RATIO))
        value = value[top : top + height, left : left + width]
        windows = torch.tensor([PRESETS[name] for name in ("lung", "soft_tissue", "bone")])[:, :, None, None]
        shift, spread = (limit * (2 * torch.rand(()) - 1) for limit in JITTER)
        centre, width = windows[:, 0] + shift * windows[:, 1], windows[:, 1] * spread.exp()
        y = ((value - (centre - width / 2)) / width).clamp_(0, 1)
        image = (_resize(y, self.size) - MEAN) / STD
        return image.flip(-1) if torch.rand(()) < FLIP else image, i


def pydicom_training_loader(files: PeerFiles, size: int, batch_size: int, workers: int) -> Batches:
    """`TrainingSlices` behind DataLoader."""
    data = TrainingSlices(files.dicom, size)
    return iter(DataLoader(data, batch_size, sampler=EndlessOrder(len(data)), num_workers=workers))


def pydicom_loader(files: PeerFiles, size: int, batch_size: int, workers: int) -> Batches:
    """pydicom in a Dataset behind DataLoader."""
    data = DicomSlices(files.dicom, size)
    return iter(DataLoader(data, batch_size, sampler=EndlessOrder(len(data)), num_workers=workers))


def _webdataset(
    shards: tuple[str, ...],
    name: str,
    decode: Callable[[bytes], NDArray[Any]],
    size: int,
    batch_size: int,
    workers: int,
) -> Batches:
    import webdataset

    def one(sample: dict[str, Any]) -> tuple[torch.Tensor, int]:
        return prepare(decode(sample[name]), size), int(sample["__key__"])

    data = (
        webdataset.WebDataset(list(shards), resampled=True, shardshuffle=False)  # endless
        .shuffle(200)
        .map(one)
        .batched(batch_size, collation_fn=_stack, partial=False)
    )
    return iter(DataLoader(data, batch_size=None, num_workers=workers))


def _stack(samples: list[tuple[torch.Tensor, int]]) -> Batch:
    return torch.stack([image for image, _ in samples]), torch.tensor([number for _, number in samples])


def npy_loader(files: PeerFiles, size: int, batch_size: int, workers: int) -> Batches:
    """WebDataset shards of .npy members."""
    return _webdataset(files.npy, "npy", lambda data: np.load(io.BytesIO(data)), size, batch_size, workers)


def png_loader(files: PeerFiles, size: int, batch_size: int, workers: int) -> Batches:
    """WebDataset shards of 16-bit PNG, the usual lossless form; libpng decodes."""
    return _webdataset(files.png, "png", imagecodecs.png_decode, size, batch_size, workers)


def _monai(files: PeerFiles, size: int, batch_size: int, workers: int, cached: bool) -> Batches:
    from monai.data import CacheDataset, PydicomReader
    from monai.data import Dataset as MonaiDataset
    from monai.transforms import Compose, EnsureTyped, Lambdad, LoadImaged, NormalizeIntensityd, ScaleIntensityRanged

    steps = Compose(
        [
            LoadImaged("image", reader=PydicomReader(swap_ij=False), ensure_channel_first=True),
            ScaleIntensityRanged("image", CENTRE - WIDTH / 2, CENTRE + WIDTH / 2, 0.0, 1.0, clip=True),
            # MONAI's Resize(anti_aliasing=True) blurs with a Gaussian first: other pixels, and slower; so torch's own.
            Lambdad("image", lambda image: _resize(image.as_tensor(), size)),
            NormalizeIntensityd("image", subtrahend=MEAN, divisor=STD),
            EnsureTyped("image", track_meta=False),  # last, because the others make a MetaTensor again
        ]
    )
    items = [{"image": path, "number": i} for i, path in enumerate(files.dicom)]
    data = (
        CacheDataset(items, steps, cache_rate=1.0, num_workers=workers, progress=False)
        if cached
        else MonaiDataset(items, steps)
    )
    loader = DataLoader(data, batch_size, sampler=EndlessOrder(len(items)), num_workers=workers)
    return ((batch["image"], batch["number"]) for batch in loader)


def monai_loader(files: PeerFiles, size: int, batch_size: int, workers: int) -> Batches:
    """MONAI's Dataset with its PydicomReader."""
    return _monai(files, size, batch_size, workers, cached=False)


def monai_cache_loader(files: PeerFiles, size: int, batch_size: int, workers: int) -> Batches:
    """MONAI's CacheDataset: every finished slice in memory, so nothing random can follow."""
    return _monai(files, size, batch_size, workers, cached=True)


Start = Callable[[PeerFiles, int, int, int], Batches]
PEERS: dict[str, tuple[Start, str]] = {  # name -> how it starts, and the package that it needs
    "webdataset .npy + DataLoader": (npy_loader, "webdataset"),
    "webdataset PNG-16 + DataLoader": (png_loader, "webdataset"),
    "pydicom + DataLoader": (pydicom_loader, "pydicom"),
    "MONAI Dataset": (monai_loader, "monai"),
    "MONAI CacheDataset": (monai_cache_loader, "monai"),
}


def missing(package: str) -> str | None:
    """Why a peer cannot run, or None."""
    if importlib.util.find_spec(package) is None:
        return f"{package} is not installed: pip install '.[peers]'"
    return None
