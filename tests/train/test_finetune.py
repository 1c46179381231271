"""Fine-tuning moves what it may and nothing else, and keeps the epoch that was best on other patients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from radload.loading.planning.recipe import default_recipe
from radload.train.backbones import Backbone, make_backbone
from radload.train.divide import CHOOSE, FIT, TEST
from radload.train.finetune import FULL, TOP, Probe, finetune, predict, thaw

N = 48
PART = np.array([FIT] * 32 + [CHOOSE] * 8 + [TEST] * 8, np.int8)
CODES = (np.arange(N) % 2).astype(np.int64)
CPU = torch.device("cpu")


class Batches:
    """Bright and dark images in batches of 12, the last sample of each batch being padding."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        torch.manual_seed(0)
        image = torch.randn(N, 3, 32, 32) + 2 * torch.from_numpy(CODES).float()[:, None, None, None]
        for start in range(0, N, 12):
            rows = torch.arange(start, start + 12)
            padding = torch.cat([rows, torch.tensor([-1])])
            yield {
                "image": torch.cat([image[rows], torch.full((1, 3, 32, 32), torch.nan)]),
                "index": padding,
                "valid": padding >= 0,
            }


@pytest.fixture
def backbone() -> Backbone:
    return make_backbone("random", "test_resnet", 3, 32, default_recipe(), 3)


def tune(backbone: Backbone, method: str, epochs: int = 4, lr: float = 3e-3) -> tuple[Probe, list[float]]:
    batches = Batches()
    return finetune(
        backbone, method, 4, batches, lambda: batches, PART, CODES, 2,
        steps=4, epochs=epochs, lr=lr, seed=1, device=CPU,
    )  # fmt: skip


def test_the_top_layers_learn_and_the_others_stay_with_their_statistics(backbone: Backbone) -> None:
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    tuned, losses = tune(backbone, TOP)
    after = tuned.backbone.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    owners = {name.rsplit(".", 1)[0] for name in changed}
    layers = [name for name, module in backbone.named_modules() if any(True for _ in module.parameters(recurse=False))]
    assert owners == set(layers[-4:]) and min(losses) < losses[0] + 1e-9
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items()), "a copy is tuned"


def test_everything_learns(backbone: Backbone) -> None:
    before = {name: value.clone() for name, value in backbone.named_parameters()}
    tuned, losses = tune(backbone, FULL, epochs=6)
    assert all(not torch.equal(before[name], value) for name, value in tuned.backbone.named_parameters())
    rows, scores = predict(tuned, Batches(), PART == TEST, CPU)
    assert rows.tolist() == list(range(40, 48)) and losses[-1] < 0.6
    assert (scores.argmax(1).numpy() == CODES[rows]).all()


def test_the_best_epoch_stays(backbone: Backbone) -> None:
    tuned, losses = tune(backbone, FULL, epochs=5, lr=0.3)  # far too fast: the loss jumps about
    rows, scores = predict(tuned, Batches(), PART == CHOOSE, CPU)
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(CODES[rows]))
    assert float(loss) == pytest.approx(min(losses), rel=1e-4) and len(losses) == 5


def test_more_layers_than_there_are_is_all_of_them(backbone: Backbone) -> None:
    assert thaw(backbone, TOP, 1000) == [] and all(p.requires_grad for p in backbone.parameters())
    assert len(thaw(backbone, TOP, 1)) > 5 and sum(p.requires_grad for p in backbone.parameters()) <= 2
    assert thaw(backbone, FULL, 1) == [] and all(p.requires_grad for p in backbone.parameters())
