"""The losses are what their papers define, tell good embeddings from collapsed ones, and a backbone learns from images alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from exported import open_backbone
from test_pretrain import SMALL

from radload.train.log import read_log
from radload.train.models import build_model
from radload.train.pretrain import main
from radload.train.self_supervised import TEMPERATURE, Embedder, found, lejepa, sigreg, simclr


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_sigreg_is_the_epps_pulley_statistic() -> None:
    """Against the closed form of Epps and Pulley (1983) for the integral over all t with weight exp(-t²/2), in one dimension."""
    x = normal(1, 200, 1)
    flat = x.flatten()
    pairs = torch.exp(-(flat[:, None] - flat).square() / 2).mean()
    closed = len(flat) * (pairs - 2**0.5 * torch.exp(-flat.square() / 4).mean() + 3**-0.5) * (2 * torch.pi) ** 0.5
    torch.testing.assert_close(sigreg(x, 0), closed, rtol=0.02, atol=0)


def test_sigreg_is_small_for_a_normal_cloud_and_for_nothing_else() -> None:
    cloud = normal(2, 512, 16)
    small = sigreg(cloud, 0)
    for wrong in (cloud * 0, cloud * 3, cloud + 1, cloud.abs(), cloud.sign()[..., :1].expand(-1, -1, 16)):
        assert sigreg(wrong, 0) > 5 * small
    assert sigreg(cloud, 1) != small and sigreg(cloud, 0) == small, (
        "new directions each step, the same for the same step"
    )


def test_lejepa_is_least_where_views_agree_on_a_normal_cloud() -> None:
    base = normal(1, 512, 16)
    same = base.expand(3, -1, -1)
    assert lejepa(same, 0, 2) < lejepa(same + 0.5 * normal(3, 512, 16), 0, 2) < lejepa(same * 0, 0, 2)


def test_simclr_is_nt_xent() -> None:
    embeddings = normal(2, 6, 4)
    flat = F.normalize(embeddings.reshape(12, 4), dim=1)
    expected = 0.0
    for i in range(12):
        scores = torch.stack([flat[i] @ flat[j] / TEMPERATURE for j in range(12) if j != i])
        partner = flat[i] @ flat[(i + 6) % 12] / TEMPERATURE
        expected += float(scores.logsumexp(0) - partner) / 12
    assert float(simclr(embeddings)) == pytest.approx(expected)
    same = normal(1, 6, 4).expand(3, -1, -1)
    assert simclr(same) < simclr(normal(3, 6, 4)) and found(same) == 6


def test_an_embedder_takes_views_of_two_sizes_in_one_pass() -> None:
    for arch in ("test_resnet", "test_vit"):
        model = Embedder(build_model(arch, 3, 0, 32, several_sizes=True), (2, 3, 32, 32))
        assert model(torch.randn(8, 3, 32, 32), torch.randn(12, 3, 16, 16)).shape == (20, 128)


def test_without_labels_a_run_learns_from_views_and_leaves_a_backbone(
    unlabelled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    flags = (
        "--epochs 4 --lr 0.02 --local-views 2 --local-size 16 --accumulate 2 --log-every 1 --ema 0.9 --batch-size 16"
    )
    assert main([*SMALL, *flags.split(), f"--shards={unlabelled}", f"--out={out}"]) == 0, capfd.readouterr().err
    said = capfd.readouterr().out
    assert "learning from the images alone" in said and "lejepa, 4 views" in said
    log = read_log(out / "log.jsonl")
    losses = [line["loss"] for line in log if line["kind"] == "train"]
    assert min(losses[-3:]) < losses[0]
    val = [line for line in log if line["kind"] == "val"]
    assert len(val) == 4 and val[0]["samples"] == 11 and 0 <= val[0]["found"] <= 1
    backbone, about = open_backbone(out)
    assert backbone(torch.zeros(2, 3, 32, 32)).ndim == 2 and about["step"] == 8
    assert json.loads((out / "val.json").read_text())["objective"] == "lejepa"
    assert main([*SMALL, *flags.split(), f"--shards={unlabelled}", f"--out={out}"]) == 0, "nothing is left to do"
    assert [line for line in read_log(out / "log.jsonl") if line["kind"] == "val"] == val


def test_labels_can_be_left_aside(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert (
        main([*SMALL, f"--shards={labelled}", f"--out={out}", "--objective=simclr", "--max-steps=3", "--log-every=1"])
        == 0
    )
    assert all(line["loss"] > 0 for line in read_log(out / "log.jsonl") if line["kind"] == "train")
    assert json.loads((out / "run.json").read_text())["config"]["optimizer"] == "adamw"


@pytest.mark.parametrize("flag", ["--augment=none", "--mixup=0.2", "--class-weights=balanced"])
def test_what_views_cannot_do_is_said(
    unlabelled: Path, tmp_path: Path, flag: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, f"--shards={unlabelled}", f"--out={tmp_path / 'run'}", flag]) == 2
    assert flag.split("=")[0] in capfd.readouterr().err
