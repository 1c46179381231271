"""Whatever file a network comes from, it sees images with the mean and deviation that it was trained on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from radload.errors import FormatError, UsageError
from radload.loading.planning.recipe import default_recipe
from radload.train.backbones import make_backbone
from radload.train.export import export_backbone
from radload.train.models import build_model

RECIPE = default_recipe()
make = partial(make_backbone, arch="test_resnet", in_chans=3, size=32, recipe=RECIPE)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_weights_gets_timms_normalisation(tmp_path: Path, suffix: str) -> None:
    net = build_model("test_resnet", 3, 10, 32, seed=4)
    state = net.state_dict()
    path = tmp_path / f"imagenet{suffix}"
    if suffix == ".pth":  # as many projects save them
        torch.save({"state_dict": {"module." + key: value for key, value in state.items()}, "epoch": 3}, path)
    else:
        save_file(state, path)
    grey = torch.rand(2, 3, 32, 32)  # y, windows in [0, 1]
    mean, std = (torch.tensor(RECIPE.mean).reshape(3, 1, 1), torch.tensor(RECIPE.std).reshape(3, 1, 1))
    configuration = timm.get_pretrained_cfg("test_resnet")
    want = (grey - torch.tensor(configuration.mean).reshape(3, 1, 1)) / torch.tensor(configuration.std).reshape(3, 1, 1)
    net.reset_classifier(0)  # type: ignore[operator]
    with torch.inference_mode():
        backbone = make(str(path))
        torch.testing.assert_close(backbone((grey - mean) / std), net.eval()(want), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(backbone.pool(backbone.maps(grey)), backbone(grey))
    assert backbone.width == net.num_features and not backbone.training


def test_a_runs_export_is_fed_as_it_was(tmp_path: Path) -> None:
    export_backbone(build_model("test_resnet", 1, 4, 32, seed=2), tmp_path, "test_resnet", 1, 32, {})
    backbone = make(str(tmp_path))
    assert backbone.scale is None and next(backbone.net.parameters()).shape[1] == 3, "its stem fits the images"
    with pytest.raises(UsageError, match="is a test_resnet, not a resnet50"):
        make_backbone(str(tmp_path), "resnet50", 3, 32, RECIPE)


def test_random_weights_are_those_of_their_seed() -> None:
    one, same, other = (make("random", seed=seed).net.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_one_channel_takes_the_mean_of_three(tmp_path: Path) -> None:
    save_file(build_model("test_resnet", 3, 10, 32).state_dict(), tmp_path / "w.safetensors")
    backbone = make_backbone(str(tmp_path / "w.safetensors"), "test_resnet", 1, 32, default_recipe(1))
    assert backbone.scale is not None and backbone.scale.shape == (1, 1, 1, 1)


def test_files_that_hold_no_such_network_are_refused(tmp_path: Path) -> None:
    state = build_model("test_resnet", 3, 10, 32).state_dict()
    state.pop(next(iter(state)))
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(FormatError, match="is missing"):
        make(str(tmp_path / "cut.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(FormatError, match="cannot be read as weights"):
        make(str(tmp_path / "bad.safetensors"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FormatError, match="no weights by name"):
        make(str(tmp_path / "list.pth"))
    torch.save({"x": torch.nn.Linear(1, 1)}, tmp_path / "code.pth")  # a pickled module: no code of a file is run
    with pytest.raises(FormatError, match="cannot be read as weights"):
        make(str(tmp_path / "code.pth"))
    with pytest.raises(UsageError, match="nothing at"):
        make(str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"no backbone\.json"):
        make(str(tmp_path))
