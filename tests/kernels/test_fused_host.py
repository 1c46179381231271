"""fused.h, the arithmetic of the CUDA kernel, is the reference to 1e-5 in a host build. No GPU needed."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import fused_host
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import Case, random_case

from radload.errors import RadloadError
from radload.kernels import gpu, prepare
from radload.kernels.prepare import Voi
from radload.kernels.reference import Window

PLANES = 2


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return fused_host.build(tmp_path_factory.mktemp("fused"), PLANES)


def rendered(host: ctypes.CDLL, case: Case) -> np.ndarray:
    return batch(host, [case], case.size)[0]


def batch(
    host: ctypes.CDLL, cases: list[Case | None], size: tuple[int, int], slices: int = 1, channels_last: bool = False
) -> np.ndarray:
    """One launch for cases of one size, None for no sample: (images, slices * planes, height, width), from whatever layout."""
    records = [case.records() if case is not None else None for case in cases]
    found = [r for r in records if r is not None]
    pools = np.cumsum([0, *(len(r[3]) for r in found)])
    samples, windows = np.zeros(len(cases), prepare.SAMPLE), np.zeros((len(cases), PLANES), prepare.WINDOW)
    sources, norm = np.zeros(len(cases), gpu.SOURCE), found[0][2]
    samples["level"] = 99  # what no sample has must not be looked at
    starts = iter(pools)
    for i, (case, record) in enumerate(zip(cases, records, strict=True)):
        if case is None or record is None:
            continue
        samples[i], windows[i] = record[0][0], record[1][0]
        windows[i]["start"] += int(next(starts))
        sources[i] = (case.coded.ctypes.data, gpu.DTYPE_CODES[case.coded.dtype.name], *case.coded.shape, 0)
    gpu.check(sources, samples, windows, norm, PLANES)
    pool = np.concatenate([r[3] for r in found])
    out = np.full((len(cases) // slices, slices * PLANES, *size), np.nan, np.float32)
    if channels_last:
        out = np.moveaxis(np.full((len(cases) // slices, *size, slices * PLANES), np.nan, np.float32), 3, 1)
    launch = gpu.Launch(
        count=len(cases),
        sources=sources.ctypes.data,
        samples=samples.ctypes.data,
        windows=windows.ctypes.data,
        tables=pool.ctypes.data,
        entries=pool.size,
        norm=norm.ctypes.data,
        out=out.ctypes.data,
        to=gpu.target(PLANES, size, slices, channels_last),
    )
    fused_host.launch(host, launch)
    return out


def test_random_cases(host: ctypes.CDLL) -> None:
    rng = np.random.default_rng(11)
    for _ in range(300):
        case = random_case(rng, planes=PLANES)
        case.assert_close(rendered(host, case))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3), st.booleans(), st.data())
def test_ragged_batches_in_every_layout(
    host: ctypes.CDLL, seed: int, images: int, slices: int, channels_last: bool, data: st.DataObject
) -> None:
    """Samples of every size, dtype and level in one launch, slices side by side as channels, and 0 where there is no sample."""
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 40)), int(rng.integers(1, 70)))
    first = random_case(rng, PLANES, size)
    cases: list[Case | None] = [first]
    for _ in range(images * slices - 1):
        case = random_case(rng, PLANES, size)
        case.options.update(mean=first.options["mean"], std=first.options["std"])  # of the run
        cases.append(case if data.draw(st.booleans()) else None)
    out = batch(host, cases, size, slices, channels_last).reshape(images, slices, PLANES, *size)
    for i, case in enumerate(cases):
        found = out[i // slices, i % slices]
        if case is None:
            assert not found.any()
        else:
            case.assert_close(found)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 1), (224, 224)), ((3, 8192), (9, 40)), ((8192, 3), (2, 5)), ((512, 512), (224, 224)), ((600, 1), (33, 70))],
)
def test_sizes(host: ctypes.CDLL, shape: tuple[int, int], size: tuple[int, int]) -> None:
    coded = np.random.default_rng(0).integers(0, 4096, shape, np.uint16)
    case = Case(coded, (Window(Voi.LINEAR, 2000, 3000), Window(Voi.SIGMOID, 100, 9)), size, {"flip": (True, False)})
    case.assert_close(rendered(host, case))


def test_constants_are_those_of_the_header() -> None:
    text = (Path(gpu.__file__).parent / "fused.h").read_text()
    assert f"TILE_ROWS = {gpu.TILE_ROWS}, TILE_COLS = {gpu.TILE_COLS}, THREADS = TILE_ROWS * TILE_COLS" in text
    assert gpu.THREADS == gpu.TILE_ROWS * gpu.TILE_COLS


def launch_of(count: int, size: tuple[int, int]) -> gpu.Launch:
    """One that nothing is rendered by; each number is another."""
    return gpu.Launch(
        count=count, sources=1, samples=2, windows=3, tables=4, entries=5, norm=6, out=7, to=gpu.target(PLANES, size, 3)
    )


def test_the_launch_passes_what_the_kernel_takes() -> None:
    """Names, order and widths are those of the source's parameters; a pointer is 8 bytes."""
    text = gpu.source_text()
    head = text[text.index("radload_fused(") :]
    parameters = [p.strip() for p in head[head.index("(") + 1 : head.index(")")].split(",")]
    widths = {"int": np.int32, "long long": np.int64}
    wanted = [(p.split()[-1], np.uint64 if "*" in p else widths[p.rpartition(" ")[0]]) for p in parameters]
    launch = launch_of(9, (8, 16))
    passed = launch.arguments()
    assert [(name, type(value)) for name, value in passed.items()] == wanted
    assert [int(passed[name]) for name in ("sources", "samples", "windows", "pool", "pool_size", "norm", "out")] == [
        1, 2, 3, 4, 5, 6, 7,
    ]  # fmt: skip
    assert [passed[name] for name in gpu.TARGET.names or () if name != "reserved"] == list(launch.to[0])[:-1]
    assert not passed["shared_windows"] and replace(launch, shared_windows=True).arguments()["shared_windows"] == 1


def test_the_grid_covers_the_outputs_and_knows_its_limits() -> None:
    assert launch_of(5, (gpu.TILE_ROWS, gpu.TILE_COLS)).grid() == (1, 1, 5)
    assert launch_of(5, (gpu.TILE_ROWS + 1, gpu.TILE_COLS + 1)).grid() == (2, 2, 5)
    most = 65535
    assert launch_of(most, (most * gpu.TILE_ROWS, 1)).grid() == (1, most, most)
    for count, rows in ((most + 1, 8), (1, most * gpu.TILE_ROWS + 1)):
        with pytest.raises(ValueError, match="range"):
            launch_of(count, (rows, 1)).grid()


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
