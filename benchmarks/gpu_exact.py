"""Is what a GPU computes what the CPU computes? Kernel against kernel, decoder against decoder; used by gpu_check.py and tests/gpu."""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radload.codecs import htj2k
from radload.dataset.schema import LEVELS
from radload.kernels import cpu, gpu, prepare
from radload.kernels.prepare import Voi
from radload.loading.gpu.decoded import Decoder

SIZES = [(512, 512), (1, 1), (37, 900), (2048, 1024), (64, 65)]
DTYPES = ("uint8", "uint16", "int16", "float32")
# Of (y - mean) / std, which stays below 4 here: float32 is 2e-5 in y; the others add half a unit in their last place.
TOLERANCE: dict[gpu.Output, float] = {"float32": 8e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def kernel_error(output: gpu.Output, size: tuple[int, int] = (224, 200), channels_last: bool = False) -> float:
    """Largest difference of one launch over a ragged batch from the CPU kernel: every dtype, level, window kind, flip, crop and effect."""
    import torch

    rng = np.random.default_rng(0)
    count = 2 * len(SIZES) * len(DTYPES)
    full = [SIZES[i % len(SIZES)] for i in range(count)]
    level = np.arange(count) % 3
    coded = [
        rng.integers(0, 256, tuple(-(-n >> int(k)) for n in shape)).astype(DTYPES[i % 4])
        for i, (shape, k) in enumerate(zip(full, level, strict=True))
    ]
    rows, cols = (np.array(full)[:, i] for i in (0, 1))
    crop = np.stack([rows * 0.125, cols * 0.25, rows * 0.75, cols * 0.5], axis=1)
    crop[::3] = np.stack([rows * -0.5, cols * -0.25, rows * 2.0, cols * 1.25], axis=1)[::3]  # beyond the image
    turns = np.where(np.arange(count) % 5 == 1, 25.0, 0.0)
    samples = prepare.samples(
        rows,
        cols,
        level=level,
        crop=crop,
        flip=np.arange(count) % 4,
        padding=(7, 9),
        size=size,
        angle=turns,
        noise=np.where(np.arange(count) % 7 == 2, 0.05, 0.0),
        key=rng.integers(0, 2**32, (count, 2)),
    )
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

    held = [torch.from_numpy(c.view(np.uint8).copy()).cuda() for c in coded]
    sources = np.zeros(count + 1, gpu.SOURCE)  # the last one has no sample
    for i, (array, tensor) in enumerate(zip(coded, held, strict=True)):
        sources[i] = (tensor.data_ptr(), gpu.DTYPE_CODES[array.dtype.name], *array.shape, 0)
    samples, windows = np.append(samples, np.zeros(1, prepare.SAMPLE)), np.concatenate([windows, windows[-1:]])
    gpu.check(sources, samples, windows, norm, 3)
    parts = [torch.from_numpy(p.reshape(-1).view(np.uint8).copy()).cuda() for p in (sources, samples, windows, tables, norm)]  # fmt: skip
    at = [p.data_ptr() for p in parts]
    shape = (count + 1, *size, 3) if channels_last else (count + 1, 3, *size)
    out = torch.full(shape, float("nan"), dtype=getattr(torch, output), device="cuda")
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())  # type: ignore[no-untyped-call]
    launch = gpu.Launch(
        count=count + 1,
        sources=at[0],
        samples=at[1],
        windows=at[2],
        tables=at[3],
        entries=tables.size,
        norm=at[4],
        out=out.data_ptr(),
        to=gpu.target(3, size, 1, channels_last),
    )
    gpu.FusedKernel(3, output).launch(launch, stream.cuda_stream)
    stream.synchronize()
    found: NDArray[np.float32] = (out.movedim(-1, 1) if channels_last else out).float().cpu().numpy()
    if found[-1].any() or np.isnan(found).any():
        return float("inf")
    return float(np.abs(found[:-1] - want).max())


def decoder_errors(decoder: Decoder, images: list[NDArray[np.int16]]) -> list[str]:
    """Levels and sizes at which a decoder of cut streams gives other bits than the CPU; [] where it gives the same."""
    found = []
    for level in range(LEVELS + 1):
        data = [np.frombuffer(htj2k.cut(htj2k.encode(image).data, level), np.uint8) for image in images]
        try:
            decoded = decoder.decode(data)
        except RuntimeError as error:
            found.append(f"level {level} is refused: {error}".splitlines()[0])
            continue
        for i, stream in enumerate(data):
            expected, got = imagecodecs.htj2k_decode(stream.tobytes()), decoded.pixels(i)
            if got.shape != expected.shape or not np.array_equal(got, expected):
                found.append(f"level {level} of {images[i].shape[0]}x{images[i].shape[1]} differs")
    return found
