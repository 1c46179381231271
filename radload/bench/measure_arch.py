"""How many images per second a network takes on this machine: training steps on synthetic data, no loader beside them."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch.nn.functional import cross_entropy

from radload.bench.needs import Need
from radload.errors import UsageError
from radload.train.models import build_model

CLASSES = 165  # of RadImageNet; the head is no part of the cost
CPU_BATCH = 16  # a larger one makes a step on the CPU take seconds and is no faster
_WARM_UP = {"cuda": 5, "cpu": 1}
_MIN_STEPS = 3


def measure_arch(arch: str, channels: int, size: int, batch_size: int, seconds: float) -> Need:
    """Time forward, backward and an SGD step, channels_last; on a GPU in bfloat16, on the CPU in float32 on all allowed cores.

    Raises:
        UsageError: no such network, or one that cannot take such images, or not so many of them.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    count = batch_size if device == "cuda" else min(batch_size, CPU_BATCH)
    model = build_model(arch, channels, CLASSES, size).to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=True)
    images = torch.randn(count, channels, size, size, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (count,), device=device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = cross_entropy(model(images).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    try:
        for _ in range(_WARM_UP[device]):
            step()
        times: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < _MIN_STEPS:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
    except (RuntimeError, ValueError) as error:  # out of memory, or shapes that do not fit
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(
            f"--measure-arch {arch} cannot train on {count} images of {channels} x {size} x {size} ({reason}): "
            "give another --batch-size, --size or --arch"
        ) from None
    where = torch.cuda.get_device_name() if device == "cuda" else f"this CPU ({torch.get_num_threads()} threads)"
    kind = "bfloat16" if device == "cuda" else "float32"
    return Need(
        arch,
        where,
        count / median(times),
        size,
        "measured",
        f"here, synthetic data, {kind}, batches of {count}, {len(times)} steps",
    )
