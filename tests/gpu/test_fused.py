"""On a CUDA device, one launch over a ragged batch gives what the CPU kernel gives, in every output type, layout, and on any stream."""

from __future__ import annotations

import pytest
import torch
from gpu_exact import TOLERANCE, decoder_errors, kernel_error

from radload.kernels import gpu
from radload.loading.gpu.decoder import DALI, NAMES, open_decoder

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def device() -> None:
    reason = gpu.unavailable()
    if reason is not None or not torch.cuda.is_available():
        pytest.skip(reason or "torch sees no CUDA device")


@pytest.mark.parametrize("output", gpu.OUTPUTS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_equals_the_cpu_kernel(output: gpu.Output, channels_last: bool) -> None:
    assert kernel_error(output, channels_last=channels_last) < TOLERANCE[output]


@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_equals_the_cpus_at_all_levels(name: str) -> None:
    pytest.importorskip("nvidia.dali" if name == DALI else "nvidia.nvimgcodec", reason=f"{name} is not installed")
    from gpu_check import odd_images

    stream = torch.cuda.current_stream()
    assert decoder_errors(open_decoder(name, 16, torch.cuda.current_device(), stream), odd_images()) == []
