"""Compiles the CUDA kernel without a GPU, through NVRTC, and tells what it takes: the proof that it builds for every architecture."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from radload.errors import RadloadError
from radload.kernels import gpu

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
FEW_PLANES = 4  # up to so many, three blocks of 256 threads fit a multiprocessor, at the price of a small spill
MOST_REGISTERS, MOST_SPILL = (80, 160), (48, 0)  # of a thread, in bytes; for few planes and for more


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel: registers of a thread, bytes that it spills (the larger of stores and loads), shared memory of a block, and the cubin."""

    registers: int
    spill: int
    shared: int
    cubin: bytes


@cache
def library() -> ctypes.CDLL:
    """NVRTC as pip installs it: nvidia/cu13/lib (CUDA 13) or nvidia/cuda_nvrtc/lib (CUDA 12).

    Raises:
        RadloadError: it is not installed.
    """
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    found = [lib for f in folders for lib in sorted(f.glob("*/lib/libnvrtc.so.1*"))]
    if not found:
        raise RadloadError(
            "NVRTC is not installed, so the CUDA kernel cannot be compiled here: pip install nvidia-cuda-nvrtc"
        )
    for part in sorted(found[-1].parent.glob("libnvrtc-builtins.so.*")):
        ctypes.CDLL(str(part))  # NVRTC opens it by name, and would find it only where torch has loaded it before
    return ctypes.CDLL(str(found[-1]))


def compile_kernel(architecture: str, planes: int, output: gpu.Output) -> Compiled:
    """The fused kernel for "sm_90" and the like.

    Raises:
        RadloadError: NVRTC is missing, or refuses the source; its log is in the text.
    """
    nvrtc, program = library(), ctypes.c_void_p()
    text = gpu.source_text().encode()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"fused.cu", 0, None, None) != 0:
        raise RadloadError("NVRTC cannot make a program")
    try:
        options = (f"-arch={architecture}", "--ptxas-options=-v", *gpu.options(planes, output))
        flags = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        status = nvrtc.nvrtcCompileProgram(program, len(options), flags)
        log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode("utf-8", "replace")
        if status != 0:
            raise RadloadError(f"the CUDA kernel does not compile for {architecture} with {planes} planes: {log}")
        cubin = _text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(
        _number(r"Used (\d+) registers", log),
        max(_number(r"(\d+) bytes spill stores", log), _number(r"(\d+) bytes spill loads", log)),
        _number(r"(\d+) bytes smem", log),
        cubin,
    )


def _text(size_of: ctypes._NamedFuncPointer, get: ctypes._NamedFuncPointer, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    get(program, content)
    return content.raw


def _number(pattern: str, log: str) -> int:
    found = re.search(pattern, log)
    if found is None:
        raise RadloadError(f"NVRTC's log does not tell what the kernel takes ({pattern!r} not found): {log}")
    return int(found[1])
