"""The GPU path as far as a machine without a GPU can prove it: what it is fed, DALI's decoder on it, and its refusals."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_pixels import render_all, settings

from radload.codecs import htj2k
from radload.dataset.index import Index, open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.errors import UsageError
from radload.kernels import cpu
from radload.kernels import gpu as kernel
from radload.kernels.gpu import DTYPE_CODES
from radload.kernels.prepare import SAMPLE, WINDOW, normalisation
from radload.loading import Loader, streams
from radload.loading.cache.memory import MemoryCache
from radload.loading.gpu.decoder import NAMES, DaliDecoder, NvImageDecoder, open_decoder
from radload.loading.gpu.device import choose_device
from radload.loading.gpu.share import check_decode
from radload.loading.planning.plan import Planner
from radload.loading.planning.recipe import make_recipe
from radload.loading.ring import Layout

needs_dali = pytest.mark.skipif(importlib.util.find_spec("nvidia.dali") is None, reason="NVIDIA DALI is not installed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_it_says_so(ct_data: Path) -> None:
    with pytest.raises(UsageError, match=r"CUDA .*; .*use device=\"cpu\""):
        Loader(ct_data, batch_size=4, device="cuda")


MISSING = [
    ({"version": None}, "is built without CUDA; install one from pytorch.org"),
    ({"available": False}, "finds no CUDA device or driver for its CUDA 13.0; look at `nvidia-smi`"),
    ({"count": 1}, "'cuda:3' does not exist: this machine has 1 CUDA devices"),
    ({"kernel": "CuPy cannot be imported (No module named 'cupy')"}, r"CuPy cannot be imported .* radload\[cuda13\]"),
]


@pytest.mark.parametrize(("lacks", "sentence"), MISSING, ids=lambda v: str(v)[:20])
def test_what_is_missing_is_said_in_one_sentence(
    ct_data: Path, lacks: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torch without CUDA, no driver, a device that is not there, no CuPy: what is missing, what to install; "auto" takes the CPU."""
    machine = {"version": "13.0", "available": True, "count": 4, "kernel": None} | lacks
    monkeypatch.setattr(torch.version, "cuda", machine["version"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: machine["available"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: machine["count"])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(kernel, "unavailable", lambda: machine["kernel"])
    with pytest.raises(UsageError, match=sentence) as caught:
        Loader(ct_data, batch_size=4, device="cuda:3")
    assert "\n" not in str(caught.value)
    if "count" not in lacks:
        assert choose_device() == "cpu"
        with Loader(ct_data, batch_size=4, size=8, device="auto") as loader:
            assert next(iter(loader))["image"].device.type == "cpu"


def test_missing_dali_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UsageError, match=r'needs NVIDIA DALI.*install radload\[cuda13\].*decode="cpu"'):
        DaliDecoder(4, device_id=None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "tpu"}, 'choose "cpu", "cuda" or "auto"'),
        ({"static": True}, 'static goes with device="cuda"'),
        ({"decode": "gpu"}, 'decode="gpu" goes with device="cuda"'),
        ({"decode": "gpu", "cache": True}, 'leave decode="gpu" out, or the cache'),
        ({"decode": "fpga"}, "decode='fpga' is unknown"),
    ],
)
def test_arguments_that_cannot_be(ct_data: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Loader(ct_data, batch_size=4, **options)


def test_an_unknown_place_to_decode() -> None:
    with pytest.raises(UsageError, match="decode='fpga' is unknown"):
        check_decode("fpga", cached=False)


def test_channels_last_on_the_cpu(ct_data: Path) -> None:
    options: dict[str, Any] = {"batch_size": 4, "size": 16}
    with Loader(ct_data, **options) as plain, Loader(ct_data, channels_last=True, **options) as last:
        one, other = next(iter(plain))["image"], next(iter(last))["image"]
    assert torch.equal(one, other) and other.is_contiguous(memory_format=torch.channels_last)


def _slot(root: Path, augment: str | None, cache: MemoryCache | None = None) -> tuple[dict[str, NDArray[Any]], Index]:
    """A slot filled as for the GPU, with all samples of a data set; the row before the last stays padding."""
    index = open_index(root, read_manifest(root))
    count = len(index.records)
    wanted = settings(make_recipe(), augment=augment)
    planner = Planner(index, wanted)
    fields = streams.fields(count + 1, 3, streams.capacities(index, range(count)))
    layout = Layout.of({**fields, "rows": ("<i8", (count + 1,)), "valid": ("?", (count + 1,))})
    arrays = layout.arrays(np.zeros(layout.size, np.uint8), 0)
    arrays["share"][0] = cache is not None
    rows = np.arange(count)
    places = np.where(rows < count - 1, rows, count)
    plan = planner.plan(rows, 1, rows)
    with ShardFiles(root, index.shard_names) as files:
        deliverer = streams.StreamDeliverer(files, planner, range(count), replace=False, cache=cache)
        deliverer.begin(arrays, plan, places)
        for entry, place in zip(rows, places, strict=True):
            deliverer.deliver(arrays, int(place), plan, int(entry), 1, int(entry), None)
    return arrays, index


@pytest.mark.parametrize("augment", [None, "default"])
@pytest.mark.parametrize("cached", [False, True])
def test_the_slot_holds_all_that_the_kernel_needs(mixed_data: Path, augment: str | None, cached: bool) -> None:
    """Rendered on the CPU from the slot alone, it gives what the CPU path gives; with a cache it holds pixels instead of streams."""
    cache = MemoryCache(1 << 24, lambda _: None, Lock()) if cached else None
    arrays, index = _slot(mixed_data, augment, cache)
    if cache is not None:
        before = arrays["data"].copy()
        arrays, _ = _slot(mixed_data, augment, cache)
        assert cache.get(0, int(arrays["samples"][0].view(SAMPLE)["level"][0]), 0.0) is not None
        assert np.array_equal(arrays["data"], before), "what comes out of the cache is what was decoded"
    want, _ = render_all(mixed_data, settings(make_recipe(), augment=augment), epoch=1)
    items = arrays["items"].view(streams.ITEM)[:, 0]
    assert items["kind"][-2] == streams.NOTHING
    there = np.flatnonzero(items["kind"] != streams.NOTHING)
    assert len(there) == len(index.records)
    assert set(items["kind"][there].tolist()) == {
        DTYPE_CODES["uint16"] if cached else streams.STREAM,
        DTYPE_CODES["float32"],
    }
    out = np.zeros((len(there), 3, 24, 20), np.float32)
    for i, place in enumerate(there):
        data, item = streams.content(arrays, int(place)), items[place]
        shape = (int(item["rows"]), int(item["cols"]))
        if item["kind"] == streams.STREAM:
            pixels: NDArray[Any] = htj2k.imagecodecs.htj2k_decode(data.tobytes())
        else:
            pixels = data.view(streams.PIXEL_TYPES[item["kind"]]).reshape(shape)
        assert pixels.shape == shape
        cpu.render_into(
            pixels,
            arrays["samples"][place : place + 1].view(SAMPLE)[:, 0],
            arrays["windows"][place : place + 1].view(WINDOW),
            normalisation([0.5] * 3, [0.25] * 3),
            out[i],
            tables=arrays["tables"][: max(int(arrays["taken"][streams.TABLES]), 1)],
        )
    assert np.array_equal(out, want)


def test_missing_nvimgcodec_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    with pytest.raises(
        UsageError, match=r'nvImageCodec cannot be imported.*install radload\[cuda13\].*decode="cpu"'
    ) as caught:
        NvImageDecoder(device_id=None)
    assert "\n" not in str(caught.value)


@needs_dali
@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_gives_the_streams_bit_for_bit(ct_data: Path, name: str) -> None:
    """Ragged, cut at several levels, in batches of several sizes; after an error the decoder works again."""
    index = open_index(ct_data, read_manifest(ct_data))
    decoder = open_decoder(name, 8, device_id=None)
    with ShardFiles(ct_data, index.shard_names) as files:
        for rows, level in (([0, 29, 5], 0), ([29], 1), (list(range(20, 28)), 2)):
            records = index.records[rows]
            data = [files.read(record, level) for record in records]
            found = decoder.decode([np.frombuffer(htj2k.cut(d, level), np.uint8) for d in data])
            for i, d in enumerate(data):
                assert np.array_equal(found.pixels(i), htj2k.decode(d, level))
        with pytest.raises(RuntimeError):
            decoder.decode([np.zeros(100, np.uint8)])
        found = decoder.decode([np.frombuffer(data[0] if level == 0 else htj2k.cut(data[0], level), np.uint8)])
        assert found.pixels(0).dtype == np.uint16
