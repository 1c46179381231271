"""Batches for a run from any step of it: from the shards, or, to see what the network alone can do, one batch again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from radload.loading import Loader
from radload.train.stages import Stage


@dataclass(frozen=True)
class Fake:
    """Batches of random numbers, in the shapes of a loader's.

    Attributes:
        count: images; classes, multi: of their labels; views, local_views, local_size: as the Loader's.
    """

    count: int
    classes: int
    multi: bool
    views: int = 1
    local_views: int = 0
    local_size: int = 96

    @property
    def seen(self) -> int:
        """Views of each image."""
        return self.views + self.local_views

    def batch(self, size: int, channels: int) -> dict[str, Any]:
        """A batch of images of size x size, on the CPU; always the same."""
        random = torch.Generator().manual_seed(0)
        many = (self.views,) if self.views > 1 else ()
        single = torch.randint(self.classes, (self.count,), generator=random)
        batch = {
            "image": torch.randn(*many, self.count, channels, size, size, generator=random),
            "label": torch.randint(2, (self.count, self.classes), generator=random).float() if self.multi else single,
            "index": torch.zeros(self.count, dtype=torch.int64),
        }
        if self.local_views:
            shape = (self.local_views, self.count, channels, self.local_size, self.local_size)
            batch["local"] = torch.randn(shape, generator=random)
        return batch


class Feed:
    """A loader of the size that a step has; where the size changes, another one goes on at the very sample.

    Attributes:
        loader: the current one.
    """

    def __init__(self, open_loader: Callable[[int], Loader], size: int, kind: str, fake: Fake) -> None:
        """
        Args:
            open_loader: a loader of the training split for images of so many pixels; size: of the first stage.
            kind: "real", "replay" (the first batch of each stage) or "synthetic" (`fake`'s).
        """
        self._open, self._size, self._kind, self._fake = open_loader, size, kind, fake
        self.loader = open_loader(size)
        self._stages: tuple[Stage, ...] = ()
        self._step = 0

    def start(self, stages: tuple[Stage, ...], step: int) -> None:
        """Be at `step` of a run, which is where the loader is."""
        self._stages, self._step = stages, step
        self._turn(self.stage.size)

    @property
    def stage(self) -> Stage:
        """That of the next batch; after the last step the last one."""
        return next((stage for stage in self._stages if self._step < stage.end), self._stages[-1])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The batches up to the end of the current stage; take an iterator anew for the next one."""
        stage = self.stage
        self._turn(stage.size)
        for batch in self._batches():
            self._step += 1
            yield batch
            if self._step == stage.end:
                return

    def _batches(self) -> Iterator[dict[str, Any]]:
        if self._kind == "synthetic":
            batch = self._fake.batch(self._size, self.loader.channels)
        elif self._kind == "replay":
            batch = next(iter(self.loader))
        else:
            while True:
                yield from self.loader
        while True:
            yield batch

    def _turn(self, size: int) -> None:
        if size != self._size:
            state = self.loader.state_dict()
            self.loader.close()
            self.loader, self._size = self._open(size), size
            self.loader.load_state_dict(state)

    def close(self) -> None:
        """End the loader's process."""
        self.loader.close()
