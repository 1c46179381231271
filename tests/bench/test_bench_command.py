"""`radload bench`: a whole short run, its table, its JSON, and the sentences for what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from radload.bench import command, whole
from radload.bench.command import take_turns
from radload.bench.measure_arch import measure_arch
from radload.bench.options import BenchOptions
from radload.bench.result import LOADER, STAGES
from radload.bench.whole import Slot, WholeLoader
from radload.cli import main
from radload.errors import UsageError
from radload.loading import Loader


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_a_short_run(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    file = tmp_path / "figures.json"
    options = ("--size", 24, "--batch-size", 8, "--window=40,400", "--channels", 1, "--threads", 1, "--seconds", 1)
    assert run("bench", small_data, *options, "--arch", "resnet50", "--gpu", "h200", "--json", file) == 0
    printed = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert found["verdict"] in printed and "published: MLPerf" in printed
    assert set(found["medians"]) == {*STAGES, LOADER} and all(
        len(r) == command.ROUNDS for r in found["rounds"].values()
    )
    assert all(rate > 0 for rates in found["rounds"].values() for rate in rates)
    assert found["levels"] == {"0": 0.25, "1": 0.75} and found["samples"] == 24 and found["threads"] == 1
    assert 0 < found["first_batch"] < 60 and found["memory"]["own"] > 1 << 20
    assert found["need"]["rate"] == 7869 and found["limit"] in STAGES
    # Each stage is a part of the loader's work on the same thread, so the whole is not faster than the three: batches taken for
    # samples would be 8 times as fast or slow, and other work of the machine never falls on one side so much in five rounds.
    assert found["medians"]["loader"] < 4 * found["together"]
    assert "published" in printed and "the Loader" in printed


def test_the_loader_is_measured_in_whole_batches_and_closed(small_data: Path) -> None:
    options = BenchOptions(small_data, size=24, batch_size=8, window="40,400", channels=1)
    with WholeLoader(options, 2) as loader:
        pids = loader._pids
        assert len(pids) == 2
        slot = loader.run(0.05)
        batches = slot.rate * slot.seconds / 8
        assert slot.seconds >= 0.05 and round(batches) >= 1
        assert batches == pytest.approx(round(batches), abs=1e-6)
        read = loader.read()
        assert read is None or read.asked > 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(UsageError, match="the loader is closed"):
        _ = loader._loader.pids


def test_rounds_take_turns_and_share_the_time() -> None:
    calls: list[tuple[str, float]] = []

    def turn(name: str, seconds: float) -> float:
        calls.append((name, seconds))
        return float(len(calls))

    def whole(seconds: float) -> Slot:
        calls.append((LOADER, seconds))
        return Slot(float(len(calls)), seconds, 0.0, 0.0)

    rounds, slots = take_turns(["a", "b"], turn, whole, 30.0)
    assert [name for name, _ in calls] == ["a", "b", LOADER] * command.ROUNDS
    assert sum(seconds for _, seconds in calls) == pytest.approx(30)
    assert rounds["a"] == (1.0, 4.0, 7.0, 10.0, 13.0) and len(slots) == command.ROUNDS


def test_a_network_is_measured_here() -> None:
    need = measure_arch("resnet10t", 1, 32, 4, 0.2)
    assert need.rate > 0 and need.origin == "measured" and need.size == 32 and "batches of 4" in need.how
    with pytest.raises(UsageError, match="no network that timm knows"):
        measure_arch("resnet1", 1, 32, 4, 0.2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--arch", "resnet50"), "needs a card"),
        (("--gpu", "h200"), "say which, as in --arch resnet50"),
        (("--measure-arch",), "say which, as in --arch resnet50"),
        (("--arch", "resnet50", "--gpu", "h200", "--measure-arch"), "give one of them"),
        (("--arch", "resnet50", "--gpu", "abacus"), "measure it where you train"),
        (("--seconds", 0), "--seconds 0 cannot be used"),
        (("--window", "1,x"), "CENTRE,WIDTH"),
        (("--window", "nose"), "there is no window 'nose'"),
        (("--json", "nowhere/x.json"), "there is no folder nowhere"),
        (("--json", "."), "is a folder: give a file in it"),
        (("--batch-size", 25), "take --batch-size 24 or fewer"),
        (("--split", "test"), "split test has no samples: take another --split"),
        (("--split", "rain"), "there is no split 'rain'"),
        (("--threads", 0, "--batch-size", 8), "threads=0 cannot be used"),
    ],
)
def test_what_the_user_can_mend(
    small_data: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], sentence: str
) -> None:
    assert run("bench", small_data, *arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err and captured.err.startswith("radload: ") and captured.err.count("\n") == 1
    assert not captured.out


def test_the_slack_of_a_run_is_that_of_all_that_is_measured(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """64 pixels for an output of 24: the half level, with a slack of 3 an eighth."""
    options = BenchOptions(small_data, size=24, batch_size=8, seconds=1, threads=1, level_slack=3.0)
    assert command.bench(options).levels == {0: 0.25, 3: 0.75}
    asked: list[float] = []

    def spy(*arguments: Any, **given: Any) -> Loader:
        asked.append(given["level_slack"])
        return Loader(*arguments, **given)

    monkeypatch.setattr(whole, "Loader", spy)
    with WholeLoader(options, 1):
        assert asked == [3.0]
