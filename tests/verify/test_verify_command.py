"""`radload verify` as people and scripts see it: a line per problem, exit codes, nothing on stderr off a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from verify_make import SHARD, flip, opened

from radload.cli import main


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["verify", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_a_whole_data_set(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(whole, "--workers", 1) == 0
    out, err = capsys.readouterr()
    assert (
        out == f"whole: every byte of {len(opened(whole).shard_names)} shards with 22 samples looked at\n" and err == ""
    )
    assert run(whole, "--quick", "--quiet", "--workers", 0) == 0
    assert capsys.readouterr() == ("", "")


def test_a_line_per_problem(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = opened(data).records
    for row in (0, 2):
        flip(data / SHARD, int(records[row]["offset"]) + 200)
    assert run(data, "--workers", 0) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 3 and err == ""
    assert [line.partition(":")[0] for line in lines[:2]] == [
        f"{SHARD} {int(records[row]['key']):012d}" for row in (0, 2)
    ]
    assert lines[2].startswith("2 problems, 2 samples that cannot be used: every byte of")
    assert not any(str(data) in line for line in lines), "no path"


def test_what_cannot_be_verified(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none") == 2
    assert run(data, "--repair", "magic") == 2
    assert run(data, "--repair", "drop", "--quick") == 2
    assert run(data, "--repair", "repack") == 2
    assert run(data, "--quick", "--levels") == 2
    assert run(data, "--workers", "-1") == 2
    assert capsys.readouterr().err.count("\n") == 6
    (opened(data).folder / "records.bin").unlink()
    assert run(data) == 1
    assert "records.bin is missing" in capsys.readouterr().out
    assert run(data, "--repair", "drop") == 2, "without an index nothing says which samples are good"
