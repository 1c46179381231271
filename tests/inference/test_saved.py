"""A preparation is found wherever a run leaves it, and what holds none is refused in a sentence; the command writes .npy and .png."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest_pack import WriteDicom
from PIL import Image

import radload
from radload.cli import main
from radload.inference.saved import find_preparation
from radload.loading import Preparation
from radload.loading.planning.recipe import default_recipe
from radload.pack import PackOptions, pack
from radload.pack.trace import trace
from radload.train import checkpoint, pretrain

KNOWN = Preparation((20, 24), default_recipe(), fit="pad", codec="raw", transform=None)


def test_wherever_a_run_leaves_it(tmp_path: Path) -> None:
    content = KNOWN.as_dict()
    (tmp_path / "plain.json").write_text(json.dumps(content))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text(json.dumps({"config": {}, "preparation": {**content, "fit": "crop"}}))
    path = checkpoint.save(tmp_path, 3, {"preparation": content}, 1)
    places = (KNOWN, content, {"arch": "x", "preparation": content}, tmp_path / "plain.json", path, str(path))
    assert all(find_preparation(place) == KNOWN for place in places)
    assert find_preparation(tmp_path / "run").fit == "crop"
    (tmp_path / "run/backbone.json").write_text(json.dumps({"arch": "x", "preparation": content}))
    assert find_preparation(tmp_path / "run") == KNOWN


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "is no JSON"),
        (b"[]", "holds no preparation"),
        (b'{"arch": "resnet50"}', "holds no preparation"),
        (b'{"preparation": {"version": 9}}', "version 9 cannot be used"),
        (json.dumps({**KNOWN.as_dict(), "colour": 1}).encode(), "no preparation as Preparation.as_dict"),
        (json.dumps({**KNOWN.as_dict(), "size": [0, 8]}).encode(), "size=.* cannot be used"),
        (json.dumps({**KNOWN.as_dict(), "fit": "fill"}).encode(), "fit='fill'"),
        (json.dumps({**KNOWN.as_dict(), "level_slack": 99}).encode(), "level_slack=99"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(radload.UsageError, match=sentence):
        find_preparation(path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(radload.UsageError, match="cannot be read"):
        find_preparation(tmp_path / "absent.json")
    with pytest.raises(radload.UsageError, match=r"holds neither backbone\.json nor run\.json"):
        find_preparation(tmp_path)
    with pytest.raises(radload.UsageError, match="there is no checkpoint"):
        find_preparation(tmp_path / "step-000000001.pt")


def test_the_command_writes_numbers_and_a_picture(
    tmp_path: Path, write_dicom: WriteDicom, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "backbone.json").write_text(json.dumps({"preparation": KNOWN.as_dict()}))
    write_dicom(tmp_path / "x.dcm", np.arange(600, dtype=np.int16).reshape(20, 30) * 5, RescaleType="HU")

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["prepare", str(tmp_path / "x.dcm"), "--recipe", str(tmp_path), *arguments])
        return int(ended.value.code or 0)

    assert run("--out", str(tmp_path / "x.npy")) == 0
    found = np.load(tmp_path / "x.npy")
    assert np.array_equal(found, radload.prepare(tmp_path / "x.dcm", KNOWN).numpy()) and found.shape == (1, 3, 20, 24)
    assert run("--out", str(tmp_path / "x.png")) == 0
    with Image.open(tmp_path / "x.png") as picture:
        bytes_ = np.asarray(picture)
    assert np.array_equal(bytes_, np.rint((found[0] * 0.25 + 0.5).clip(0, 1) * 255).transpose(1, 2, 0))
    capsys.readouterr()
    for arguments, sentence in (
        (("--out", "x.jpg"), "ending that cannot be written"),
        (("--out", str(tmp_path / "y.png"), "--frame", "1"), "--frame 1 is not there"),
        (("--out", str(tmp_path / "y.npy"), "--statistics", "p005"), "--statistics 'p005' cannot be read"),
    ):
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "y.png").exists() and not (tmp_path / "y.npy").exists()


def test_a_run_is_enough(tmp_path: Path, write_dicom: WriteDicom) -> None:
    """Pack, train a step, and prepare by the run's folder and by its checkpoint: the pixels of the validation."""
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 2000, (40, 44)).astype(np.int16)
        write_dicom(tmp_path / f"src/{number}.dcm", pixels, patient=f"P{number}", series=f"s{number}", RescaleType="HU")
    shards, out = tmp_path / "shards", tmp_path / "run"
    pack(PackOptions(tmp_path / "src", shards, split="50/50/0", workers=0))
    flags = "--arch test_resnet --size 32 --batch-size 2 --device cpu --threads 1 --amp off --fit pad --max-steps 1"
    assert pretrain.main([*flags.split(), "--shards", str(shards), "--out", str(out)]) == 0
    with radload.Loader(shards, "val", batch_size=4, size=32, fit="pad", shuffle=False, drop_last=False) as loader:
        batch = next(iter(loader))
    sources = [
        tmp_path / "src" / str(one.source) for one in trace(shards, [str(row) for row in batch["index"].tolist()])
    ]
    for place in (out, out / "backbone.json", checkpoint.path_of(out / "checkpoints", 1)):
        assert torch.equal(radload.prepare(sources, place), batch["image"])
    assert torch.equal(radload.prepare(sources[2], out)[0], batch["image"][2])


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe": {**KNOWN.recipe.as_dict(), "mean": ["dark"]}},
        {"spacing": ["a", "b"]},
        {"neighbours": {"count": 1, "spacing": "far", "edges": "repeat"}},
        {"size": None},
        {"level_slack": "much"},
    ],
)
def test_values_that_no_preparation_has_are_refused_in_words(changed: dict[str, Any]) -> None:
    with pytest.raises(radload.UsageError):
        find_preparation({**KNOWN.as_dict(), **changed})
