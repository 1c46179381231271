"""benchmarks/gpu_check.py runs without a GPU as far as it can, and writes no figure that it did not measure."""

from __future__ import annotations

import json
from pathlib import Path

import gpu_check
import pytest
import torch
from gpu_rates import SETTINGS

pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")


def test_a_rehearsal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What needs no GPU is done and good; every row that needs one is there, and says that it is not measured."""
    assert gpu_check.main(["--dry-run", "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [r["what"] for r in rows if r["good"]] == [
        "every configuration opens and delivers, on the CPU",
        "the kernel compiles for sm_80, sm_90, sm_100",
        "DALI's CPU decoder = CPU decoder, all levels, cut streams",
        "nvImageCodec's CPU decoder = CPU decoder, all levels, cut streams",
        "pack by nvImageCodec's CPU backends = pack by the CPU, bytes of the shards",
    ]
    others = [r for r in rows if not r["good"]]
    assert {r["found"] for r in others} == {gpu_check.NOT_RUN} and {r["good"] for r in others} == {None}
    for setting in SETTINGS:
        assert any(r["what"].startswith(setting.name) for r in others)
    words = (
        "copy bandwidth",
        "ResNet-50",
        "host CPU",
        "on the GPU = CPU decoder",
        "pack --decode-device cuda",
        "kept on the device",
    )
    assert all(word in str(others) for word in words)
    assert capsys.readouterr().out.count(gpu_check.NOT_RUN) == len(others)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_it_measures_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_check.main([])
    assert "--dry-run" in capsys.readouterr().err


def test_what_fails_is_a_result() -> None:
    """Also what no library promised to raise: the table goes on."""
    for error in (
        RuntimeError("first line\nout of memory"),
        TypeError("out of memory"),
        Exception("x\n\nout of memory\n"),
    ):

        def fail(error: Exception = error) -> tuple[str, bool]:
            raise error

        found = gpu_check.run(gpu_check.Check("x", "1", fail))
        assert found == gpu_check.Row("x", "1", "failed: out of memory", False)
        assert str(found) == "| x | 1 | failed: out of memory | BAD |"


def test_no_row_is_begun_after_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "pack", lambda *_: {})
    monkeypatch.setattr(gpu_check, "run", lambda check: pytest.fail(f"{check.what} was begun"))
    assert gpu_check.main(["--dry-run", "--minutes", "0", "--json", str(tmp_path / "rows.json")]) == 1
    found = {row["found"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert found == {gpu_check.NOT_RUN, gpu_check.NO_TIME}
