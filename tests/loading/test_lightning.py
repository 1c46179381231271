"""A Loader in the hands of Lightning's Trainer: epochs, validation, checkpoints in the middle of an epoch, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from radload.errors import UsageError
from radload.loading import Loader, Mixture

lightning = pytest.importorskip("lightning")
from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402

STEPS = 5  # per epoch, of 6 samples


class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
    """A linear model that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Linear(3 * 16 * 16, 3)
        self.seen: list[tuple[int, list[int]]] = []  # epoch, rows
        self.validated: list[int] = []

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch["index"].tolist()))
        label = batch["label"].clamp(min=0)
        return torch.nn.functional.cross_entropy(self.model(batch["image"].flatten(1)), label)

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        assert batch["valid"].dtype == torch.bool
        if not self.trainer.sanity_checking:
            self.validated += batch["index"][batch["valid"]].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def train_loader(path: Path, **changes: Any) -> Loader:
    return Loader(path, **({"batch_size": 6, "size": 16, "seed": 4, "threads": 1, "augment": "default"} | changes))


def val_loader(path: Path) -> Loader:
    return Loader(path, "val", batch_size=2, size=16, threads=1, shuffle=False, drop_last=False)


def trainer(folder: Path, **options: Any) -> Any:
    quiet: dict[str, Any] = {
        "logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False
    }  # fmt: skip
    return lightning.Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **(quiet | options))


def orders(path: Path, epochs: int) -> list[tuple[int, list[int]]]:
    """What an ordinary loop sees."""
    with train_loader(path) as loader:
        return [(epoch, batch["index"].tolist()) for epoch in range(epochs) for batch in loader]


@pytest.mark.filterwarnings("ignore")
def test_two_epochs_and_their_validations(ct_data: Path, tmp_path: Path) -> None:
    """Lightning never asks for what follows the last batch; another epoch comes all the same."""
    module = Module()
    with train_loader(ct_data) as train, val_loader(ct_data) as val:
        trainer(tmp_path, max_epochs=3).fit(module, train, val)
        assert [batch["index"].tolist() for batch in train] == [rows for _, rows in orders(ct_data, 4)[15:]]
    assert module.seen == orders(ct_data, 3) and len(module.seen) == 3 * STEPS
    assert module.validated == 3 * list(range(30, 37)), "each sample once per pass, whatever the sanity check took"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [2, 5, 7, 10])
def test_a_checkpoint_goes_on_with_exactly_the_rest(ct_data: Path, tmp_path: Path, steps: int) -> None:
    """In the middle of an epoch, and at its end: Lightning keeps the Loader's state in its own checkpoint."""
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=steps, save_top_k=-1)
    first, second = Module(), Module()
    with train_loader(ct_data) as train, val_loader(ct_data) as val:
        trainer(tmp_path, max_steps=steps, callbacks=[saver], enable_checkpointing=True).fit(first, train, val)
    with train_loader(ct_data) as train, val_loader(ct_data) as val:
        path = str(tmp_path / f"step={steps}.ckpt")
        trainer(tmp_path, max_epochs=3).fit(second, train, val, ckpt_path=path)
    assert [rows for _, rows in first.seen + second.seen] == [rows for _, rows in orders(ct_data, 3)]


@pytest.mark.filterwarnings("ignore")
def test_a_data_loader_or_a_mixture_around_it_is_passed_on(ct_data: Path, tmp_path: Path) -> None:
    module = Module()
    with train_loader(ct_data) as train:
        trainer(tmp_path, max_epochs=2).fit(module, DataLoader(train, batch_size=None))
    assert module.seen == orders(ct_data, 2)
    module = Module()
    with Mixture([train_loader(ct_data), train_loader(ct_data, seed=9)]) as mixture:
        trainer(tmp_path, max_epochs=2).fit(module, mixture)
    assert [rows[:6] for _, rows in module.seen] == [rows for _, rows in orders(ct_data, 2)]


@pytest.mark.filterwarnings("ignore")
def test_workers_are_refused_with_the_reason(ct_data: Path, tmp_path: Path) -> None:
    with train_loader(ct_data) as train, pytest.raises(UsageError, match=r"process of its own.*num_workers=0"):
        trainer(tmp_path, max_epochs=1).fit(Module(), DataLoader(train, batch_size=None, num_workers=2))


@pytest.mark.filterwarnings("ignore")
def test_a_limit_of_batches_goes_on_in_the_next_epoch(ct_data: Path, tmp_path: Path) -> None:
    """With limit_train_batches Lightning's epochs are shorter than the Loader's: none of its samples is skipped."""
    module = Module()
    with train_loader(ct_data) as train, val_loader(ct_data) as val:
        trainer(tmp_path, max_epochs=4, limit_train_batches=2, limit_val_batches=3).fit(module, train, val)
    assert [rows for _, rows in module.seen] == [rows for _, rows in orders(ct_data, 2)][:7]
    assert [epoch for epoch, _ in module.seen] == [0, 0, 1, 1, 2, 3, 3], "2 + 2 + 1 are an epoch of the Loader"
    assert module.validated == 3 * list(range(30, 36)), "validation begins anew each time; the short epoch has none"
