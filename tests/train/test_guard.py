"""A step without a finite gradient changes nothing: weights, momentum and running statistics stay; too many in a row end the run."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from radload.errors import AgreedEnd
from radload.train.guard import Guard, gradient_norm

CPU = torch.device("cpu")


def build(kind: str) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    if kind == "sgd":
        return model, SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1, fused=True)
    return model, AdamW(model.parameters(), lr=0.1, fused=True)


def step(model: nn.Module, optimizer: Optimizer, guard: Guard, image: torch.Tensor) -> None:
    model(image).square().sum().backward()
    guard.watch(gradient_norm(list(model.parameters()), None))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_bad_step_leaves_no_trace(kind: str) -> None:
    """The first one too, before there is any momentum."""
    images = [torch.randn(8, 3, generator=torch.Generator().manual_seed(n)) for n in range(4)]
    bad = torch.full((8, 3), float("nan"))
    ends = []
    for sequence in (images, [bad, images[0], bad, bad, *images[1:], bad]):
        model, optimizer = build(kind)
        guard, skipped = Guard([model], optimizer, CPU, 5), 0
        for image in sequence:
            step(model, optimizer, guard, image)
            skipped += guard.check(0, 0.1)[0]
        assert skipped == sum(bool(image.isnan().any()) for image in sequence)
        ends.append(model.state_dict())
    for name, value in ends[0].items():
        if name != "1.num_batches_tracked":
            assert torch.equal(value, ends[1][name]), name


def test_too_many_in_a_row_end_the_run_and_scattered_ones_do_not() -> None:
    model, optimizer = build("sgd")
    guard = Guard([model], optimizer, CPU, 3)
    norms = {"good": torch.tensor(1.0), "bad": torch.tensor(float("inf"))}
    for name in ("bad", "bad", "good", "bad", "bad"):
        guard.watch(norms[name])
    assert guard.check(5, 0.1) == (4, True) and guard.check(5, 0.1) == (0, True)
    guard.watch(norms["bad"])
    guard.watch(norms["good"])
    with pytest.raises(AgreedEnd, match="3 steps in a row had no finite gradient"):
        guard.check(7, 0.1)
    guard = Guard([model], optimizer, CPU, 3)
    guard.watch(norms["bad"])
    with pytest.raises(AgreedEnd, match="not finite"):
        guard.check(9, 0.1, last=True)


def test_the_norm_is_torch_s_and_clipping_holds_it_down() -> None:
    model, _ = build("sgd")
    for limit, after in ((None, None), (0.5, 0.5), (1e6, None)):
        model.zero_grad()
        model(torch.randn(8, 3, generator=torch.Generator().manual_seed(1))).square().sum().backward()
        before = torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]).norm()
        torch.testing.assert_close(gradient_norm(list(model.parameters()), limit), before)
        now = torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]).norm()
        torch.testing.assert_close(now, before if after is None else torch.tensor(after), rtol=1e-4, atol=0)
