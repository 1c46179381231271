"""A whole object to a file: parts fetched at once, each written where it belongs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from radload.errors import FormatError
from radload.remote.store import Store

PART = 8 << 20  # bytes of a request: S3's own advice is 8 to 16 MB
PARTS_AT_ONCE = 16  # requests of one process for whole objects


def download(store: Store, name: str, size: int, descriptor: int, pool: ThreadPoolExecutor) -> None:
    """Write the `size` bytes of an object to an open file.

    Raises:
        FormatError: the object is missing, or shorter. RadloadError: the store cannot be reached. OSError: of the file.
    """

    def part(start: int) -> None:
        wanted = min(PART, size - start)
        data = store.read_range(name, start, wanted)
        if len(data) != wanted:
            raise FormatError(
                f"{store.url}/{name} has fewer bytes than the index says ({size}): upload it again from a copy"
            )
        written = 0
        while written < wanted:
            written += os.pwrite(descriptor, data[written:], start + written)

    for done in [pool.submit(part, start) for start in range(0, size, PART)]:
        done.result()
