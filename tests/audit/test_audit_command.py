"""`radload audit`: exit codes, the verdict as the last line, the JSON file, and no private text on the console."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from audit_make import Packed
from conftest_pack import WriteDicom, uid

from radload.audit.report import Audit, Check, Status, write_report
from radload.cli import main


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_exit_codes_and_report(
    clinic: Path, packed: Packed, write_dicom: WriteDicom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "audit.json"
    assert run("audit", packed(clinic, "clean"), "--json", report) == 0
    clean = json.loads(report.read_text())
    assert clean["proven"] is True and clean["verdict"] in capsys.readouterr().out.splitlines()
    assert all(check["status"] == "holds" and check["count"] == 0 for check in clean["checks"])
    for number in range(15):
        pixels = np.random.default_rng(number).integers(0, 900, (24, 20)).astype(np.int16)
        for patient in ("P0", "P4"):
            place = {"patient": patient, "study": f"x{patient}", "series": f"x{patient}", "place": number}
            write_dicom(clinic / f"x{patient}{number}.dcm", pixels, **place)
    root = packed(clinic, "leaky")
    assert run("audit", root, "--json", report) == 1
    out = capsys.readouterr().out
    leaky = json.loads(report.read_text())
    assert out.splitlines()[-1] == leaky["verdict"]
    assert leaky["verdict"].startswith("not proven: 15 images (30 samples) in two splits; 15 images (30 samples) under")
    split = next(check for check in leaky["checks"] if check["name"] == "pixels-splits")
    assert split["count"] == len(split["findings"]) == 15
    assert "15 alike, the first: " in out  # one line for all slices that two patients share
    assert split["findings"][0]["keys"][0] in out
    for private in ("P0", "Name^P4", "Doe_0", uid("st0"), uid("s4a"), "dcm"):
        assert private not in out and private not in report.read_text()
    assert run("audit", packed(clinic, "again"), root) == 1
    assert "54 samples" not in capsys.readouterr().err


def test_what_cannot_be_audited_is_exit_code_2(clinic: Path, packed: Packed, tmp_path: Path) -> None:
    root = packed(clinic)
    assert run("audit", tmp_path / "none") == 2
    assert run("audit", root, tmp_path / "none") == 2
    assert run("audit", root, "--private", tmp_path) == 2
    assert run("audit", root, "--private", tmp_path, "--private", tmp_path) == 2
    assert run("audit", root, "--json", tmp_path / "none" / "x.json") == 2
    assert run("audit", root, "--json", tmp_path) == 2
    other = packed(clinic, "other", split_seed=1, splits=None)
    assert run("audit", root, "--private", other.with_name("other.private")) == 2


@pytest.mark.parametrize("count", [0, 1, 3])
def test_reports_are_json_whatever_the_number_of_findings(tmp_path: Path, count: int) -> None:
    findings = [{"keys": [str(number)], "class": 'a "quoted" one'} for number in range(count)]
    status = Status.FAILS if count else Status.HOLDS
    checks = [Check("one", status, "x is y", f"{count} x" if count else "", findings), Check("two", status, "z", "")]
    write_report(tmp_path / "r.json", Audit(checks, "by rule", notes=["ä"], details={"samples": 3}))
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["checks"][0]["findings"] == findings
    assert [check["count"] for check in content["checks"]] == [count, 0]
    assert content["samples"] == 3 and content["notes"] == ["ä"] and content["proven"] is (count == 0)
