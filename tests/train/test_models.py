"""Every network of the RadImageNet paper trains and exports; a name or size that cannot be is refused in a sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from shutil import which

import pytest
import timm
import torch
from exported import open_backbone
from safetensors.torch import load_file, save_file

from radload.errors import FormatError, UsageError
from radload.train.config import Config
from radload.train.export import export_backbone, load_backbone
from radload.train.models import PAPER, build_model, build_optimizer, check_shapes, compiled, parameter_groups


@pytest.mark.parametrize("arch", PAPER)
def test_networks_of_the_paper_take_a_step_and_export(arch: str, tmp_path: Path) -> None:
    model = build_model(arch, 1, 5, 75)
    check_shapes(model, arch, (4, 1, 75, 75))
    optimizer = build_optimizer(model, Config(lr=0.1, weight_decay=1e-4))
    optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 1e-5
    before = next(model.parameters()).detach().clone()
    logits = model(torch.randn(4, 1, 75, 75))
    assert logits.shape == (4, 5)
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    optimizer.step()
    assert not torch.equal(next(model.parameters()), before)
    path = export_backbone(model, tmp_path, arch, 1, 75, {"step": 1})
    backbone = timm.create_model(arch, num_classes=0, in_chans=1)
    assert not backbone.load_state_dict(load_file(path), strict=True).missing_keys
    image = torch.randn(2, 1, 75, 75)
    model.eval()
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(image), pre_logits=True)  # type: ignore[operator]
        assert expected.isfinite().all()
        torch.testing.assert_close(backbone.eval()(image), expected)


def test_a_fixed_size_network_gets_the_size_of_the_run(tmp_path: Path) -> None:
    model = build_model("test_vit", 3, 4, 64).to(memory_format=torch.channels_last)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 4)
    export_backbone(model, tmp_path, "test_vit", 3, 64, {"classes": ["a"]})
    loaded, about = open_backbone(tmp_path)
    assert about == {"arch": "test_vit", "in_chans": 3, "size": 64, "classes": ["a"]}
    assert loaded(torch.randn(1, 3, 64, 64)).ndim == 2
    assert json.loads((tmp_path / "backbone.json").read_text()) == about


def test_export_is_refused_where_it_would_not_load(tmp_path: Path) -> None:
    path = export_backbone(build_model("test_resnet", 3, 4, 32), tmp_path, "test_resnet", 3, 32, {})
    state = load_file(path)
    state.pop(min(state))
    save_file(state, path)
    with pytest.raises(FormatError, match="test_resnet"):
        load_backbone(path, "test_resnet", 3, 32)
    with pytest.raises(FormatError, match="cannot be exported"):
        export_backbone(build_model("test_vit", 3, 4, 32), tmp_path, "test_resnet", 3, 32, {})


def test_unknown_names_come_with_near_ones() -> None:
    with pytest.raises(UsageError, match="did you mean resnet50"):
        build_model("resnet_50", 3, 2, 224)
    with pytest.raises(UsageError, match="inception_v3"):
        build_model("inceptionv3", 3, 2, 224)
    with pytest.raises(UsageError, match="try resnet50"):
        build_model("zzzzqqqq", 3, 2, 224)
    with pytest.raises(UsageError, match="no network"):
        build_model("hf-hub:timm/resnet50.a1_in1k", 3, 2, 224)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="inception_v3 cannot train on images of 3 x 32 x 32"):
        check_shapes(build_model("inception_v3", 3, 2, 32), "inception_v3", (4, 3, 32, 32))
    with pytest.raises(UsageError, match="1 image per process"):  # batch norm has nothing to average
        check_shapes(build_model("test_resnet", 3, 2, 32), "test_resnet", (1, 3, 32, 32))


def test_norms_and_biases_do_not_decay_and_seeds_make_the_weights() -> None:
    model = build_model("test_vit", 3, 2, 32, seed=3)
    decay, rest = parameter_groups(model, 0.05)
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decay["weight_decay"] == 0.05 and rest["weight_decay"] == 0
    assert all(parameter.ndim > 1 for parameter in decay["params"])
    assert {"pos_embed", "cls_token"} <= {named[id(parameter)] for parameter in rest["params"]}
    assert len(decay["params"]) + len(rest["params"]) == len(named)
    same, other = build_model("test_vit", 3, 2, 32, seed=3), build_model("test_vit", 3, 2, 32, seed=4)
    assert torch.equal(model.head.weight, same.head.weight)  # type: ignore[union-attr,arg-type]
    assert not torch.equal(model.head.weight, other.head.weight)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize(
    ("device", "said"), [("cpu", "no g\\+\\+: install one, name it in CXX"), ("cuda", "no gcc or clang")]
)
def test_compiling_without_a_compiler_is_a_sentence(device: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match=said):
        compiled(torch.nn.Identity(), torch.device(device))
    monkeypatch.setenv("CC", "my-compiler -m64")
    monkeypatch.setenv("CXX", "my-compiler -m64")
    with pytest.raises(UsageError, match="no my-compiler: install"):
        compiled(torch.nn.Identity(), torch.device(device))


@pytest.mark.soak
def test_a_compiled_network_takes_the_steps_of_an_eager_one() -> None:
    """By the kernels that torch really makes."""
    if which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no g++, which makes the kernels")
    steps: dict[str, list[float]] = {}
    for name in ("eager", "compiled"):
        model = build_model("test_resnet", 3, 4, 32)
        net = model if name == "eager" else compiled(model, torch.device("cpu"))
        optimizer = build_optimizer(model, Config(lr=0.1, optimizer="sgd", weight_decay=1e-4))
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.01
        torch.manual_seed(0)
        image, target = torch.randn(8, 3, 32, 32), torch.arange(8) % 4
        steps[name] = []
        for _ in range(3):
            loss = torch.nn.functional.cross_entropy(net(image), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            steps[name].append(float(loss.detach()))
    assert steps["eager"][0] > steps["eager"][2], "it learns"
    assert steps["compiled"] == pytest.approx(steps["eager"], rel=1e-4)
