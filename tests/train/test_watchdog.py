"""A rank that does one thing for too long says so, again and again; one that goes on is silent."""

from __future__ import annotations

import re
import time

from radload.train.watchdog import Watchdog


def wait_for(said: list[str], count: int) -> None:
    limit = time.monotonic() + 20
    while len(said) < count and time.monotonic() < limit:
        time.sleep(0.01)


def test_it_says_who_waits_for_what_and_since_when() -> None:
    said: list[str] = []
    watchdog = Watchdog(3, 8, 0.3 / 60, said.append)
    watchdog.doing("waits for data")
    wait_for(said, 2)
    watchdog.close()
    assert len(said) >= 2 and all(re.fullmatch(r"rank 3 of 8 waits for data since \d+ s\n", line) for line in said)


def test_it_is_silent_while_steps_go_on_and_ends() -> None:
    said: list[str] = []
    watchdog = Watchdog(0, 1, 2 / 60, said.append)
    end = time.monotonic() + 2.6
    while time.monotonic() < end:
        watchdog.doing("trains")
        time.sleep(0.01)
    watchdog.close()
    assert said == [] and not watchdog._thread.is_alive()
