"""fused.h, the arithmetic of the CUDA kernel, is the reference to 1e-5 in a host build; fused.cu compiles for sm_90. No GPU needed."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kernel_cases import Case, random_case

from radload.errors import RadloadError
from radload.kernels import gpu, prepare
from radload.kernels.prepare import Voi
from radload.kernels.reference import Window

PLANES = 2


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ here to build the kernel's arithmetic for the host")
    library = tmp_path_factory.mktemp("fused") / "fused_host.so"
    source, include = Path(__file__).with_name("fused_host.cpp"), Path(gpu.__file__).parent
    options = ["-O2", "-std=c++17", "-Wall", "-Werror", "-shared", "-fPIC", f"-DPLANES={PLANES}", f"-I{include}"]
    options.append("-ffp-contract=off")  # as fused_effects.h asks of CUDA by intrinsics
    subprocess.run([compiler, *options, "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


def rendered(host: ctypes.CDLL, case: Case) -> np.ndarray:
    samples, windows, norm, pool = case.records()
    code = gpu.DTYPE_CODES[case.coded.dtype.name]
    sources = np.array([(case.coded.ctypes.data, code, *case.coded.shape, 0)], gpu.SOURCE)
    gpu.check(sources, samples, windows, norm, PLANES)
    out = np.full((1, PLANES, *case.size), np.nan, np.float32)
    p = [ctypes.c_void_p(a.ctypes.data) for a in (sources, samples, windows, pool, norm, out)]
    host.render(p[0], p[1], p[2], 0, p[3], pool.size, p[4], p[5], 1, *case.size)
    return out[0]


def assert_close(got: np.ndarray, case: Case) -> None:
    case.assert_close(got)


def test_random_cases(host: ctypes.CDLL) -> None:
    rng = np.random.default_rng(11)
    for _ in range(300):
        case = random_case(rng, planes=PLANES)
        assert_close(rendered(host, case), case)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 1), (224, 224)), ((3, 8192), (9, 40)), ((8192, 3), (2, 5)), ((512, 512), (224, 224)), ((600, 1), (33, 70))],
)
def test_sizes(host: ctypes.CDLL, shape: tuple[int, int], size: tuple[int, int]) -> None:
    coded = np.random.default_rng(0).integers(0, 4096, shape, np.uint16)
    case = Case(coded, (Window(Voi.LINEAR, 2000, 3000), Window(Voi.SIGMOID, 100, 9)), size, {"flip": (True, False)})
    assert_close(rendered(host, case), case)


@pytest.fixture(scope="module")
def nvrtc() -> ctypes.CDLL:
    """NVRTC as pip installs it: nvidia/cu13/lib (CUDA 13) or nvidia/cuda_nvrtc/lib (CUDA 12)."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    found = [lib for f in folders for lib in sorted(f.glob("*/lib/libnvrtc.so.1*"))]
    if not found:
        pytest.skip("NVRTC is not installed (pip package nvidia-cuda-nvrtc): the CUDA source is not compiled here")
    for part in sorted(found[0].parent.glob("libnvrtc-builtins.so.*")):
        ctypes.CDLL(
            str(part)
        )  # NVRTC opens it by name, and would find it by itself only where torch has loaded it before
    return ctypes.CDLL(str(found[0]))


@pytest.mark.parametrize(("planes", "output"), [(1, "float32"), (3, "float16"), (3, "bfloat16")])
def test_compiles_for_sm_90(nvrtc: ctypes.CDLL, planes: int, output: gpu.Output) -> None:
    program = ctypes.c_void_p()
    text = gpu.source_text().encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"fused.cu", 0, None, None) == 0
    flags = [o.encode() for o in ("-arch=sm_90", *gpu.options(planes, output))]
    status = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    assert nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
    cubin = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, cubin)
    assert cubin.raw[:4] == b"\x7fELF"
    assert b"radload_fused" in cubin.raw
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def test_constants_are_those_of_the_header() -> None:
    text = (Path(gpu.__file__).parent / "fused.h").read_text()
    assert f"TILE_ROWS = {gpu.TILE_ROWS}, TILE_COLS = {gpu.TILE_COLS}, THREADS = TILE_ROWS * TILE_COLS" in text
    assert gpu.THREADS == gpu.TILE_ROWS * gpu.TILE_COLS


def test_without_a_device_it_says_so() -> None:
    if gpu.unavailable() is None:
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(RadloadError, match="device='cpu'"):
        gpu.FusedKernel(1)


def test_records_that_do_not_fit_are_refused() -> None:
    samples, windows, norm = prepare.samples(8, 8), prepare.windows([1], [0], [9]), prepare.normalisation(0, 1)
    good = np.array([(4096, 1, 8, 8, 0)], gpu.SOURCE)
    gpu.check(good, samples, windows, norm, 1)
    for bad in ((4096, 1, 7, 8, 0), (4096, 4, 8, 8, 0), (4096, -1, 8, 8, 0)):
        with pytest.raises(ValueError, match="source"):
            gpu.check(np.array([bad], gpu.SOURCE), samples, windows, norm, 1)
    with pytest.raises(ValueError, match="planes"):
        gpu.check(good, samples, windows, norm, 2)
    with pytest.raises(ValueError, match="one batch"):
        gpu.check(good, np.repeat(samples, 2), windows, norm, 1)
