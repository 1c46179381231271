"""`Mixture`: batches of several data sets in a fixed ratio, each with its own `Loader`, in an order that can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import IterableDataset

from radload.errors import UsageError
from radload.loading.loader import Loader
from radload.loading.planning.views import Views, batch_axis

STATE_VERSION = 1


class Mixture(IterableDataset[dict[str, Any]]):
    """Each batch joins one batch of every loader, in their order: batch sizes 48 and 16 mix two data sets 3 to 1, exactly.

    A batch has the loaders' columns, and "source" (N,) int64: which of them a row came from ("index" counts in its data set). A
    loader that is through starts its next epoch, so a small data set comes as often as its share asks for. What is drawn at
    a step is a function of the step, so a resume takes the same time everywhere. The mixture moves its loaders: give it new
    ones, and do not iterate over them beside it. Images are copied once more, to stand in one tensor.

    Attributes:
        loaders: in the order given; classes, task: which all of them share. epoch: the current one.
    """

    def __init__(self, loaders: Sequence[Loader], steps: int | None = None) -> None:
        """Take over `loaders`, each opened for training, with the same classes, size, channels, dtype, device and `meta`.

        Args:
            steps: of an epoch; None: until the loader with the most steps is through.

        Raises:
            UsageError: loaders that do not go together.
        """
        if not loaders:
            raise UsageError("a mixture of no loaders has no batches: give at least one")
        if len({id(loader) for loader in loaders}) < len(loaders):
            raise UsageError("a loader can be in a mixture once: open the data set again for another share")
        if any(not loader.trains for loader in loaders):
            raise UsageError(
                "evaluation sees each sample once, which a mixture cannot: use its loaders one after the other"
            )
        self.classes, self.task = loaders[0].classes, loaders[0].task
        for loader in loaders[1:]:
            if (loader.classes, loader.task) != (self.classes, self.task):
                raise UsageError(
                    f"the classes of a mixture must be the same in the same order, here are {list(self.classes)} and "
                    f"{list(loader.classes)}: write label sets that agree with `radload label`, or give labels=False"
                )
        if steps is not None and steps < 1:
            raise UsageError(f"steps={steps} cannot be used: give 1 or more")
        self.loaders = tuple(loaders)
        self._steps = steps if steps is not None else max(len(loader) for loader in loaders)
        self._turn = 0  # of the iterator that may go on
        self._streams: list[Iterator[dict[str, Any]]] = []
        self.epoch, self._position = 0, 0  # _position: batches delivered in this epoch
        self._seek(0, 0)

    def __len__(self) -> int:
        """Steps per epoch, the same on every rank."""
        return self._steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rest of the current epoch; then `epoch` counts up. A new iterator ends the one before."""
        self._turn += 1
        return self._epoch(self._turn)

    def _epoch(self, turn: int) -> Iterator[dict[str, Any]]:
        if self._position == self._steps:  # the loop before took the last batch, and did not ask for the end
            self.epoch, self._position = self.epoch + 1, 0
        while self._position < self._steps:
            parts = [self._next(number) for number in range(len(self.loaders))]
            self._position += 1
            yield _join(parts, self.loaders[0].views)
            if turn != self._turn:
                raise UsageError(
                    "the mixture was started again or moved while this loop was running: use one loop at a time"
                )
        self.epoch, self._position = self.epoch + 1, 0

    def _next(self, number: int) -> dict[str, Any]:
        batch = next(self._streams[number], None)
        if batch is None:  # its epoch is over
            self._streams[number] = iter(self.loaders[number])
            batch = next(self._streams[number])
        return batch

    def _seek(self, epoch: int, position: int) -> None:
        """Go to a step: how far each loader is follows from it."""
        gone = epoch * self._steps + position
        for loader in self.loaders:
            passes, place = divmod(gone, len(loader))
            loader.load_state_dict({**loader.state_dict(), "epoch": passes, "position": place})
        self._streams = [iter(loader) for loader in self.loaders]
        self.epoch, self._position = epoch, position
        self._turn += 1

    def state_dict(self) -> dict[str, Any]:
        """What has been delivered, as plain values; the same on every rank."""
        epoch, position = self.epoch, self._position
        if position == self._steps:
            epoch, position = epoch + 1, 0
        members = [loader.state_dict() for loader in self.loaders]
        return {
            "version": STATE_VERSION,
            "epoch": epoch,
            "position": position,
            "steps": self._steps,
            "members": members,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, on any number of ranks with the same global batches.

        Raises:
            UsageError: the state belongs to another mixture; it says which part and what to do.
        """
        try:
            version, epoch, position, steps = (int(state[n]) for n in ("version", "epoch", "position", "steps"))
            members = list(state["members"])
        except (KeyError, TypeError, ValueError):
            raise UsageError(
                "this is no state of a mixture as state_dict() returns it: give that dict, unchanged"
            ) from None
        if version != STATE_VERSION or (steps, len(members)) != (self._steps, len(self.loaders)):
            raise UsageError(
                f"the state is of a mixture of {len(members)} loaders with {steps} steps per epoch (version {version}), this one "
                f"has {len(self.loaders)} with {self._steps} (version {STATE_VERSION}): make it as the run was started"
            )
        if epoch < 0 or not 0 <= position <= steps:
            raise UsageError(f"the state is at step {position} of {steps} in epoch {epoch}: it does not exist")
        for loader, member in zip(self.loaders, members, strict=True):
            loader.load_state_dict(member)  # refuses other data, seeds and samplers
        self._seek(epoch, position)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`; if it is the current one, nothing changes, so a resumed run keeps its place."""
        if epoch < 0:
            raise UsageError(f"epoch {epoch} does not exist: epochs count from 0")
        if epoch != self.epoch:
            self._seek(epoch, 0)

    def close(self) -> None:
        """Close all loaders. Batches that were delivered stay valid."""
        for loader in self.loaders:
            loader.close()

    def __enter__(self) -> Mixture:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _join(parts: list[dict[str, Any]], views: Views) -> dict[str, Any]:
    """One batch of several, in their order, with "source"."""
    first = parts[0]
    for part in parts[1:]:
        one, other = (_kinds(batch, views) for batch in (first, part))
        if one != other:
            name = next(n for n in one.keys() | other.keys() if one.get(n) != other.get(n))
            raise UsageError(
                f"the loaders of a mixture differ in column {name!r} ({one.get(name)} and {other.get(name)}): open them with the "
                "same size, channels, views, neighbours, dtype, device, masks and meta"
            )
    joined: dict[str, Any] = {}
    for name, value in first.items():
        columns = [part[name] for part in parts]
        tensors = isinstance(value, torch.Tensor)
        joined[name] = torch.cat(columns, batch_axis(name, views)) if tensors else [v for c in columns for v in c]
    sizes = torch.tensor([len(part["index"]) for part in parts])
    joined["source"] = torch.repeat_interleave(torch.arange(len(parts)), sizes).to(first["index"].device)
    return joined


def _kinds(batch: dict[str, Any], views: Views) -> dict[str, str]:
    """Per column what must agree for rows to stand in one tensor."""
    found = {}
    for name, value in batch.items():
        found[name] = "list"
        if isinstance(value, torch.Tensor):
            shape = list(value.shape)
            del shape[min(batch_axis(name, views), len(shape) - 1)]
            found[name] = f"{tuple(shape)} {value.dtype} {value.device}"
    return found
