"""The last tables of the benchmarks, their JSON and their chart, on made-up rates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chart import draw
from interleave import Contestant, run_rounds, taking
from PIL import Image
from summary import peer_table, ratio, table, write_json


def made() -> list[Contestant]:
    fast = Contestant("radload raw", "radload", difference=2e-6, rates=[900.0, 1000.0, 4000.0], cores=[2.0, 2.0, 2.0])
    slow = Contestant(
        "pydicom + DataLoader", "peer", difference=1e-6, rates=[100.0, 200.0, 300.0], cores=[1.0, 1.0, 1.0]
    )
    limit = Contestant("raw: kernel alone", "limit", rates=[1250.0, 1250.0, 1250.0], cores=[2.0, 2.0, 2.0])
    absent = Contestant("MONAI Dataset", "peer", skipped="monai is not installed: pip install '.[peers]'")
    return [slow, absent, fast, limit]


def test_ratios_compare_rounds_and_medians_are_shown() -> None:
    slow, _, fast, limit = made()
    assert ratio(fast, slow) == 9.0  # of 9, 5 and 13.3: not 1000 / 200
    assert ratio(fast, limit) == 0.8
    lines = peer_table("peers", made())
    names = [line[: len("pydicom + DataLoader")].strip() for line in lines[1:5]]
    assert names == ["raw: kernel alone", "radload raw", "pydicom + DataLoader", "MONAI Dataset"]
    assert lines[3].split()[3:5] == ["200", "200"] and lines[3].endswith("9.00x")
    assert lines[2].split()[2:4] == ["1,000", "500"] and lines[2].endswith("1.00x") and "900 to 4,000" in lines[2]
    assert lines[4].endswith("not run: monai is not installed: pip install '.[peers]'")


def test_nothing_ran_nothing_shown() -> None:
    assert peer_table("peers", []) == [] and peer_table("peers", made()[1:2]) == [] and table([]) == []


def test_json_has_every_round_and_who_was_skipped(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", [], {"first": made()})
    content = json.loads((tmp_path / "x.json").read_text())
    peers = {one["name"]: one for one in content["runs"]["first"]}
    assert peers["radload raw"]["rounds"] == [900, 1000, 4000] and peers["radload raw"]["slices_per_s"] == 1000
    assert peers["pydicom + DataLoader"]["times_as_fast"] == {"radload raw": 9.0}
    assert peers["MONAI Dataset"]["slices_per_s"] is None and "not installed" in peers["MONAI Dataset"]["skipped"]
    assert content["machine"]["cores"] >= 1 and content["benchmarks"] == []


def test_the_chart_has_a_bar_for_all_that_ran(tmp_path: Path) -> None:
    draw(made(), tmp_path / "two.png", cores=2)
    draw([one for one in made() if one.kind == "radload"], tmp_path / "one.png", cores=2)
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "one.png") as one:
        assert two.size[0] == one.size[0] and two.size[1] > one.size[1]
        colours = {colour: count for count, colour in two.convert("RGB").getcolors(1 << 24)}
    own, peer = colours[(0x1F, 0x6F, 0x8B)], colours[(0xB9, 0xC0, 0xC7)]
    assert own / peer == pytest.approx(1000 / 200, rel=0.05)  # the areas of the bars are the rates


def test_batches_prepared_before_the_turn_do_not_count() -> None:
    taken: list[int] = []

    def batches():  # type: ignore[no-untyped-def]
        while True:
            taken.append(1)
            yield None

    rate = taking(batches(), 50, ready=4, unit=3)(0.0)
    assert len(taken) == 4 + 3 + 3 and rate > 0  # one bunch is dropped after what was ready, one is timed


def test_all_take_turns_and_the_skipped_do_not() -> None:
    order: list[str] = []

    def turn(name: str):  # type: ignore[no-untyped-def]
        def one(seconds: float) -> float:
            order.append(name)
            return seconds

        return one

    both = [Contestant(name, "peer", turn(name)) for name in "ab"]
    skipped = Contestant("c", "peer", skipped="not here")
    run_rounds([*both, skipped], 2, 0.5)
    assert order == ["a", "b", "b", "a"] and both[0].rates == [0.5, 0.5] and not skipped.rates
    assert len(both[0].cores) == 2
