"""What a GPU is fed, and what that costs the host: rates for gpu_check.py. Every figure is measured where it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from ct_like import ct_like

from radload.codecs import htj2k
from radload.kernels import gpu, prepare
from radload.loading import Augment, Loader
from radload.loading.gpu.decoded import Decoder

BATCH, SIZE, SIDE = 256, 224, 512
ONE: dict[str, Any] = {"window": (40, 400), "channels": 1}


@dataclass(frozen=True)
class Setting:
    """One line of the table: name, the least rate on an H200 with 16 host cores, codec of the shards, arguments of Loader."""

    name: str
    least: float
    codec: str = "htj2k"
    options: dict[str, Any] = field(default_factory=dict)


SETTINGS = (
    Setting("half level, one window", 8000, options=ONE),
    Setting("the same, pretrain.py's augmentation", 5000, options={**ONE, "augment": "default", "level_slack": 1.5}),
    Setting("three windows", 7000),
    Setting("two views, one window", 5000, options={**ONE, "augment": Augment(area=(0.3, 1.0)), "views": 2}),
    Setting("all levels, one window", 4000, options={**ONE, "resolution": "full"}),
    Setting("raw shards, one window, warm", 20000, "raw", ONE),
)


def copy_bandwidth() -> float:
    """Bytes/s that a copy on the device reads and writes: half a GiB to another half, median of 20."""
    source = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / _median_seconds(lambda: target.copy_(source))


def kernel_bandwidth(planes: int = 1) -> float:
    """Bytes/s that the kernel reads and writes: a batch of raw 512x512 uint16 to 224x224 float16, median of 20."""
    pixels = torch.randint(0, 4096, (BATCH, SIDE, SIDE), dtype=torch.int16, device="cuda")
    sources = np.zeros(BATCH, gpu.SOURCE)
    sources["address"] = pixels.data_ptr() + np.arange(BATCH, dtype=np.uint64) * np.uint64(SIDE * SIDE * 2)
    sources["dtype"], sources["rows"], sources["cols"] = gpu.DTYPE_CODES["uint16"], SIDE, SIDE
    samples = prepare.samples(np.full(BATCH, SIDE), SIDE, size=(SIZE, SIZE))
    windows = prepare.windows([prepare.Voi.LINEAR] * planes, [1064] * planes, [400] * planes)
    norm = prepare.normalisation([0.5] * planes, [0.25] * planes)
    parts = [torch.from_numpy(p.reshape(-1).view(np.uint8).copy()).cuda() for p in (sources, samples, windows, norm)]
    out = torch.empty((BATCH, planes, SIZE, SIZE), dtype=torch.float16, device="cuda")
    at = [p.data_ptr() for p in parts]
    launch = gpu.Launch(
        count=BATCH,
        sources=at[0],
        samples=at[1],
        windows=at[2],
        tables=at[3],
        entries=1,  # no window of these reads them
        norm=at[3],
        out=out.data_ptr(),
        to=gpu.target(planes, (SIZE, SIZE)),
        shared_windows=True,
    )
    kernel, stream = gpu.FusedKernel(planes, "float16"), torch.cuda.current_stream().cuda_stream
    return (pixels.numel() * 2 + out.numel() * 2) / _median_seconds(lambda: kernel.launch(launch, stream))


def _median_seconds(work: Callable[[], object], rounds: int = 20) -> float:
    found = []
    for i in range(rounds + 3):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        start.record()
        work()
        stop.record()
        stop.synchronize()
        if i >= 3:
            found.append(start.elapsed_time(stop) / 1000)
    return median(found)


def _endless(loader: Loader) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


def open_loader(setting: Setting, shards: dict[str, Path], device: str, batch: int, **more: Any) -> Loader:
    """The loader of a setting; the data set is small and repeats, so its pages are in the page cache."""
    return Loader(shards[setting.codec], batch_size=batch, size=SIZE, device=device, **{**setting.options, **more})


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of processes, all their threads together."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def decoder_rate(decoder: Decoder, level: int, seconds: float) -> float:
    """Slices/s of a decoder of cut HTJ2K streams alone, to memory of the device."""
    few = [np.frombuffer(htj2k.cut(htj2k.encode(image).data, level), np.uint8) for image in ct_like(16, 3)]
    data = few * (BATCH // len(few))
    decoder.decode(data).pixels(0)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        decoder.decode(data).pixels(0)  # waits for the device
        done += len(data)
    return done / (time.perf_counter() - start)


@dataclass(frozen=True)
class Delivered:
    """Slices/s, and the share of them that the CPU decoded in the end."""

    slices_per_s: float
    on_cpu: float


def loader_rate(setting: Setting, shards: dict[str, Path], decode: str, seconds: float, **more: Any) -> Delivered:
    """From shards to a float16 tensor on the device, nothing else running there."""
    with open_loader(setting, shards, "cuda", BATCH, dtype="float16", decode=decode, **more) as loader:
        batches = _endless(loader)
        for _ in range(8):  # calibration, page locks, compilation
            next(batches)
        torch.cuda.synchronize()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            next(batches)
            count += BATCH
        torch.cuda.synchronize()
        return Delivered(count / (time.perf_counter() - start), loader._sink.share)


@dataclass(frozen=True)
class Training:
    """Slices/s of training on the loader's batches and on a few that are replayed, and the host's share of all its cores meanwhile."""

    real: float
    replayed: float
    host: float


def train(shards: dict[str, Path], seconds: float, arch: str = "resnet50", rounds: int = 3) -> Training:
    """Training in bfloat16, channels last, compiled, in turns on both kinds of batches; medians of the rounds."""
    import timm

    setting = Setting("training", 0, options={"augment": "default", "level_slack": 1.5, "labels": False})
    torch.backends.cudnn.benchmark = True  # as pretrain.py
    model = timm.create_model(arch, num_classes=165, in_chans=3).cuda().to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    target = torch.randint(0, 165, (BATCH,), device="cuda")
    compiled = torch.compile(model)

    def step(image: torch.Tensor) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(compiled(image), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    with open_loader(setting, shards, "cuda", BATCH, dtype="bfloat16", channels_last=True) as loader:
        batches = _endless(loader)
        kept = [next(batches)["image"].clone(memory_format=torch.channels_last) for _ in range(4)]
        for i in range(12):
            step(kept[i % 4])
            step(next(batches)["image"])

        def turn(images: Iterator[torch.Tensor]) -> tuple[float, float]:
            torch.cuda.synchronize()
            start, used, count = time.perf_counter(), cpu_seconds([os.getpid(), *loader.pids]), 0
            while time.perf_counter() - start < seconds:
                step(next(images))
                count += BATCH
            torch.cuda.synchronize()
            wall = time.perf_counter() - start
            host = (cpu_seconds([os.getpid(), *loader.pids]) - used) / wall / len(os.sched_getaffinity(0))
            return count / wall, host

        real, replayed, host = [], [], []
        for _ in range(rounds):
            rate, share = turn(batch["image"] for batch in batches)
            real.append(rate)
            host.append(share)
            replayed.append(turn(kept[i % 4] for i in range(10**9))[0])
    return Training(median(real), median(replayed), median(host))
