"""The second epoch from the cache, beside MONAI's CacheDataset: slices per second in turns, and memory.

`pytest benchmarks/bench_cache.py`. The same slices and the same output as in bench_peers.py, but that ours mirrors half of the slices and
moves the window of each. MONAI keeps finished float32 images (201 kB), so nothing random can follow; ours keeps the half level in 16 bits
(131 kB), and window, crop and flip come after it.
Memory per slice is what 500 more slices add to all processes of a loader and to its cache folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from cache_contestants import Monai, Ours, Remote
from interleave import Contestant, run_rounds
from peer_files import PeerFiles, write_peer_files
from peer_loaders import missing
from summary import RUNS

import radload
from radload.loading.arguments import core_share

ROUNDS, SECONDS, FEW, ALL = 7, 1.0, 100, 600  # slices of the fixtures few_shards and ct_shards
CORES = core_share()
TITLE = "second epoch, medians of turns"


@pytest.fixture(scope="module")
def dicom_files(raw_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> PeerFiles:
    pytest.importorskip("webdataset", reason=missing("webdataset"))
    with radload.open(raw_shards) as dataset:
        return write_peer_files(tmp_path_factory.mktemp("peers"), (one.stored for one in dataset))


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one, for cache folders."""
    root = Path("/dev/shm")
    folder = root / f"radload-bench-{tmp_path.name}" if root.is_dir() else tmp_path / "cache"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_second_epoch(
    ct_shards: Path, few_shards: Path, dicom_files: PeerFiles, memory_folder: Path, request: pytest.FixtureRequest
) -> None:
    few_files = replace(dicom_files, dicom=dicom_files.dicom[:FEW])
    names: dict[str, tuple[Ours | Monai, Ours | Monai]] = {  # with all slices, and with few
        "radload cache: folder": (
            Ours(ct_shards, memory_folder / "all", CORES),
            Ours(few_shards, memory_folder / "few", CORES),
        ),
        "radload cache: True": (Ours(ct_shards, True, CORES), Ours(few_shards, True, CORES)),
        "radload cache: None": (Ours(ct_shards, False, CORES), Ours(few_shards, False, CORES)),
        "MONAI CacheDataset": (Monai(dicom_files, CORES), Monai(few_files, CORES)),
    }
    contestants = []
    with ExitStack() as stack:
        for name, (whole, small) in names.items():
            kind = "peer" if isinstance(whole, Monai) else "radload"
            if kind == "peer" and (reason := missing("monai")):
                contestants.append(Contestant(name, kind, skipped=reason))
                continue
            remote, little = Remote(whole), Remote(small)
            stack.callback(remote.close)
            remote.turn(0.5)
            little.turn(0.5)
            total = remote.memory()
            per_slice = (total - little.memory()) / (ALL - FEW)
            little.close()
            memory = f"{per_slice / 1000:.0f} kB per slice, {total / 1e6:.0f} MB in all"
            contestants.append(Contestant(name, kind, remote.turn, note=memory))
        run_rounds(contestants, 1, 0.3)
        for one in contestants:
            one.rates.clear()
            one.cores.clear()
        run_rounds(contestants, ROUNDS, SECONDS)
    request.config.stash.setdefault(RUNS, {})[TITLE] = contestants
    for one in contestants:
        assert one.skipped or (len(one.rates) == ROUNDS and min(one.rates) > 0), one.name
