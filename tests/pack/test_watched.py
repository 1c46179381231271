"""A file that does not answer is named and given up; a slow one, and time between files, is nobody's fault."""

from __future__ import annotations

import threading
import time
from unittest import mock

import pytest

from radload.errors import RadloadError, UsageError
from radload.pack import watched as module
from radload.pack.watched import Reading, watched


def test_the_result_and_the_error_are_those_of_the_work() -> None:
    assert watched(lambda reading: 7, 5.0) == 7
    with pytest.raises(UsageError, match="no image"):
        watched(refuse, 5.0)


def refuse(_: Reading) -> int:
    raise UsageError("no image")


def test_a_file_that_does_not_answer_is_named() -> None:
    comes_back = threading.Event()

    def work(reading: Reading) -> None:
        reading("first.dcm")
        reading("second.dcm")
        comes_back.wait(60)

    with pytest.raises(RadloadError, match=r"^second\.dcm does not answer: 0\.3 seconds .*--timeout"):
        watched(work, 0.3)
    comes_back.set()


def test_what_gets_on_is_not_given_up() -> None:
    """Longer than the time-out in all, and no part of it at one frame; and longer at no file."""

    def work(reading: Reading) -> str:
        for _ in range(6):
            reading("slow.dcm")
            time.sleep(0.4)
        reading("")
        time.sleep(2.5)
        return "done"

    assert watched(work, 2.0) == "done"


def test_time_in_which_the_process_was_stopped_does_not_count() -> None:
    """A clock that jumps by an hour at each look is a machine that slept: a second of it counts."""
    clock = iter(range(0, 3600 * 1000, 3600))

    def work(reading: Reading) -> str:
        reading("file.dcm")
        time.sleep(1.0)
        return "done"

    with mock.patch.object(module.time, "monotonic", lambda: next(clock)):
        assert watched(work, 30.0) == "done"
