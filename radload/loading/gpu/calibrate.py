"""Where to decode for a GPU: measured at the start on the run's own samples, not believed.

The outputs are equal bit for bit, so the choice changes no pixel.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radload.loading.gpu.decoded import Decoder

CPU_BUDGET = 0.4  # of the loader's threads: the host has more to do than to decode
_ROUNDS, _FEW = 3, 16  # of a batch on the device; streams on the CPU
_ALL = 4.0  # so many times faster than the CPU's budget, the device decodes everything

_log = logging.getLogger("radload")


def calibrate(data: list[NDArray[np.uint8]], decoders: Sequence[Decoder], threads: int) -> tuple[float, Decoder]:
    """Share of each batch that the CPU should decode, and the fastest of the decoders; says so in one line of the log.

    Args:
        data: streams of one batch that the decoders have decoded before. threads: of the loader's process.
    """
    cpu, rates = _cpu_rate(data) * threads * CPU_BUDGET, [_gpu_rate(data, decoder) for decoder in decoders]
    gpu, best = max(zip(rates, decoders, strict=True), key=lambda pair: pair[0])
    share = choose(cpu, gpu)
    where = {0.0: "the GPU decodes", 1.0: "the CPU decodes"}.get(share, f"the CPU decodes {share:.0%} of each batch")
    _log.info(
        'decode="auto": %.0f slices/s on the CPU (%.0f %% of %d threads), on the GPU %s: %s', cpu, 100 * CPU_BUDGET, threads,
        ", ".join(f"{rate:.0f} by {one.name}" for rate, one in zip(rates, decoders, strict=True)), where,
    )  # fmt: skip
    return share, best


def choose(cpu: float, gpu: float) -> float:
    """The CPU's share of a batch, for rates in slices/s.

    All of it where it is as fast as the GPU: that has the training to do. None where it would help little. Else both finish together.
    """
    if cpu >= gpu:
        return 1.0
    return 0.0 if gpu >= _ALL * cpu else cpu / (cpu + gpu)


def _cpu_rate(data: list[NDArray[np.uint8]]) -> float:
    few = [d.tobytes() for d in data[:_FEW]]
    start = time.perf_counter()
    for stream in few:
        imagecodecs.htj2k_decode(stream)
    return len(few) / max(time.perf_counter() - start, 1e-9)


def _gpu_rate(data: list[NDArray[np.uint8]], decoder: Decoder) -> float:
    start = time.perf_counter()
    for _ in range(_ROUNDS):
        decoder.decode(data).pixels(len(data) - 1)  # waits for the device
    return _ROUNDS * len(data) / max(time.perf_counter() - start, 1e-9)
