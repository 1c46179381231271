"""What is given away loads with timm alone, says what it is, runs as its own example says, and names no path of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from exported import open_backbone
from lesions import CLASSES, write_lesions
from PIL import Image
from safetensors.torch import load_file

import radload
from radload.train import publish as script
from radload.train.backbones import make_backbone
from radload.train.card import example, write_card
from radload.train.export import export_backbone
from radload.train.models import PAPER, build_model
from radload.train.pretrain import main as pretrain
from radload.train.publish import publish, write_onnx

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None or find_spec("onnxscript") is None, reason="onnx and onnxscript are not installed"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secret-project")
    shards = write_lesions(folder / "shards", {"train": 9, "val": 6}, masks=False)
    flags = "--arch test_resnet --size 32 --batch-size 16 --max-steps 2 --device cpu --threads 1 --amp off"
    assert pretrain([*flags.split(), "--shards", str(shards), "--out", str(folder / "run")]) == 0
    return folder / "run"


def test_the_folder_holds_all_that_a_stranger_needs(run: Path, tmp_path: Path) -> None:
    card = publish(run, tmp_path / "out", "CC-BY-4.0", name="Lesion net")
    text, about = card.read_text(), json.loads((run / "backbone.json").read_text())
    assert text.startswith("---\nlicense: CC-BY-4.0\nlibrary_name: timm\n") and "# Lesion net\n" in text
    assert about["fingerprint"] in text and "3: " + ", ".join(CLASSES) in text
    assert "3 channels of 32 x 32 pixels, fit `stretch`" in text
    assert radload.loading.planning.recipe.Recipe.from_dict(about["preparation"]["recipe"]).describe() in text
    verdict = json.loads((run / "val.json").read_text())
    assert f"On {verdict['samples']} images of 6 patients" in text
    assert f"| auroc per patient | {verdict['patient']['mean']['auroc']['value']:.3f} (" in text
    assert "| `optimizer` | `sgd` |" in text and "`max_steps` | `2`" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md", "backbone.json", "backbone.safetensors", "backbone_1ch.safetensors", "example.py"
    }  # fmt: skip
    for path in (tmp_path / "out").iterdir():
        assert b"secret-project" not in path.read_bytes() and path.stat().st_mode & 0o777 == 0o644
    published, again = open_backbone(tmp_path / "out")
    first, _ = open_backbone(run)
    image = torch.randn(2, 3, 32, 32)
    assert again == about and torch.equal(published(image), first(image))
    grey = timm.create_model("test_resnet", num_classes=0, in_chans=1).eval()
    grey.load_state_dict(load_file(tmp_path / "out/backbone_1ch.safetensors"), strict=True)
    torch.testing.assert_close(grey(image[:, :1]), first(image[:, :1].expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)
    recipe = radload.loading.planning.recipe.default_recipe()
    probed = make_backbone(str(tmp_path / "out"), "test_resnet", 3, 32, recipe)
    assert torch.equal(probed(image), first(image)), "a published folder is a run's folder to a probe"


def test_a_self_supervised_run_has_no_classes_and_no_figures(run: Path, tmp_path: Path) -> None:
    about = json.loads((run / "backbone.json").read_text())
    card = write_card(
        about, {"config": {"objective": "simclr"}}, {"step": 9, "objective": "simclr", "score": 0.3}, [], "MIT", "x"
    )
    assert "none: trained without labels (simclr)" in card and "None: it was trained without labels" in card
    assert "nodule" not in card


@pytest.mark.parametrize("arch", ["test_resnet", "test_vit"])
def test_its_example_runs_in_ten_lines(arch: str, run: Path, tmp_path: Path) -> None:
    about = json.loads((run / "backbone.json").read_text())
    export_backbone(
        build_model(arch, 3, 3, 32), tmp_path, arch, 3, 32, {"preparation": about["preparation"], "step": 1}
    )
    card = publish(tmp_path, tmp_path / "out").read_text()
    assert "license: other" in card and "not stated by those who trained it" in card
    assert "None: it was trained without labels" in card and "none: trained without labels" in card
    program = (tmp_path / "out/example.py").read_text()
    assert f"```python\n{program}```" in card and len([line for line in program.splitlines() if line]) <= 10
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 50), np.uint8)).save(tmp_path / "slice.png")
    done = subprocess.run(
        [sys.executable, "example.py", str(tmp_path / "slice.png")],
        cwd=tmp_path / "out", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        features = open_backbone(tmp_path / "out")[0](radload.prepare(tmp_path / "slice.png", tmp_path / "out"))
    assert done.stdout == f"{features.shape}\n"


def test_the_example_is_a_program_for_every_network_of_the_paper() -> None:
    for arch in PAPER:
        program = example(arch, 1, 224)
        compile(program, "example.py", "exec")
        assert f'timm.create_model("{arch}", num_classes=0, in_chans=1)' in program


@pytest.mark.parametrize(
    ("flags", "said"),
    [("--licence 'none of yours'", "--licence 'none of yours'"), ("", "no backbone.json"), ("--onnx", "")],
)
def test_what_cannot_be_is_one_sentence(
    flags: str, said: str, run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import shlex

    if flags == "--onnx":
        if find_spec("onnx") and find_spec("onnxscript"):
            pytest.skip("ONNX can be written here")
        said = "pip install onnx onnxscript"
    code = script.main([str(run if flags else tmp_path), "--out", str(tmp_path / "out"), *shlex.split(flags)])
    error = capfd.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_damaged_run_is_one_sentence(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights, about = (run / "backbone.safetensors").read_bytes(), (run / "backbone.json").read_bytes()
    for number, (first, second, said) in enumerate(
        [
            (weights, about[: len(about) // 2], "backbone.json is not what an export writes"),
            (weights, b"{}", "backbone.json is not what an export writes"),
            (weights[:-9], about, "backbone.safetensors cannot be read as weights"),
        ]
    ):
        damaged = tmp_path / str(number)
        damaged.mkdir()
        (damaged / "backbone.safetensors").write_bytes(first)
        (damaged / "backbone.json").write_bytes(second)
        assert script.main([str(damaged), "--out", str(tmp_path / "out")]) == 2
        error = capfd.readouterr().err
        assert said in error and error.count("\n") == 1
    assert script.main([str(run / "backbone.json"), "--out", str(tmp_path / "out")]) == 2
    assert "backbone.json is no folder" in capfd.readouterr().err


def test_the_graph_takes_any_number_of_images() -> None:
    """What the ONNX exporter begins with; needs no package of its own."""
    for arch in ("test_resnet", "test_vit"):
        model = build_model(arch, 3, 0, 32).eval()
        program = torch.export.export(
            model, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("images")},)
        )
        image = torch.randn(5, 3, 32, 32)
        torch.testing.assert_close(program.module()(image), model(image), rtol=1e-4, atol=1e-5)


@needs_onnx
def test_onnx_gives_the_same_features_for_both_stems(run: Path, tmp_path: Path) -> None:
    """By another program than torch, for more images than the export saw, and for one."""
    runtime = pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    publish(run, out, onnx=True)
    card = (out / "README.md").read_text()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for name, channels in (("backbone", 3), ("backbone_1ch", 1)):
        assert f"`{name}.onnx`" in card
        session = runtime.InferenceSession(str(out / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
        (given,), (made,) = session.get_inputs(), session.get_outputs()
        assert (given.name, given.shape[1:], made.name) == ("image", [channels, 32, 32], "features")
        model = timm.create_model("test_resnet", num_classes=0, in_chans=channels).eval()
        model.load_state_dict(load_file(out / f"{name}.safetensors"), strict=True)
        for images in (1, 5):
            image = torch.randn(images, channels, 32, 32)
            (found,) = session.run(["features"], {"image": image.numpy()})
            np.testing.assert_allclose(found, model(image).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.soak
@needs_onnx
def test_onnx_of_a_transformer_takes_any_number_of_images(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = build_model("test_vit", 1, 0, 32).eval()
    write_onnx(model, tmp_path / "net.onnx", (1, 1, 32, 32))
    session = runtime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    image = torch.randn(3, 1, 32, 32)
    (found,) = session.run(["features"], {"image": image.numpy()})
    np.testing.assert_allclose(found, model(image).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_folder_that_cannot_be_written_is_said(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert script.main([str(run), "--out", str(tmp_path / "file/out")]) == 2
    error = capfd.readouterr().err
    assert "file/out cannot be written (Not a directory): make room there" in error and error.count("\n") == 1
