"""The commands, one after another as a user gives them, and every other command on what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest_pack import WriteSeries

import radload
from radload.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), " ".join(captured.out.split()), captured.err


def test_from_the_first_pack_to_the_partner(
    clinic: Path, tmp_path: Path, write_series: WriteSeries, capsys: pytest.CaptureFixture[str]
) -> None:
    out, private = tmp_path / "out", tmp_path / "out.private"
    pack = ("pack", "--src", clinic, "--out", out, "--workers", 0, "--split", "60/20/20", "--labels-from", "modality")
    assert run(capsys, *pack, "--append")[::2] == (
        2, f"radload: --append adds to a data set, and --out {out} holds nothing: pack without --append first\n"
    )  # fmt: skip
    assert run(capsys, *pack)[0] == 0
    write_series(clinic / "new", patient="P8", study="st8", series="s8")
    code, said, _ = run(capsys, *pack, "--append")
    assert code == 0 and "version 1: 3 samples added to 24" in said
    code, said, _ = run(capsys, *pack, "--append")
    assert code == 0 and "nothing is new" in said
    code, said, _ = run(capsys, *pack)
    assert code == 0 and "already packed: 27 samples" in said
    code, said, _ = run(capsys, "versions", out)
    assert code == 0 and "0 24 6" in said and "1 27 7" in said and said.endswith("current")

    (tmp_path / "list").write_text("P1\n")
    code, said, _ = run(capsys, "forget", out, "--patient-file", tmp_path / "list")
    assert code == 0 and "6 samples are left out" in said and "0, 1" in said and "radload compact" in said
    code, said, _ = run(capsys, "versions", out)
    assert said.count("not opened") == 2 and "2 21 6" in said
    every_command(out, tmp_path, capsys)
    code, said, _ = run(capsys, "compact", out)
    assert code == 0 and "6 samples are gone" in said
    assert run(capsys, "compact", out)[1].startswith("nothing is left")
    every_command(out, tmp_path, capsys)
    assert sum(radload.open(out).manifest.source.values()) == radload.open(out).manifest.source["packed"] + 1 == 21 + 1

    to = tmp_path / "to"
    code, said, _ = run(
        capsys, "export", out, "--to", to, "--where", "split <> 'test'", "--new-pseudonyms", "--drop-geometry"
    )
    assert code == 0 and str(to) in said and (private / "exports.json").is_file()
    assert run(capsys, "audit", to)[0] == 0
    assert run(capsys, "inspect", to, "--out", tmp_path / "to.png")[0] == 0
    assert run(capsys, "cohort", to, "--out", tmp_path / "cohort")[0] == 0
    code, _, error = run(capsys, "export", out, "--to", tmp_path / "no", "--where", "P1")
    assert code == 2 and error.startswith("radload: --where cannot be understood") and error.count("\n") == 1


def every_command(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with radload.open(out) as ds:
        key = ds[len(ds) - 1].key
    assert run(capsys, "audit", out)[0] == 0
    code, said, error = run(capsys, "trace", key, "--shards", out)
    assert code == 0 and ".dcm" in said, error
    assert run(capsys, "inspect", out, "--out", tmp_path / "sheet.png")[0] == 0
    assert run(capsys, "cohort", out, "--out", tmp_path / "cohort")[0] == 0
    assert run(capsys, "label", out, "--labels-from", "folder:1", "--name", "folders", "--replace")[0] == 0
