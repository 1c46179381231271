"""Which of many names are known, at 16 bytes each: what `--append` asks about ten million packed samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Name: TypeAlias = tuple[str | None, ...]

_BYTES: Final = 16  # of a BLAKE2b digest: two of ten million names are equal by chance once in 10**24 data sets
_DIGESTS: Final = np.dtype(f"S{_BYTES}")


class KnownNames:
    """A set of names; each is a tuple of texts, of which some may be missing."""

    def __init__(self, parts: Iterable[Iterable[Name]]) -> None:
        """parts: all names, some at a time."""
        found = [np.unique(_digests(part)) for part in parts]
        self._digests = np.unique(np.concatenate([np.zeros(0, _DIGESTS), *found]))

    def __len__(self) -> int:
        return len(self._digests)

    def has(self, names: Sequence[Name]) -> NDArray[np.bool_]:
        """Which of `names` are in it (names,)."""
        wanted = _digests(names)
        if not len(self._digests):
            return np.zeros(len(wanted), np.bool_)
        places = np.searchsorted(self._digests, wanted)
        found: NDArray[np.bool_] = self._digests[np.minimum(places, len(self._digests) - 1)] == wanted
        return found


def _digests(names: Iterable[Name]) -> NDArray[np.bytes_]:
    """(names,) sortable; NumPy's texts end before trailing zero bytes, which tells digests of one length apart as well."""
    joined = b"".join(hashlib.blake2b(repr(name).encode(), digest_size=_BYTES).digest() for name in names)
    return np.frombuffer(joined, _DIGESTS)
