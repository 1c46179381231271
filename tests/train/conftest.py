"""A packed data set that two processes train on in seconds, and one without labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from train_data import single_labels, write


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on one thread: several, on a machine with other work, wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """Random numbers do not depend on which tests ran before in the same process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, some samples without a label."""
    return write(tmp_path_factory.mktemp("labelled"), single_labels())


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CT CHEST and MR, no label set."""
    return write(tmp_path_factory.mktemp("unlabelled"))
