"""Jobs in worker processes: every one has a result; a worker's death costs the job that caused it, and nobody else's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from radload.pack.executor import DIED, run_jobs


def square(number: int) -> int:
    warnings.warn("a name", UserWarning, stacklevel=1)
    print("a name")
    return number * number


def deadly(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def failing(number: int) -> int:
    raise ValueError(str(number))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_job_has_its_result_and_workers_are_silent(workers: int, capfd: pytest.CaptureFixture[str]) -> None:
    ticks = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dict(run_jobs(square, range(9), workers, lambda: ticks.append(1)))
    assert found == {number: number * number for number in range(9)} and ticks
    assert workers == 0 or capfd.readouterr() == ("", "")


def test_a_worker_that_dies_costs_its_own_job_only() -> None:
    found = dict(run_jobs(deadly, range(8), 2))
    assert found.pop(3) is DIED
    assert found == {number: number for number in range(8) if number != 3}


def test_an_error_in_the_code_reaches_the_caller_and_leaves_no_process() -> None:
    with pytest.raises(ValueError, match=r"[0-3]"), closing(run_jobs(failing, range(4), 2)) as results:
        list(results)
    for child in multiprocessing.active_children():
        child.join(5)
    assert not multiprocessing.active_children()


def test_workers_that_cannot_start_are_said_and_blamed_on_no_file(tmp_path: Path) -> None:
    """A script without a main guard runs itself again in every worker."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom radload.pack import *\npack(PackOptions(Path('src'), Path('out'), workers=1))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and "worker processes cannot be started" in ended.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py", "src"]
