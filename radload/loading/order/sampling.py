"""Samplers: what is drawn at position p of epoch e, as arithmetic. No list is built, no draw depends on the one before.

Memory is O(classes) or O(patients) beside the mapped row lists, time O(1) per draw. "Elements" count from the start of the
split. What an epoch is, and what is promised about repeats, stands in each docstring; docs/loading.md tells users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radload.errors import FormatError
from radload.loading.order.permutation import Permutation, permuted
from radload.loading.order.random import VIEW_BLOCK, stand_in, words

OWN_ATTEMPTS = 4  # stand-ins tried from the damaged sample's own class or patient, before any of the split


class Sampler(Protocol):
    """A rule of drawing. `length`: draws of an epoch that are delivered over all ranks, constant during a run."""

    @property
    def samples(self) -> int:
        """Draws of an epoch, before what fills no global batch is left out."""

    def elements(self, epoch: int, positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """Elements of the split drawn at `positions` (n,), each in [0, length): (n,)."""

    def stand_in(self, epoch: int, position: int, length: int, attempt: int) -> int:
        """The element that replaces a damaged one drawn at `position`; another for each attempt."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every sample once per epoch, in another order each time; a stand-in is any sample of the split."""

    samples: int
    seed: int

    def elements(self, epoch: int, positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        return Permutation(self.samples, self.seed, epoch).at(positions)

    def stand_in(self, epoch: int, position: int, length: int, attempt: int) -> int:
        return self.any_of(epoch, position, attempt)

    def any_of(self, epoch: int, position: int, attempt: int) -> int:
        """A stand-in; for this sampler the epoch's length says nothing."""
        return stand_in(self.seed, epoch, position, attempt, self.samples)


@dataclass(frozen=True, slots=True)
class RowLists:
    """Row lists by group, mapped from a file.

    Attributes:
        rows: rows of the index, group after group.
        starts, counts: (groups, pieces) where each group's pieces begin in `rows`, and how long they are.
        first, stop: rows of the split: what `rows` may hold.
        source: what the lists are, for errors.
    """

    rows: NDArray[np.uint64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    first: int
    stop: int
    source: str

    def sizes(self, group: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) rows of groups (n,)."""
        return np.asarray(self.counts[group].sum(axis=1), np.int64)

    def elements(self, group: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64]:
        """Elements of the split at places `at` (n,) of groups (n,). Raises FormatError where a row is not of the split."""
        ends = np.cumsum(self.counts[group], axis=1)  # (n, pieces)
        piece = (at[:, None] >= ends).sum(axis=1)
        entry = np.arange(len(at))
        inside = at - (ends[entry, piece] - self.counts[group, piece])
        found = np.asarray(self.rows[self.starts[group, piece] + inside]).astype(np.int64)
        if found.size and (found.min() < self.first or found.max() >= self.stop):
            raise FormatError(f"{self.source} lists rows of another split: it is damaged, restore or write it again")
        return found - self.first


@dataclass(frozen=True, slots=True)
class Strata:
    """Classes in fixed shares ("balanced", "weights").

    Draws come in blocks of sum(quotas); each block holds class c exactly quotas[c] times, in a random order, and one block
    follows another without regard to epochs. Each class goes through its samples by bijections: all of them are drawn before
    one comes again, also over the end of an epoch.

    Attributes:
        lists: rows of each class with samples; quotas: (classes,) draws per block, at least 1.
        samples: draws of an epoch: as many as the classes have samples.
        seed: of the run; split_samples: in the split, for stand-ins after OWN_ATTEMPTS.
    """

    lists: RowLists
    quotas: NDArray[np.int64]
    samples: int
    seed: int
    split_samples: int

    def elements(self, epoch: int, positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        group, count = self.classes(epoch, positions, length)
        sizes = self.lists.sizes(group)
        return self.lists.elements(group, permuted(sizes, self.seed, group, count // sizes, count % sizes))

    def classes(
        self, epoch: int, positions: NDArray[np.int64], length: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(class, draws of that class before this one since epoch 0) at `positions` (n,), each (n,)."""
        size = int(self.quotas.sum())
        block, place = np.divmod(epoch * length + positions, size)
        blocks, which = np.unique(block, return_inverse=True)
        order = np.argsort(words(self.seed, 0, blocks, VIEW_BLOCK, size), axis=1, kind="stable")
        first = np.concatenate([[0], np.cumsum(self.quotas)])
        drawn = np.repeat(np.arange(len(self.quotas)), self.quotas)[order]  # (blocks, size) class at each place
        by_class = np.argsort(drawn, axis=1, kind="stable")  # places, class after class, in order of time
        rank = np.empty_like(by_class)
        np.put_along_axis(rank, by_class, np.arange(size)[None, :].repeat(len(blocks), axis=0), axis=1)
        group = drawn[which, place]
        return group, block * self.quotas[group] + rank[which, place] - first[group]

    def stand_in(self, epoch: int, position: int, length: int, attempt: int) -> int:
        if attempt >= OWN_ATTEMPTS:
            return stand_in(self.seed, epoch, position, attempt, self.split_samples)
        group, _ = self.classes(epoch, np.array([position]), length)
        at = stand_in(self.seed, epoch, position, attempt, int(self.lists.sizes(group)[0]))
        return int(self.lists.elements(group, np.array([at]))[0])


@dataclass(frozen=True, slots=True)
class Patients:
    """One sample of each patient per epoch ("patient").

    Patients come in another order each epoch. Each goes through his samples by bijections over the epochs: all of them are
    drawn before one comes again.

    Attributes:
        lists: rows of each patient of the split; seed: of the run; split_samples: in the split, for stand-ins.
    """

    lists: RowLists
    seed: int
    split_samples: int

    @property
    def samples(self) -> int:
        return len(self.lists.starts)

    def elements(self, epoch: int, positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        patient = Permutation(self.samples, self.seed, epoch).at(positions)
        sizes = self.lists.sizes(patient)
        turn, at = np.divmod(np.full(len(patient), epoch, np.int64), sizes)
        return self.lists.elements(patient, permuted(sizes, self.seed, patient, turn, at))

    def stand_in(self, epoch: int, position: int, length: int, attempt: int) -> int:
        if attempt >= OWN_ATTEMPTS:
            return stand_in(self.seed, epoch, position, attempt, self.split_samples)
        patient = Permutation(self.samples, self.seed, epoch).at(np.array([position]))
        at = stand_in(self.seed, epoch, position, attempt, int(self.lists.sizes(patient)[0]))
        return int(self.lists.elements(patient, np.array([at]))[0])
