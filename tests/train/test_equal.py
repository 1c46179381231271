"""The number of processes, and the parts in which a step is taken, change nothing but the rounding: in double precision 1e-10."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from script import finish, start
from torch import nn
from two_ranks import run_on_two

from radload.train import checkpoint
from radload.train.distributed import Ranks
from radload.train.pretrain import main
from radload.train.self_supervised import LOSSES

FLAGS = "--arch=test_vit --amp=float64 --batch-size=8 --max-steps=8 --epochs=2 --clip-grad=1 --ema=0.9 --mixup=0"


def test_one_process_two_processes_and_parts_of_a_step_learn_the_same(labelled: Path, tmp_path: Path) -> None:
    """With samples that have no label, so that ranks and parts have unequal numbers of labels."""
    codes, errors = finish(start(labelled, tmp_path / "two", *FLAGS.split()))
    assert codes == [0, 0], errors
    small = ["--size=32", "--device=cpu", "--threads=1", "--log-every=1"]
    for name, parts in (("one", "1"), ("parts", "4")):
        out = tmp_path / name
        assert main([*small, *FLAGS.split(), f"--shards={labelled}", f"--out={out}", f"--accumulate={parts}"]) == 0
    one, two, parted = (
        checkpoint.load(checkpoint.path_of(tmp_path / n / "checkpoints", 8)) for n in ("one", "two", "parts")
    )
    for other in (two, parted):
        for part in ("model", "average"):
            for name, value in one[part].items():
                torch.testing.assert_close(other[part][name], value, rtol=0, atol=1e-10)
    assert any((one["model"][name] - one["average"][name]).abs().max() > 1e-6 for name in one["model"]), "it learned"


def _gradient(ranks: Ranks, name: str) -> list[float]:
    """Of a linear embedding of 3 views of 8 images, divided among the ranks."""
    torch.manual_seed(0)
    images, net = torch.randn(3, 8, 5, dtype=torch.float64), nn.Linear(5, 4, dtype=torch.float64)
    own = images[:, ranks.rank * 8 // ranks.world : (ranks.rank + 1) * 8 // ranks.world]
    loss: Callable[..., torch.Tensor] = LOSSES[name]
    torch.autograd.backward(loss(ranks.join_columns(net(own)), 7, 2) * ranks.world)
    gradient = torch.cat([one.grad.flatten() for one in net.parameters() if one.grad is not None])
    return [float(value) for value in ranks.sum(gradient) / ranks.world]  # as DDP does


def gradients(ranks: Ranks) -> list[list[float]]:
    return [_gradient(ranks, name) for name in sorted(LOSSES)]


def test_self_supervised_losses_are_of_the_global_batch(tmp_path: Path) -> None:
    alone = gradients(Ranks(0, 1, 0, torch.device("cpu")))
    for found in run_on_two(gradients, tmp_path):
        torch.testing.assert_close(torch.tensor(found), torch.tensor(alone), rtol=0, atol=1e-12)
    assert all(max(map(abs, gradient)) > 1e-3 for gradient in alone)
