"""An address where a path of this machine is needed is said to be one, as it was given; it becomes no folder called `s3:`."""

from __future__ import annotations

from pathlib import Path

import pytest
from make import ct_series, write_dataset

from radload.cli import main
from radload.dataset.addresses import check_local, is_address, spelled
from radload.errors import UsageError


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("addresses"), [ct_series(0, 3)])


@pytest.mark.parametrize(
    "path", ["s3://bucket/name", "gs://b/a/c", "https://host/x", "S3://b/x", "s3://", "s3://bucket", "tcp://h:1"]
)
def test_an_address_is_known_as_text_and_as_a_path(path: str) -> None:
    for given in (path, Path(path)):
        assert is_address(given) and spelled(given) == path
        with pytest.raises(
            UsageError, match=f"^--to {path} is an address, and must be on this machine: give a local path$"
        ):
            check_local("--to", given)


@pytest.mark.parametrize("path", ["out", "/data/s3/x", "C:/x", "a:b", "./s3:/x", "data/s3:/x", "", "."])
def test_a_path_is_none(path: str) -> None:
    assert not is_address(path) and spelled(path) == path
    check_local("--to", path)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["export", "SHARDS", "--to", "s3://bucket/x"], "--to s3://bucket/x"),
        (["export", "SHARDS", "--to", "s3://"], "--to s3://"),
        (["inspect", "SHARDS", "--out", "s3://bucket/x.png"], "--out s3://bucket/x.png"),
        (["inspect", "SHARDS", "--out", "s3://bucket/x"], "--out s3://bucket/x"),
        (["audit", "SHARDS", "--json", "gs://bucket/x.json"], "--json gs://bucket/x.json"),
        (["pack", "--src", "s3://bucket/x", "--out", "shards"], "--src s3://bucket/x"),
        (["scan", "--src", "s3://bucket/x"], "--src s3://bucket/x"),
        (["pack", "--src", "SOURCE", "--out", "s3://"], "--out s3://"),
        (["pack", "--src", "SOURCE", "--out", "s3://bucket/x"], "--out s3://bucket/x"),
        (["pack", "--src", "SOURCE", "--out", "s3://b/x", "--private", "gs://b/y"], "--private gs://b/y"),
        (["plan", "--src", "SOURCE", "--out", "s3://bucket/x"], "--out s3://bucket/x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_no_command_makes_a_folder_of_an_address(
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    option: str,
) -> None:
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path)
    given = [{"SHARDS": str(shards), "SOURCE": "source"}.get(one, one) for one in arguments]
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2 and option in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
