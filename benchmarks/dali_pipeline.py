"""The CPU path through DALI, to be measured against the loader's own: external source -> decoder -> fused kernel in a numba_function.

Same reader (pread, CRC-32C, cut), same plan, same compiled kernel; what differs is who decodes (DALI's nvImageCodec, or
OpenJPH in our threads) and who runs the kernel. "streams": DALI decodes. "coded": decoded outside, on a thread pool.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from radload.codecs import htj2k
from radload.dataset.index import open_index
from radload.dataset.manifest import read_manifest
from radload.dataset.shards import ShardFiles
from radload.kernels import cpu, rows
from radload.kernels.jit import _pointer_to as pointer_to
from radload.kernels.prepare import NO_TABLES, SAMPLE, WINDOW, normalisation
from radload.kernels.taps import span
from radload.loading.decode import decode_level
from radload.loading.order.order import Order
from radload.loading.planning.plan import Planner, Settings


def dali_batches(root: Path, settings: Settings, batch_size: int, threads: int, feed: str) -> Iterator[Any]:
    """Endless batches (a DALI TensorList of (C, H, W) float32) of the train split."""
    from nvidia.dali import fn, types
    from nvidia.dali.pipeline import Pipeline
    from nvidia.dali.plugin.numba.fn import numba_function

    index = open_index(root, read_manifest(root))
    planner, files = Planner(index, settings), ShardFiles(root, index.shard_names)
    order = Order(len(index.ranges["train"]), batch_size)
    pool = ThreadPoolExecutor(threads)
    channels, (height, width) = settings.recipe.channels, settings.size

    def produce() -> Iterator[tuple[list[NDArray[Any]], ...]]:
        epoch = 0
        while True:
            for step in range(order.steps):
                positions, elements, _ = order.draws(epoch, step)
                plan = planner.plan(elements + index.ranges["train"].start, epoch, positions)

                def one(i: int, plan: Any = plan) -> NDArray[Any]:
                    record, level = plan.records[i], int(plan.levels[i])
                    data = files.read(record, level)
                    if feed == "streams":
                        return np.frombuffer(htj2k.cut(data, level), np.uint8)
                    return decode_level(data, record, level, 0.0)[..., None]

                images = list(pool.map(one, range(batch_size)))
                samples = list(np.ascontiguousarray(plan.samples).view(np.uint8).reshape(batch_size, -1))
                windows = list(np.ascontiguousarray(plan.windows).view(np.uint8).reshape(batch_size, -1))
                yield images, samples, windows
            epoch += 1

    norm = normalisation(settings.recipe.mean, settings.recipe.std)
    sample_at, window_at = (pointer_to(numba.from_dtype(d)) for d in (SAMPLE, WINDOW))
    render, work_size, ring, tables = cpu._render, cpu.work_size, cpu.RING, NO_TABLES
    code = {"u1": rows.UINT8, "u2": rows.UINT16, "i2": rows.INT16}

    def run(out, image, sample_bytes, window_bytes):  # type: ignore[no-untyped-def]
        s = numba.carray(sample_at(sample_bytes.ctypes.data), 1)[0]
        windows = numba.carray(window_at(window_bytes.ctypes.data), channels)
        _, _, taps = span(image.shape[0], s.level, s.top, s.height, height)
        left, right, across = span(image.shape[1], s.level, s.left, s.width, width)
        first = np.empty((2, max(height, width)), np.uint32)
        weight = np.empty((2, max(height * taps, width * across)), np.float32)
        work = np.empty(work_size(channels, taps, right - left, width), np.float32)
        tags = np.empty(ring + channels, np.int64)
        memo = np.full((2, 9), np.nan)
        source = np.empty(4, np.int64)
        source[0], source[1], source[2], source[3] = image.ctypes.data, dtype_code, image.shape[0], image.shape[1]
        render(source, s, windows, tables, norm, out, first, weight, work, tags, memo, False)

    def setup(outs, ins):  # type: ignore[no-untyped-def]
        for i in range(len(outs[0])):
            outs[0][i][0], outs[0][i][1], outs[0][i][2] = channels, height, width

    raw = index.records["codec"][0] == 0
    dtype_code = code["i2" if raw else "u2"]
    pipe = Pipeline(batch_size=batch_size, num_threads=threads, device_id=None, prefetch_queue_depth=2)
    with pipe:
        image, sample, window = fn.external_source(
            source=produce(),
            num_outputs=3,
            dtype=[
                types.UINT8 if feed == "streams" else types.INT16 if raw else types.UINT16,
                types.UINT8,
                types.UINT8,
            ],
            ndim=[1 if feed == "streams" else 3, 1, 1],
        )
        if feed == "streams":
            image = fn.decoders.image(image, output_type=types.ANY_DATA, dtype=types.UINT16)
        pipe.set_outputs(
            numba_function(
                image,
                sample,
                window,
                run_fn=run,
                setup_fn=setup,
                out_types=[types.FLOAT],
                in_types=[types.INT16 if raw else types.UINT16, types.UINT8, types.UINT8],
                outs_ndim=[3],
                ins_ndim=[3, 1, 1],
                batch_processing=False,
                device="cpu",
            )
        )
    pipe.build()
    try:
        while True:
            yield pipe.run()[0]
    finally:
        pool.shutdown()
        files.close()
