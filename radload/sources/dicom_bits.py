"""How the bits of one frame are to be read, as the Image Pixel module says it (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Layout:
    """What the module says; `high` is High Bit, `floating` is for Float and Double Float Pixel Data."""

    rows: int
    cols: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: int
    photometric: str
    floating: bool

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the stored values, in this machine's byte order."""
        if self.floating:
            return np.dtype(f"f{self.allocated // 8}")
        return (
            np.dtype(f"{'i' if self.signed else 'u'}{max(self.allocated // 8, 1)}")
            if self.allocated != 1
            else np.dtype("u1")
        )

    @property
    def subsampled(self) -> bool:
        """Whether native pixels share their chroma in pairs (YBR_FULL_422, YBR_PARTIAL_422: Y Y Cb Cr)."""
        return self.photometric in ("YBR_FULL_422", "YBR_PARTIAL_422")

    def frame_bits(self) -> int:
        """Size of one native frame."""
        samples = 2 if self.subsampled else self.samples
        return self.rows * self.cols * samples * self.allocated
