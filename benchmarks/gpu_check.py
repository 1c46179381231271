"""Everything that is asked of the GPU path, checked and measured on one GPU in under 8 minutes, as one table.

    python benchmarks/gpu_check.py [--seconds 6] [--json gpu.json]
    python benchmarks/gpu_check.py --dry-run     without a GPU: compiles, packs, opens every loader, runs DALI's CPU form; measures nothing

Needs radload[dev] and radload[cuda13]. A row that did not run says so; it never gets a figure. The exit code is 1 where a row fails.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
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

NOT_RUN = "not measured"
ODD_SIZES = ((1, 1), (3, 2000), (97, 65), (600, 480))


@dataclass(frozen=True)
class Row:
    """One line: what, at least or at most what, what was found (or why nothing), and whether that is enough; None: it did not run."""

    what: str
    wanted: str
    found: str = NOT_RUN
    good: bool | None = None


def row(what: str, wanted: str, work: Callable[[], tuple[str, bool]]) -> Row:
    """Run one line; what goes wrong is its result, so that the others still run."""
    try:
        found, good = work()
    except (RadloadError, RuntimeError, ValueError, OSError, ImportError) as error:
        text = str(error).strip()
        return Row(what, wanted, f"failed: {text.splitlines()[-1][:160] if text else type(error).__name__}", False)
    return Row(what, wanted, found, good)


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


def exact_rows(run: bool) -> list[Row]:
    wanted = f"{nvrtc.MOST_REGISTERS[0]} registers, {nvrtc.MOST_SPILL[0]} bytes spilled at most"
    rows = [row(f"the kernel compiles for {', '.join(nvrtc.ARCHITECTURES)}", wanted, compiled)]
    for output in gpu.OUTPUTS:
        for last in (False, True):
            what = f"CPU kernel = GPU kernel, all dtypes, {output}, {'channels last' if last else 'NCHW'}"

            def equal(output: gpu.Output = output, last: bool = last) -> tuple[str, bool]:
                error = kernel_error(output, channels_last=last)
                return f"{error:.1e}", error < TOLERANCE[output]

            least = f"{TOLERANCE[output]:.0e} at most"
            rows.append(row(what, least, equal) if run else Row(what, least))

    for name in NAMES:

        def decoded(device: int | None, name: str = name) -> tuple[str, bool]:
            stream = torch.cuda.current_stream() if device is not None else None
            wrong = decoder_errors(open_decoder(name, 16, device, stream), odd_images())
            return ("; ".join(wrong)[:200] or "equal"), not wrong

        rows.append(
            row(f"{name}'s CPU decoder = CPU decoder, all levels, cut streams", "equal", partial(decoded, None))
        )
        what = f"{name} on the GPU = CPU decoder, all levels, cut streams"
        rows.append(
            row(what, "equal", lambda of=decoded: of(torch.cuda.current_device())) if run else Row(what, "equal")
        )  # type: ignore[misc]
    return rows


def pack_rows(folder: Path, run: bool, seconds: float) -> list[Row]:
    def equal(cuda: bool) -> tuple[str, bool]:
        wrong = differences(folder / ("cuda" if cuda else "host"), cuda, 32 if cuda else 4)
        return ("; ".join(wrong)[:200] or "equal"), not wrong

    rows = [
        row(
            "pack by nvImageCodec's CPU backends = pack by the CPU, bytes of the shards", "equal", partial(equal, False)
        )
    ]
    what = "pack --decode-device cuda = pack by the CPU, bytes of the shards"
    rows.append(row(what, "equal", partial(equal, True)) if run else Row(what, "equal"))
    for name, syntax in (("JPEG 2000", JPEG_2000), ("HTJ2K", HTJ2K)):
        what = f"{name} frames of 512x512 to the host in batches of 64, frames/s, and one CPU core"

        def rate(syntax: str = syntax) -> tuple[str, bool]:
            device, core = frame_rates(open_cuda(), syntax, seconds)
            return f"{device:,.0f}, {core:,.0f}", True

        rows.append(row(what, "-", rate) if run else Row(what, "-"))
    return rows


def decoder_rows(run: bool, seconds: float) -> list[Row]:
    """The decoders alone, one beside the other."""
    rows = []
    for level in (0, 1):
        for name in NAMES:
            what = f"{name} alone, {SIDE >> level}x{SIDE >> level}, batches of {BATCH}, slices/s"

            def rate(level: int = level, name: str = name) -> tuple[str, bool]:
                stream = torch.cuda.current_stream()
                return (
                    f"{decoder_rate(open_decoder(name, BATCH, torch.cuda.current_device(), stream), level, seconds):,.0f}",
                    True,
                )

            rows.append(row(what, "-", rate) if run else Row(what, "-"))
    return rows


def bandwidth_row(run: bool) -> Row:
    what, wanted = "kernel, raw 512x512 to 224, batch 256, of copy bandwidth", "0.6"

    def share() -> tuple[str, bool]:
        copy, kernel = copy_bandwidth(), kernel_bandwidth()
        return f"{kernel / copy:.2f} ({kernel / 1e9:.0f} of {copy / 1e9:.0f} GB/s)", kernel >= 0.6 * copy

    return row(what, wanted, share) if run else Row(what, wanted)


def rate_rows(shards: dict[str, Path], run: bool, seconds: float) -> list[Row]:
    rows = []
    for setting in SETTINGS:
        for decode in ("auto", "cpu", "gpu") if setting.codec == "htj2k" else ("auto",):
            what, wanted = f"{setting.name}, decode={decode!r}, slices/s", f"{setting.least:,.0f}"

            def rate(decode: str = decode, setting: Any = setting) -> tuple[str, bool]:
                found = loader_rate(setting, shards, decode, seconds)
                return (
                    f"{found:,.0f}",
                    found >= setting.least or decode != "auto",
                )  # the others are there for comparison

            rows.append(row(what, wanted if decode == "auto" else "-", rate) if run else Row(what, wanted))
    return rows


def kept_row(shards: dict[str, Path], run: bool, seconds: float) -> Row:
    what, wanted = "half level, one window, all of it kept on the device, slices/s", "-"

    def rate() -> tuple[str, bool]:
        found = loader_rate(SETTINGS[0], shards, "auto", seconds, device_cache_bytes="2GB")
        return f"{found:,.0f}", True

    return row(what, wanted, rate) if run else Row(what, wanted)


def training_rows(shards: dict[str, Path], run: bool, seconds: float) -> list[Row]:
    what = (
        "ResNet-50, bf16, channels last, compiled: real / replayed batches",
        "host CPU while it trains, of all cores",
    )
    wanted = ("0.98", "40 % at most")
    if not run:
        return [Row(*pair) for pair in zip(what, wanted, strict=True)]
    try:
        found = train(shards, seconds)
    except (RadloadError, RuntimeError, ValueError, OSError) as error:
        return [Row(*pair, f"failed: {str(error)[-160:]}", False) for pair in zip(what, wanted, strict=True)]
    ratio = found.real / found.replayed
    first = f"{ratio:.3f} ({found.real:,.0f} of {found.replayed:,.0f} slices/s)"
    return [
        Row(what[0], wanted[0], first, ratio >= 0.98),
        Row(what[1], wanted[1], f"{found.host:.0%}", found.host < 0.4),
    ]


def rehearse(shards: dict[str, Path]) -> Row:
    """Every loader that would be measured delivers a batch on the CPU."""

    def open_all() -> tuple[str, bool]:
        for setting in SETTINGS:
            with open_loader(setting, shards, "cpu", 4) as loader:
                next(iter(loader))
        return "yes", True

    return row("every configuration opens and delivers, on the CPU", "yes", open_all)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="measure nothing: for machines without a GPU")
    parser.add_argument("--seconds", type=float, default=6.0, help="per rate")
    parser.add_argument("--json", type=Path, help="write the rows to a file")
    wanted = parser.parse_args(arguments)
    if not 0 < wanted.seconds <= 60:
        parser.error("--seconds must be above 0 and at most 60")
    run = not wanted.dry_run
    if run:
        from radload.loading.gpu.device import check_available

        try:
            check_available("cuda")
        except RadloadError as error:
            parser.error(f"{error}; or look at what runs without one: --dry-run")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        shards = pack(Path(folder), *((SERIES, SLICES) if run else (1, 8)))
        rows = [rehearse(shards), *exact_rows(run), bandwidth_row(run), *rate_rows(shards, run, wanted.seconds)]
        rows += [*decoder_rows(run, wanted.seconds / 2), kept_row(shards, run, wanted.seconds)]
        rows += pack_rows(Path(folder), run, wanted.seconds / 2)
        rows += training_rows(shards, run, wanted.seconds)
    name = torch.cuda.get_device_name() if run else "no GPU"
    cores = len(os.sched_getaffinity(0))
    head = f"{name}, {cores} host cores, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    print(f"{head}, {time.perf_counter() - start:.0f} s\n\n| what | at least | found | |\n|---|---|---|---|")
    for one in rows:
        print(f"| {one.what} | {one.wanted} | {one.found} | {({True: 'good', False: 'BAD', None: ''})[one.good]} |")
    if wanted.json is not None:
        wanted.json.write_text(json.dumps({"machine": head, "rows": [asdict(one) for one in rows]}, indent=1))
    return int(any(one.good is False for one in rows))


if __name__ == "__main__":
    sys.exit(main())
