"""Jobs in worker processes: every one has a result; a worker's death costs the job that caused it, and nobody else's."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import signal
import subprocess
import sys
import time
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from radload.pack.executor import Beat, Crew, Died, Limits, run_jobs


def square(number: int, beat: Beat) -> int:
    warnings.warn("a name", UserWarning, stacklevel=1)
    print("a name")
    return number * number


def deadly(number: int, beat: Beat) -> int:
    beat(10 * number, 1)
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def hanging(number: int, beat: Beat) -> int:
    """3 sleeps at its second item, 4 is stopped, 5 is slow but goes on, 6 takes its time while it is at no item."""
    beat(10 * number, 0)
    if number == 3:
        beat(31, 1)
        time.sleep(3600)
    elif number == 4:
        os.kill(os.getpid(), signal.SIGSTOP)
    elif number == 5:
        for done in range(8):
            time.sleep(0.4)
            beat(50, done)
    elif number == 6:
        beat(-1, 1)
        time.sleep(3)
    return number


def failing(number: int, beat: Beat) -> int:
    raise ValueError(str(number))


def greedy(number: int, beat: Beat) -> str:
    """How far a worker comes with memory, and that it can go on afterwards."""
    try:
        return str(len(bytearray(number << 20)))
    except MemoryError:
        return "too much"


def unsendable(number: int, beat: Beat) -> object:
    return lambda: number


def whose(number: int, beat: Beat) -> int:
    return os.getpid()


class Tally:
    """Counts in the process that has it; every process that is sent one begins anew."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, number: int, beat: Beat) -> int:
        self.calls += 1
        return self.calls


def pages(rounds: int, beat: Beat) -> int:
    """Pages that the system had to clear while 18 MB were taken and freed, `rounds` times."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        taken = [np.ones(6 << 20, np.uint8) for _ in range(3)]
        del taken
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.parametrize("workers", [0, 2])
def test_every_job_has_its_result_and_workers_are_silent(workers: int, capfd: pytest.CaptureFixture[str]) -> None:
    ticks = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dict(run_jobs(square, range(9), workers, ticks.append))
    assert found == {number: number * number for number in range(9)} and ticks
    assert workers == 0 or capfd.readouterr() == ("", "")


def test_a_worker_that_dies_costs_its_own_job_only() -> None:
    found = dict(run_jobs(deadly, range(8), 2))
    assert found.pop(3) == Died(30, hung=False)
    assert found == {number: number for number in range(8) if number != 3}


def test_a_worker_without_progress_is_replaced_and_a_slow_one_is_not() -> None:
    found = dict(run_jobs(hanging, range(8), 3, limits=Limits(timeout=2.5)))
    assert (found.pop(3), found.pop(4)) == (Died(31, hung=True), Died(40, hung=True))
    assert found == {number: number for number in range(8) if number not in (3, 4)}
    assert not multiprocessing.active_children()


def test_the_owner_learns_how_far_jobs_are() -> None:
    seen: list[dict[int, int]] = []
    dict(run_jobs(hanging, [0, 5], 1, lambda done: seen.append(dict(done))))
    assert {done[1] for done in seen if 1 in done} >= {2, 4, 6}


def test_memory_has_a_ceiling_that_a_worker_survives() -> None:
    limits = Limits(memory=1 << 30)
    found = dict(run_jobs(greedy, [100, 2000, 300], 1, limits=limits))
    assert found == {0: str(100 << 20), 1: "too much", 2: str(300 << 20)}


def test_a_crew_stays_for_the_next_jobs_and_what_dies_is_replaced() -> None:
    with Crew() as crew:
        first = set(dict(run_jobs(whose, range(20), 2, crew=crew)).values())
        assert first and {worker._process.pid for worker in crew.workers} >= first
        assert dict(run_jobs(square, range(9), 2, crew=crew)) == {number: number * number for number in range(9)}
        again = set(dict(run_jobs(whose, range(20), 2, crew=crew)).values())
        assert again <= {worker._process.pid for worker in crew.workers} and again & first
        assert dict(run_jobs(deadly, range(8), 2, crew=crew)).pop(3) == Died(30, hung=False)
        idle = crew.workers[0]._process
        idle.kill()  # between two jobs, which is nobody's fault
        idle.join(60)
        assert dict(run_jobs(square, range(9), 2, crew=crew)) == {number: number * number for number in range(9)}
        crew.dismiss()
    assert not crew.workers and not multiprocessing.active_children()


def test_a_function_is_sent_once_and_may_keep_something_in_its_process() -> None:
    tally = Tally()
    with Crew() as crew:
        assert sorted(dict(run_jobs(tally, range(5), 1, crew=crew)).values()) == [1, 2, 3, 4, 5]
        assert dict(run_jobs(tally, [0], 1, crew=crew)) == {0: 6}
        dict(run_jobs(square, [0], 1, crew=crew))
        assert dict(run_jobs(tally, [0], 1, crew=crew)) == {0: 1}


def test_a_crew_whose_jobs_are_given_up_loses_only_those_at_work() -> None:
    with Crew() as crew:
        with pytest.raises(ValueError, match=r"[0-3]"), closing(run_jobs(failing, range(4), 2, crew=crew)) as results:
            list(results)
        assert all(worker.position is None for worker in crew.workers)
        assert dict(run_jobs(square, range(3), 2, crew=crew)) == {0: 0, 1: 1, 2: 4}
    with pytest.raises(KeyboardInterrupt), Crew() as crew:
        dict(run_jobs(square, range(3), 2, crew=crew))
        raise KeyboardInterrupt
    assert not multiprocessing.active_children()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library keeps pages by other rules")
def test_a_worker_keeps_the_pages_that_its_next_slice_needs() -> None:
    (found,) = dict(run_jobs(pages, [20], 1)).values()
    assert found < 3 * (18 << 20) // resource.getpagesize()  # given back each time they would be 20 times as many


def test_an_answer_that_cannot_be_sent_is_an_error_and_no_crash() -> None:
    with pytest.raises(RuntimeError, match="cannot be sent"):
        dict(run_jobs(unsendable, range(2), 1))


def test_an_error_in_the_code_reaches_the_caller_and_leaves_no_process() -> None:
    with pytest.raises(ValueError, match=r"[0-3]"), closing(run_jobs(failing, range(4), 2)) as results:
        list(results)
    for child in multiprocessing.active_children():
        child.join(60)
    assert not multiprocessing.active_children()


def test_workers_that_cannot_start_are_said_and_blamed_on_no_file(tmp_path: Path) -> None:
    """A script without a main guard runs itself again in every worker."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom radload.pack import *\npack(PackOptions(Path('src'), Path('out'), workers=1))\n"
    )
    ended = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode != 0 and "worker processes cannot be started" in ended.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.py", "src"]
