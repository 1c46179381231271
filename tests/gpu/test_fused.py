"""On a CUDA device, one launch over a ragged batch gives what the CPU kernel gives, in every output type and on torch's stream."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from radload.kernels import cpu, gpu, prepare
from radload.kernels.prepare import Voi

pytestmark = pytest.mark.gpu

SIZES = [(512, 512), (1, 1), (37, 900), (2048, 1024), (64, 65)]
DTYPES = ("uint8", "uint16", "int16", "float32")
# Of (y - mean) / std, which stays below 4 here: float32 is 2e-5 in y; the others add half a unit in their last place.
TOLERANCE: dict[gpu.Output, float] = {"float32": 8e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


@pytest.mark.parametrize("output", gpu.OUTPUTS)
def test_equals_the_cpu_kernel(output: gpu.Output) -> None:
    reason = gpu.unavailable()
    if reason is not None or not torch.cuda.is_available():
        pytest.skip(reason or "torch sees no CUDA device")
    rng = np.random.default_rng(0)
    size, count = (224, 200), 2 * len(SIZES)
    full = [SIZES[i % len(SIZES)] for i in range(count)]
    level = np.arange(count) % 3
    coded = [
        rng.integers(0, 256, tuple(-(-n >> int(k)) for n in shape)).astype(DTYPES[i % 4])
        for i, (shape, k) in enumerate(zip(full, level, strict=True))
    ]
    rows, cols = (np.array(full)[:, i] for i in (0, 1))
    crop = np.stack([rows * 0.125, cols * 0.25, rows * 0.75, cols * 0.5], axis=1)
    crop[::3] = np.stack([rows * -0.5, cols * -0.25, rows * 2.0, cols * 1.25], axis=1)[::3]  # beyond the image
    samples = prepare.samples(rows, cols, level=level, crop=crop, flip=np.arange(count) % 4, padding=(7, 9), size=size)
    tables = rng.random(100).astype(np.float32)
    windows = prepare.windows(
        [Voi.LINEAR, Voi.SIGMOID, Voi.TABLE],
        [100, 90, 0],
        [120, 40, 1],
        slope=np.linspace(-2, 2, count),
        invert=np.arange(count) % 2 == 0,
        table_first=60,
        table_entries=100,
    )
    norm = prepare.normalisation([0.4, 0.5, 0.6], [0.25, 0.25, 0.25])
    want = np.empty((count, 3, *size), np.float32)
    cpu.render_many(coded, samples, windows, norm, want, tables=tables)

    on_device = [torch.from_numpy(c.view(np.uint8).copy()).cuda() for c in coded]
    sources = np.zeros(count, gpu.SOURCE)
    for i, (array, tensor) in enumerate(zip(coded, on_device, strict=True)):
        sources[i] = (tensor.data_ptr(), gpu.DTYPE_CODES[array.dtype.name], *array.shape, 0)
    out = torch.empty((count, 3, *size), dtype=getattr(torch, output), device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    kernel = gpu.FusedKernel(3, output)
    kernel.launch(sources, samples, windows, norm, out.data_ptr(), size, tables=tables, stream=stream.cuda_stream)
    stream.synchronize()
    assert np.abs(out.float().cpu().numpy() - want).max() < TOLERANCE[output]
