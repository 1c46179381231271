"""Everything that is asked of the GPU path, checked and measured on one GPU in under 8 minutes, as one table.

    python benchmarks/gpu_check.py [--seconds 6] [--minutes 7] [--json gpu.json]
    python benchmarks/gpu_check.py --dry-run     without a GPU: compiles, packs, opens every loader, runs DALI's CPU form; measures nothing

Needs radload[dev] and radload[cuda13]. Each row is written as soon as it is known. One that did not run, or came too late to, says so;
it never gets a figure. The exit code is 1 where a row fails, or did not come to its turn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/loading"))

import numpy as np
import torch
from ct_like import SERIES, SLICES, ct_like
from gpu_exact import TOLERANCE, decoder_errors, kernel_error
from gpu_pack import HTJ2K, JPEG_2000, differences, frame_rates
from gpu_rates import (
    BATCH,
    SETTINGS,
    SIDE,
    Setting,
    copy_bandwidth,
    decoder_rate,
    kernel_bandwidth,
    loader_rate,
    open_loader,
    train,
)
from make import Image, Series, write_dataset

from radload.errors import RadloadError
from radload.kernels import gpu, nvrtc
from radload.loading.gpu.decoder import NAMES, open_decoder
from radload.pack.device import open_cuda

NOT_RUN, NO_TIME = "not measured", "not measured: the time was over"
ODD_SIZES = ((1, 1), (3, 2000), (97, 65), (600, 480))
Work = Callable[[], tuple[str, bool]]  # what was found, and whether that is enough


@dataclass(frozen=True)
class Check:
    """One line to be: what, at least or at most what, and how that is found out; gpu: only with one."""

    what: str
    wanted: str
    work: Work
    gpu: bool = True


@dataclass(frozen=True)
class Row:
    """One line: what, at least or at most what, what was found (or why nothing), and whether that is enough; None: it did not run."""

    what: str
    wanted: str
    found: str = NOT_RUN
    good: bool | None = None

    def __str__(self) -> str:
        return f"| {self.what} | {self.wanted} | {self.found} | {({True: 'good', False: 'BAD', None: ''})[self.good]} |"


def run(check: Check) -> Row:
    """Whatever goes wrong, also in CuPy or a compiler, is the row's result, so that the others still run."""
    try:
        found, good = check.work()
    except Exception as error:  # noqa: BLE001
        text = str(error).strip()
        return Row(
            check.what, check.wanted, f"failed: {text.splitlines()[-1][:160] if text else type(error).__name__}", False
        )
    return Row(check.what, check.wanted, found, good)


def pack(folder: Path, series: int, slices: int) -> dict[str, Path]:
    """Generated CT slices of 512 x 512 under both codecs."""
    found = {}
    for codec in ("htj2k", "raw"):
        content = [
            Series([Image(stored, intercept=-1024.0, codec=codec) for stored in ct_like(slices, seed)])
            for seed in range(series)
        ]
        found[codec] = write_dataset(folder / codec, content)
    return found


def odd_images() -> list[np.ndarray[Any, np.dtype[np.int16]]]:
    rng = np.random.default_rng(0)
    return [*ct_like(2, 0), *(rng.integers(0, 4096, size).astype(np.int16) for size in ODD_SIZES)]


def compiled() -> tuple[str, bool]:
    most = [0, 0]
    for architecture in nvrtc.ARCHITECTURES:
        for planes in (1, 3):
            for output in gpu.OUTPUTS:
                one = nvrtc.compile_kernel(architecture, planes, output)
                most = [max(most[0], one.registers), max(most[1], one.spill)]
    good = most[0] <= nvrtc.MOST_REGISTERS[0] and most[1] <= nvrtc.MOST_SPILL[0]
    return f"{most[0]} registers, {most[1]} bytes spilled", good


def exact_checks() -> Iterator[Check]:
    wanted = f"{nvrtc.MOST_REGISTERS[0]} registers, {nvrtc.MOST_SPILL[0]} bytes spilled at most"
    yield Check(f"the kernel compiles for {', '.join(nvrtc.ARCHITECTURES)}", wanted, compiled, gpu=False)

    def equal(output: gpu.Output, last: bool) -> tuple[str, bool]:
        error = kernel_error(output, channels_last=last)
        return f"{error:.1e}", error < TOLERANCE[output]

    for output in gpu.OUTPUTS:
        for last in (False, True):
            what = f"CPU kernel = GPU kernel, all dtypes, {output}, {'channels last' if last else 'NCHW'}"
            yield Check(what, f"{TOLERANCE[output]:.0e} at most", partial(equal, output, last))

    def decoded(name: str, on_gpu: bool) -> tuple[str, bool]:
        device, stream = (torch.cuda.current_device(), torch.cuda.current_stream()) if on_gpu else (None, None)
        wrong = decoder_errors(open_decoder(name, 16, device, stream), odd_images())
        return ("; ".join(wrong)[:200] or "equal"), not wrong

    for name in NAMES:
        what = f"{name}'s CPU decoder = CPU decoder, all levels, cut streams"
        yield Check(what, "equal", partial(decoded, name, False), gpu=False)
        what = f"{name} on the GPU = CPU decoder, all levels, cut streams"
        yield Check(what, "equal", partial(decoded, name, True))


def pack_checks(folder: Path, seconds: float) -> Iterator[Check]:
    def equal(cuda: bool) -> tuple[str, bool]:
        wrong = differences(folder / ("cuda" if cuda else "host"), cuda, 32 if cuda else 4)
        return ("; ".join(wrong)[:200] or "equal"), not wrong

    what = "pack by nvImageCodec's CPU backends = pack by the CPU, bytes of the shards"
    yield Check(what, "equal", partial(equal, False), gpu=False)
    yield Check("pack --decode-device cuda = pack by the CPU, bytes of the shards", "equal", partial(equal, True))

    def rate(syntax: str) -> tuple[str, bool]:
        device, core = frame_rates(open_cuda(), syntax, seconds)
        return f"{device:,.0f}, {core:,.0f}", True

    for name, syntax in (("JPEG 2000", JPEG_2000), ("HTJ2K", HTJ2K)):
        what = f"{name} frames of 512x512 to the host in batches of 64, frames/s, and one CPU core"
        yield Check(what, "-", partial(rate, syntax))


def decoder_checks(seconds: float) -> Iterator[Check]:
    """The decoders alone, one beside the other."""

    def rate(level: int, name: str) -> tuple[str, bool]:
        decoder = open_decoder(name, BATCH, torch.cuda.current_device(), torch.cuda.current_stream())
        return f"{decoder_rate(decoder, level, seconds):,.0f}", True

    for level in (0, 1):
        for name in NAMES:
            what = f"{name} alone, {SIDE >> level}x{SIDE >> level}, batches of {BATCH}, slices/s"
            yield Check(what, "-", partial(rate, level, name))


def bandwidth_check() -> Check:
    def share() -> tuple[str, bool]:
        copy, kernel = copy_bandwidth(), kernel_bandwidth()
        return f"{kernel / copy:.2f} ({kernel / 1e9:.0f} of {copy / 1e9:.0f} GB/s)", kernel >= 0.6 * copy

    return Check("kernel, raw 512x512 to 224, batch 256, of copy bandwidth", "0.6", share)


def rate_checks(shards: dict[str, Path], seconds: float) -> Iterator[Check]:
    def rate(decode: str, setting: Setting, **more: Any) -> tuple[str, bool]:
        found = loader_rate(setting, shards, decode, seconds, **more)
        if decode == "gpu" and found.on_cpu:
            return "failed: the CPU decodes in its place, see the warning", False
        shared = f" (the CPU decodes {found.on_cpu:.0%})" if decode == "auto" and setting.codec == "htj2k" else ""
        enough = found.slices_per_s >= setting.least or decode != "auto" or bool(more)  # these are there for comparison
        return f"{found.slices_per_s:,.0f}{shared}", enough

    for setting in SETTINGS:
        for decode in ("auto", "cpu", "gpu") if setting.codec == "htj2k" else ("auto",):
            wanted = f"{setting.least:,.0f}" if decode == "auto" else "-"
            yield Check(f"{setting.name}, decode={decode!r}, slices/s", wanted, partial(rate, decode, setting))
    what = "half level, one window, all of it kept on the device, slices/s"
    yield Check(what, "-", partial(rate, "auto", SETTINGS[0], device_cache_bytes="2GB"))


def training_checks(shards: dict[str, Path], seconds: float) -> Iterator[Check]:
    once = cache(lambda: train(shards, seconds))

    def ratio() -> tuple[str, bool]:
        found = once()
        share = found.real / found.replayed
        return f"{share:.3f} ({found.real:,.0f} of {found.replayed:,.0f} slices/s)", share >= 0.98

    def host() -> tuple[str, bool]:
        return f"{once().host:.0%}", once().host < 0.4

    yield Check("ResNet-50, bf16, channels last, compiled: real / replayed batches", "0.98", ratio)
    yield Check("host CPU while it trains, of all cores", "40 % at most", host)


def rehearsal(shards: dict[str, Path]) -> Check:
    """Every loader that would be measured delivers a batch on the CPU."""

    def open_all() -> tuple[str, bool]:
        for setting in SETTINGS:
            with open_loader(setting, shards, "cpu", 4) as loader:
                next(iter(loader))
        return "yes", True

    return Check("every configuration opens and delivers, on the CPU", "yes", open_all, gpu=False)


def all_checks(folder: Path, shards: dict[str, Path], seconds: float) -> Iterator[Check]:
    """What decides comes first: exactness, bandwidth, rates from shards, training; then what is there to compare."""
    yield rehearsal(shards)
    yield from exact_checks()
    yield bandwidth_check()
    yield from rate_checks(shards, seconds)
    yield from training_checks(shards, seconds)
    yield from pack_checks(folder, seconds / 2)
    yield from decoder_checks(seconds / 2)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="measure nothing: for machines without a GPU")
    parser.add_argument("--seconds", type=float, default=6.0, help="per rate")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which no further row is begun")
    parser.add_argument("--json", type=Path, help="write the rows to a file")
    wanted = parser.parse_args(arguments)
    if not 0 < wanted.seconds <= 60:
        parser.error("--seconds must be above 0 and at most 60")
    with_gpu = not wanted.dry_run
    if with_gpu:
        from radload.loading.gpu.device import check_available

        try:
            check_available("cuda")
        except RadloadError as error:
            parser.error(f"{error}; or look at what runs without one: --dry-run")
    start, rows, late = time.perf_counter(), list[Row](), False
    name = torch.cuda.get_device_name() if with_gpu else "no GPU"
    cores = len(os.sched_getaffinity(0))
    head = f"{name}, {cores} host cores, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    print(f"{head}\n\n| what | at least | found | |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        shards = pack(Path(folder), *((SERIES, SLICES) if with_gpu else (1, 8)))
        for check in all_checks(Path(folder), shards, wanted.seconds):
            if check.gpu and not with_gpu:
                rows.append(Row(check.what, check.wanted))
            elif time.perf_counter() - start > 60 * wanted.minutes:
                rows.append(Row(check.what, check.wanted, NO_TIME))
                late = True
            else:
                rows.append(run(check))
            print(rows[-1], flush=True)
            if wanted.json is not None:
                wanted.json.write_text(json.dumps({"machine": head, "rows": [asdict(one) for one in rows]}, indent=1))
    print(f"\n{time.perf_counter() - start:.0f} s")
    return int(late or any(one.good is False for one in rows))


if __name__ == "__main__":
    sys.exit(main())
