"""Which rank delivers which draw of a global batch where ranks keep images: the one at home with the sample, as far as batches stay full.

All ranks compute it alone, from the global batch's elements and the number of ranks; a batch's draws are the same set for any number of
them. An element's home never changes, so each rank keeps its own part of a split, and together they keep as much as all have room for.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from radload.loading.order.permutation import mixed

_SALT: Final = np.uint64(0x5BD1E9955BD1E995)  # any number: homes must have nothing to do with the order's keys


def home(elements: NDArray[np.int64], ranks: int) -> NDArray[np.int64]:
    """The rank at home with each element of a split: a hash, so that no run of slices is one rank's."""
    return (mixed(elements.astype(np.uint64) ^ _SALT) % np.uint64(ranks)).astype(np.int64)


def share_out(elements: NDArray[np.int64], ranks: int) -> NDArray[np.int64]:
    """The rank, (n,), that delivers each element (n,) of a global batch; each gets n / ranks of them.

    A rank takes what it is at home with, in order of position, until its batch is full; the rest, in order of position, fills the batches
    that are not, in order of rank.
    """
    each = len(elements) // ranks
    found = home(elements, ranks)
    by_rank = np.argsort(found, kind="stable")
    counts = np.bincount(found, minlength=ranks)
    turn = np.empty(len(found), np.int64)  # of an element among those of its home
    turn[by_rank] = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
    found[turn >= each] = np.repeat(np.arange(ranks), np.maximum(each - counts, 0))
    return found
