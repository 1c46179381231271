"""A run's log becomes a picture and a page of its own; several are laid over each other, and told apart by what differs."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from radload.train import report as script
from radload.train.report import panels, read_runs


def write_run(folder: Path, lr: float, **more: Any) -> Path:
    folder.mkdir(parents=True)
    lines: list[dict[str, Any]] = []
    for step in range(1, 9):
        extra = {"teacher_entropy": 3 / step} | more
        lines.append(
            {"kind": "train", "step": step, "epoch": step / 4, "loss": 2 / step, "lr": lr, "accuracy": 0.5} | extra
        )
    for epoch in (1, 2):
        lines.append(
            {"kind": "val", "step": 4 * epoch, "epoch": epoch, "loss": 1 / epoch, "top1": 0.4 * epoch, "auroc": None}
        )
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tra')
    about = {"config": {"lr": lr, "arch": "resnet50", "epochs": 2, "labels": None}}
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def test_a_page_with_everything_in_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", 0.1)
    measured = {"value": 0.912345, "low": 0.85, "high": 0.95}
    level = {"samples": 60, "balanced_accuracy": measured, "auroc": {"value": None, "low": None, "high": None}}
    (run / "val.json").write_text(json.dumps({"slice": level, "patient": {"mean": level}}))
    assert script.main([str(run)]) == 0
    page = (run / "report.html").read_text()
    picture = Image.open(run / "curves.png")
    assert picture.width > 1000 and len(np.unique(np.asarray(picture.convert("L")))) > 20, "something is drawn"
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert found is not None and base64.b64decode(found[1]) == (run / "curves.png").read_bytes()
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page, "nothing is loaded from anywhere"
    assert "0.912 (0.850 to 0.950)" in page and "teacher entropy" in page
    assert "<td>arch</td><td>resnet50</td>" in page and "<td>labels</td>" not in page


def test_runs_are_told_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a/run", 0.1), write_run(tmp_path / "b/run", 0.2)]
    assert script.main([*map(str, runs), "--out", str(tmp_path / "both")]) == 0
    page = (tmp_path / "both/report.html").read_text()
    assert "a/run, b/run" in page and "Options in which the runs differ" in page
    assert "<td>lr</td><td>0.1</td><td>0.2</td>" in page and "<td>arch</td>" not in page
    loaded = read_runs(runs)
    assert [run.name for run in loaded] == ["a/run", "b/run"]
    assert loaded[0].points("val", "top1") == ([1.0, 2.0], [0.4, 0.8]) and loaded[0].points("val", "auroc") == ([], [])
    assert loaded[1].points("train", "lr")[1] == [0.2] * 8


def test_every_number_that_changes_gets_a_panel(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", 0.1, constant=7, name="x", flag=True, nothing=float("nan"))
    assert panels(read_runs([run])) == ["loss", "accuracy", "top1", "lr", "teacher_entropy"]


def test_a_name_is_no_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path / "<b>x&y", 0.1)
    assert script.main([str(run)]) == 0
    assert "<b>" not in (run / "report.html").read_text()


@pytest.mark.parametrize(("name", "said"), [("none", "no log.jsonl"), ("empty", "no whole line")])
def test_what_cannot_be_is_one_sentence(
    name: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/log.jsonl").write_text('{"kind"')
    assert script.main([str(tmp_path / name)]) == 2
    error = capfd.readouterr().err
    assert said in error and error.count("\n") == 1
    run = write_run(tmp_path / "a", 0.1)
    assert script.main([str(run), str(run)]) == 2 and "given twice" in capfd.readouterr().err
    assert script.main([str(run), "--out", str(run / "log.jsonl/x")]) == 2
    error = capfd.readouterr().err
    assert "log.jsonl/x cannot be written (Not a directory)" in error and error.count("\n") == 1


def test_steps_without_a_loss_leave_a_gap(tmp_path: Path) -> None:
    """A run whose steps were all skipped between two lines of the log has no loss there."""
    run = write_run(tmp_path / "a", 0.1)
    text = (run / "log.jsonl").read_text().splitlines()
    text[2] = json.dumps(json.loads(text[2]) | {"loss": None, "accuracy": None})
    (run / "log.jsonl").write_text("\n".join(text) + "\n")
    assert script.main([str(run)]) == 0
    (loaded,) = read_runs([run])
    assert loaded.points("train", "loss")[0] == [step / 4 for step in (1, 2, 4, 5, 6, 7, 8)]
    page = (run / "report.html").read_text()
    assert "None" not in page.split("<h2>Last figures")[1] and "nan" not in page.lower().split("base64")[0]


def test_a_run_whose_losses_are_all_missing_is_shown(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lines = [{"kind": "train", "step": step, "epoch": step, "loss": None, "skipped": 10} for step in (1, 2)]
    (tmp_path / "run/log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert script.main([str(tmp_path / "run")]) == 0
    assert "report.html" in {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize(
    "verdict",
    [
        {"step": 9, "objective": "simclr", "score": -0.3},
        {"step": 9, "objective": "lejepa", "score": None},
        {"slice": {"samples": 5}, "patient": {"mean": {"samples": 2, "auroc": None}}},
    ],
)
def test_a_verdict_of_scores_alone_is_no_table(tmp_path: Path, verdict: dict[str, Any]) -> None:
    """Without labels a run has a score; with several labels per image no accuracy."""
    run = write_run(tmp_path / "a", 0.1)
    (run / "val.json").write_text(json.dumps(verdict))
    assert script.main([str(run)]) == 0
    page = (run / "report.html").read_text()
    assert ("<p>None.</p>" in page) == ("slice" not in verdict)
