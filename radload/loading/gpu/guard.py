"""Whether a device decodes to the same bits as the CPU. (A GPU's decoder of lossless JPEG once returned zeros without a word.)"""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radload.loading.gpu.decoded import Decoded

_PER_BATCH = 8  # shards looked at for the first time; each costs one decode on the CPU, and waits for the device


class Guard:
    """Compares all of the first batch, and later one sample of every shard that comes for the first time.

    Args:
        known: this machine's decoder was equal before (`codecs.verdicts`): the first batch is as any other.

    Attributes:
        looks_at_all: of the next batch.
    """

    def __init__(self, known: bool = False) -> None:
        self._seen: set[int] = set()
        self.looks_at_all = not known

    def differs(self, data: list[NDArray[np.uint8]], shards: NDArray[np.integer], decoded: Decoded) -> str | None:
        """What is wrong with a batch: streams, their shards, and what the device made of them. None where nothing is."""
        chosen = list(range(len(data))) if self.looks_at_all else self._of_new_shards(shards)
        for i in chosen:
            try:
                expected = imagecodecs.htj2k_decode(data[i].tobytes())
            except (RuntimeError, ValueError) as error:
                return f"the CPU refuses a stream that the device takes ({error})"
            found = decoded.pixels(i)
            if found.shape != expected.shape or not np.array_equal(found, expected):
                return f"an image of {expected.shape[0]}x{expected.shape[1]} differs from what the CPU decodes"
        self.looks_at_all = False
        self._seen.update(int(shards[i]) for i in chosen)
        return None

    def _of_new_shards(self, shards: NDArray[np.integer]) -> list[int]:
        """Places of the first sample of each new shard, a few of them; the others wait until they come again."""
        new = {int(shard): i for i, shard in reversed(list(enumerate(shards))) if int(shard) not in self._seen}
        return sorted(new.values())[:_PER_BATCH]
