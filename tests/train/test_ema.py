"""The average is the recursion that it says, buffers included; it learns nothing itself."""

from __future__ import annotations

import torch
from torch import nn

from radload.train.ema import Average


def test_the_average_is_its_recursion() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average, weight = Average(model, 0.5), model[0].weight.detach().clone()
    expected = weight.clone()  # type: ignore[operator]
    for step in range(12):
        with torch.no_grad():
            model[0].weight.add_(1.0)  # type: ignore[operator]
        model(torch.randn(4, 2))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (weight + step + 1)  # type: ignore[operator]
    torch.testing.assert_close(average.module[0].weight, expected)  # type: ignore[index]
    assert average.module[1].num_batches_tracked == 12  # type: ignore[index]
    assert not torch.equal(average.module[1].running_mean, model[1].running_mean)  # type: ignore[index,arg-type]
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
