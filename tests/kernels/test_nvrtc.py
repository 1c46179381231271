"""fused.cu compiles for every architecture, number of planes and output type, within the stated bounds. No GPU needed."""

from __future__ import annotations

import pytest

from radload.errors import RadloadError
from radload.kernels import gpu, nvrtc

SHARED_LIMIT = 48 << 10  # of a block, on every device


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_compiles_within_bounds(architecture: str) -> None:
    """Three blocks fit a multiprocessor with up to four planes, and there are no spills to speak of."""
    wanted = [(planes, output) for planes in (1, 2, 3, 4, gpu.MOST_PLANES) for output in gpu.OUTPUTS]
    for planes, output in (*wanted, (6, "float16")):
        found = nvrtc.compile_kernel(architecture, planes, output)
        assert found.cubin[:4] == b"\x7fELF"
        assert b"radload_fused" in found.cubin
        assert found.shared <= SHARED_LIMIT
        many = planes > nvrtc.FEW_PLANES
        assert found.registers <= nvrtc.MOST_REGISTERS[many], (planes, output, found.registers)
        assert found.spill <= nvrtc.MOST_SPILL[many], (planes, output, found.spill)


def test_one_plane_more_is_too_many() -> None:
    with pytest.raises(RadloadError, match="compile"):
        nvrtc.compile_kernel("sm_90", gpu.MOST_PLANES + 1, "float32")


def test_a_source_that_is_wrong_is_refused_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "source_text", lambda: "this is no CUDA")
    with pytest.raises(RadloadError, match=r"does not compile for sm_90 .* error"):
        nvrtc.compile_kernel("sm_90", 1, "float32")
