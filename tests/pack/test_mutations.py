"""Damaged files cost themselves and nothing else: no crash, no hang, no memory beyond the limit, and each is accounted for."""

from __future__ import annotations

import io
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pydicom
import pytest
from mutate import MARKER, Seed, load_seeds, write_damaged
from outcomes import decide_all
from rich.console import Console
from watch import FILE_SECONDS, MEMORY, memory_watch, probe, time_limit

from radload.pack import PackOptions, pack
from radload.pack.codes import PACK_CODES
from radload.pack.eligible import KINDS
from radload.pack.executor import Died, run_jobs
from radload.pack.workspace import REJECTS
from radload.sources import CODES

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"


@dataclass
class Found:
    """What became of the cases so far."""

    files: int = 0
    packed: int = 0
    ignored: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    peak: int = 0
    slowest: tuple[float, str] = (0.0, "")  # seconds, case
    largest: tuple[int, str] = (0, "")  # bytes resident while one file was read, case
    seconds: float = 0.0


def run_batch(folder: Path, seeds: list[Seed], numbers: range, found: Found) -> None:
    """Write the cases below `folder`, read each alone, pack them all, and hold both against the promises."""
    paths = write_damaged(folder / "src", seeds, numbers)
    started = time.monotonic()
    wrong: list[str] = []
    for position, one in run_jobs(probe, paths, 2):
        if isinstance(one, Died):
            wrong.append(f"{paths[position].name}: the worker crashed, or read it for more than {FILE_SECONDS:.0f} s")
            continue
        if one.code not in ("", "ignored", *CODES) or MARKER in one.reason or one.peak > MEMORY:
            wrong.append(f"{paths[position].name}: {one}")
        found.slowest = max(found.slowest, (one.seconds, paths[position].name))
        found.largest = max(found.largest, (one.peak, paths[position].name))
    assert not wrong, "\n".join(wrong)
    said = io.StringIO()
    with memory_watch() as peak, time_limit(60 + FILE_SECONDS * len(paths) / 20):
        decisions = decide_all(folder / "src", folder / "decisions.toml")  # or what is in quarantine is not decoded
        options = PackOptions(folder / "src", folder / "out", split="100/0/0", workers=2, decisions=decisions)
        summary = pack(options, Console(file=said, force_terminal=True))
    rejected = Counter(summary.rejected)
    assert summary.packed + rejected.total() + summary.ignored == len(paths)
    assert set(rejected) <= {*CODES, *PACK_CODES, *KINDS}
    assert not {"internal-error", "decoder-crashed", "timeout"} & set(rejected), rejected
    assert MARKER not in said.getvalue() and "Traceback" not in said.getvalue()
    rejects = pq.read_table(folder / "out.private" / REJECTS)
    assert not [reason for reason in rejects["reason"].to_pylist() if MARKER in reason]
    assert peak[0] < MEMORY
    found.files += len(paths)
    found.packed, found.ignored = found.packed + summary.packed, found.ignored + summary.ignored
    found.codes += rejected
    found.peak, found.seconds = max(found.peak, peak[0], found.largest[0]), found.seconds + time.monotonic() - started


def test_a_few_hundred_damaged_files(tmp_path: Path) -> None:
    seeds = load_seeds([GOLDEN, PYDICOM], 48 << 10)
    assert len(seeds) > 60
    found = Found()
    run_batch(tmp_path, seeds, range(300), found)
    assert found.packed > 30 and found.codes.total() > 60  # both ends of the scale were met


@pytest.mark.soak
def test_twenty_thousand_damaged_files(tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = load_seeds([GOLDEN, PYDICOM, shared_data], 400 << 10)
    found = Found()
    for batch in range(40):
        folder = tmp_path / str(batch)
        run_batch(folder, seeds, range(batch * 500, batch * 500 + 500), found)
        shutil.rmtree(folder)
    with capsys.disabled():
        print(
            f"\n{len(seeds)} seed files, {found.files:,} damaged files in {found.seconds:.0f} s: packed {found.packed:,},"
        )
        print(f"ignored {found.ignored:,}, rejected {found.codes.total():,} ({dict(found.codes.most_common())}),")
        print(f"largest worker {found.peak >> 20} MiB, slowest file {found.slowest[0]:.2f} s ({found.slowest[1]})")
    assert found.files >= 20_000
