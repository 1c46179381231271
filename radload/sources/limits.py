"""How large a frame and a file may be: asked of headers, before anything is allocated, so that a few bytes cannot claim a machine."""

from __future__ import annotations

from typing import Final

from radload.sources.slice import Refused

MAX_SIDE: Final = 65_535  # rows and columns are 16-bit numbers in DICOM and in the index
MAX_FRAME_VALUES: Final = 100_000_000  # 10,000 x 10,000 grey pixels: 1.6 GiB at most in a worker that packs them
MAX_FRAME_BYTES: Final = 1 << 28  # 256 MiB of stored values
MAX_FRAMES: Final = 1 << 20
MAX_INFLATED: Final = 1 << 30  # bytes of a compressed file that are held at once


def check_frame(rows: int, cols: int, samples: int, size: int) -> None:
    """Refuse a frame of (rows, cols, samples) values of `size` bytes that memory should not be risked for.

    Raises:
        Refused: `too-large`.
    """
    values = rows * cols * samples
    if max(rows, cols) > MAX_SIDE:
        raise Refused("too-large", "more than 65,535 rows or columns")
    if values > MAX_FRAME_VALUES or values * size > MAX_FRAME_BYTES:
        raise Refused("too-large", "a frame of more than 100 million values, or more than 256 MiB")
