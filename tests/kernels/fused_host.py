"""The CUDA kernel's arithmetic built for the host, callable on host addresses."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from radload.kernels import gpu


def build(folder: Path, planes: int) -> ctypes.CDLL:
    """Compile fused_host.cpp; skips the test where there is no compiler."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here to build the kernel's arithmetic for the host")
    library = folder / f"fused_host_{planes}.so"
    source, include = Path(__file__).with_name("fused_host.cpp"), Path(gpu.__file__).parent
    options = ["-O2", "-std=c++17", "-Wall", "-Werror", "-shared", "-fPIC", f"-DPLANES={planes}", f"-I{include}"]
    options.append("-ffp-contract=off")  # as fused_effects.h asks of CUDA by intrinsics
    subprocess.run([compiler, *options, "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


def launch(host: ctypes.CDLL, one: gpu.Launch) -> None:
    """As FusedKernel.launch, at once, to float32."""
    p = ctypes.c_void_p
    host.render(
        p(one.sources), p(one.samples), p(one.windows), int(one.shared_windows), p(one.tables), one.entries, p(one.norm),
        p(one.out), one.count, p(one.to.ctypes.data),
    )  # fmt: skip
