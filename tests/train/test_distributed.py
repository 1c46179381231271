"""What rank 0 alone cannot do ends all ranks, and torchrun's user hears of the setting that restarts need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_ranks import run_on_two

from radload.errors import UsageError
from radload.train.distributed import Ranks, RankZeroFailed, launch_notes, multiplies_bf16

TWO = Ranks(0, 2, 0, torch.device("cpu"))
ALONE = Ranks(0, 1, 0, torch.device("cpu"))


def fails_on_the_first(ranks: Ranks) -> list[str]:
    """What each rank raises when rank 0 fails in one of three blocks, and whether all leave the others."""
    said = []
    for fails in (False, True, False):
        try:
            with ranks.leading():
                if fails and ranks.first:
                    raise UsageError("no room")
            said.append("left")
        except (UsageError, RankZeroFailed) as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


def test_all_ranks_raise_what_rank_0_alone_met(tmp_path: Path) -> None:
    first, second = run_on_two(fails_on_the_first, tmp_path)
    assert first == ["left", "UsageError: no room", "left"]
    assert second == ["left", "RankZeroFailed: rank 0 failed", "left"]
    assert fails_on_the_first(ALONE) == first


@pytest.mark.parametrize(
    ("restarts", "shared", "ranks", "said"),
    [("3", "True", TWO, True), ("3", "False", TWO, False), ("0", "True", TWO, False), ("3", "True", ALONE, False),
     (None, None, TWO, False)],
)  # fmt: skip
def test_restarts_that_may_not_work_are_said(
    restarts: str | None, shared: str | None, ranks: Ranks, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the variables that torchrun sets for its processes; "shared" is its answer to TORCH_DISABLE_SHARE_RDZV_TCP_STORE."""
    for name, value in (("TORCHELASTIC_MAX_RESTARTS", restarts), ("TORCHELASTIC_USE_AGENT_STORE", shared)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    notes = launch_notes(ranks)
    assert len(notes) == said
    assert all("--max-restarts 3" in note and "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in note for note in notes)


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({"amx_bf16": True}, True),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_f": True}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_taken_where_a_cpu_multiplies_it(
    capabilities: dict[str, bool], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert multiplies_bf16(torch.device("cpu")) is fast


def test_a_run_that_is_over_ends_with_its_code_and_no_thread_can_change_it() -> None:
    """Not even one that is in the middle of things, which the end of an interpreter would meet."""
    script = (
        "import atexit, sys, threading, time\n"
        "from radload.train.distributed import end\n"
        "atexit.register(lambda: print('taken down'))\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "print('said', end='')\n"
        "print('why', file=sys.stderr, end='')\n"
        "end(2)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "said", "why")
