"""Data for the benchmarks: 600 generated CT-like slices of 512 x 512 pixels, packed once per session and codec."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/loading"))

from ct_like import SERIES, SLICES, ct_like
from make import Image, Series, write_dataset
from summary import FIRST_RUN, RUNS, peer_table, table, write_json


def _pack(folder: Path, count: int = SERIES, **image: Any) -> Path:
    series = [
        Series([Image(stored, intercept=-1024.0, **image) for stored in ct_like(SLICES, seed)]) for seed in range(count)
    ]
    return write_dataset(folder / "shards", series)


@pytest.fixture(scope="session")
def ct_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 slices, HTJ2K."""
    return _pack(tmp_path_factory.mktemp("htj2k"))


@pytest.fixture(scope="session")
def few_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 100 of these slices, HTJ2K."""
    return _pack(tmp_path_factory.mktemp("few"), 2)


@pytest.fixture(scope="session")
def raw_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same 600 slices, raw."""
    return _pack(tmp_path_factory.mktemp("raw"), codec="raw")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("radload benchmarks")
    group.addoption("--bench-json", type=Path, metavar="FILE", help="write all figures of the last tables to FILE")
    group.addoption(
        "--startup-rows", type=int, default=1_350_000, metavar="N", help="samples of the index in bench_startup.py"
    )
    group.addoption("--bench-chart", type=Path, metavar="FILE", help="draw radload beside its peers to FILE, a .png")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Slices per second, which the tables of pytest-benchmark do not show; then the peers, JSON and chart."""
    session = getattr(config, "_benchmarksession", None)
    benchmarks = session.benchmarks if session is not None else []
    runs = config.stash.get(RUNS, {})
    for lines in (table(benchmarks), *(peer_table(title, one) for title, one in runs.items())):
        for line in ["", *lines] if lines else ():
            terminalreporter.write_line(line)
    if path := config.getoption("--bench-json"):
        write_json(path, benchmarks, runs)
        terminalreporter.write_line(f"figures: {path}")
    if path := config.getoption("--bench-chart"):
        if FIRST_RUN in runs:
            from chart import draw

            draw(runs[FIRST_RUN], path)
            terminalreporter.write_line(f"chart: {path}")
        else:
            terminalreporter.write_line(f"no chart was drawn to {path}: bench_peers.py did not run", red=True)
