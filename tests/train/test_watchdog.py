"""A rank that does one thing for too long says so, again and again; one that goes on is silent."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest

from radload.train import watchdog as watchdog_module
from radload.train.watchdog import Watchdog


def wait_for(said: list[str], count: int) -> None:
    limit = time.monotonic() + 120
    while len(said) < count and time.monotonic() < limit:
        time.sleep(0.01)


def test_it_says_who_waits_for_what_and_since_when() -> None:
    said: list[str] = []
    watchdog = Watchdog(3, 8, 0.3 / 60, said.append)
    watchdog.doing("waits for data")
    wait_for(said, 2)
    watchdog.close()
    assert len(said) >= 2 and all(re.fullmatch(r"rank 3 of 8 waits for data since \d+ s\n", line) for line in said)


def test_it_is_silent_while_steps_go_on_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    said, clock = list[str](), [1000.0]
    monkeypatch.setattr(watchdog_module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    watchdog = Watchdog(0, 1, 0.02 / 60, said.append)
    for _ in range(100):  # a quarter of the limit each, 25 times the limit together
        watchdog.doing("trains")
        clock[0] += 0.005
        time.sleep(0.01)
        watchdog.doing("waits for data")
    clock[0] += 0.021
    wait_for(said, 1)
    assert said == ["rank 0 of 1 waits for data since 0 s\n"], "the same thread speaks when one takes longer"
    said.clear()
    watchdog.doing("trains")
    watchdog.close()
    assert said == [] and not watchdog._thread.is_alive()
