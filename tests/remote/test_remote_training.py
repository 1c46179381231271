"""The training script takes an address for --shards: the same run as on local files, to the bit of the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bucket import URL, fill_bucket, point_at
from serve import s3_server

from radload.train.log import read_log
from radload.train.pretrain import main

SMALL = [
    "--arch=test_resnet", "--size=32", "--batch-size=16", "--device=cpu", "--threads=1", "--amp=off", "--max-steps=4", "--epochs=1",
    "--log-every=1", "--no-tensorboard",
]  # fmt: skip


def train(shards: str | Path, out: Path, *flags: str) -> int:
    return main([*SMALL, "--shards", str(shards), "--out", str(out), *flags])


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "log.jsonl") if line["kind"] == "train"]


def test_a_run_from_a_bucket_is_that_from_local_files(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fill_bucket(packed, tmp_path / "buckets")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where shards are kept if nothing else is said
    assert train(packed, tmp_path / "local") == 0
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        assert train(URL, tmp_path / "remote") == 0
        assert server.counts()["GET"] > 0
        capfd.readouterr()
        assert train(URL, tmp_path / "other", "--version", "7") == 2
        assert capfd.readouterr().err.startswith("error: ") and not (tmp_path / "other").exists()
    local, remote = tmp_path / "local", tmp_path / "remote"
    assert len(losses(local)) == 4 and losses(local) == losses(remote)
    name = "backbone.safetensors"
    assert (local / name).read_bytes() == (remote / name).read_bytes()
    verdicts = [json.loads((out / "val.json").read_text()) for out in (local, remote)]
    assert verdicts[0] == verdicts[1] and verdicts[0]["samples"] > 0


def test_an_address_without_a_data_set_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "buckets/bucket").mkdir(parents=True)
    with s3_server(tmp_path / "buckets") as server:
        point_at(server, monkeypatch)
        assert train(URL, tmp_path / "run") == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and said[0].startswith(f"error: {URL} holds no manifest.json")
