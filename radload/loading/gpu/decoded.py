"""What decodes on a device, and what it gives."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Decoded(Protocol):
    """Images on the device, (h, w) uint16 each, ordered on SIDE. They live as long as this does."""

    def addresses(self) -> list[int]:
        """Of all of them on the device."""

    def pixels(self, i: int) -> NDArray[np.uint16]:
        """Image i as (h, w), copied to the host; waits for SIDE."""


class Decoder(Protocol):
    """Decodes batches of grey HTJ2K streams. name: of the software."""

    name: str

    def decode(self, data: list[NDArray[np.uint8]]) -> Decoded:
        """Put the decoding on SIDE; `data` is read before this returns.

        Raises:
            RuntimeError: a stream was refused, or the decoder failed; the next call may succeed.
        """
