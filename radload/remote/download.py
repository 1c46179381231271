"""A whole object to a file: parts fetched at once, and written in order."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from radload.errors import FormatError
from radload.remote.store import Store

PART = 8 << 20  # bytes of a request: S3's own advice is 8 to 16 MB
_AHEAD = 4  # parts of one object in memory
PARTS_AT_ONCE = 16  # requests of one process for whole objects


class Digest(Protocol):
    """A checksum that is fed in order, such as hashlib.sha256()."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""


def download(
    store: Store, name: str, size: int, descriptor: int, pool: ThreadPoolExecutor, digest: Digest | None = None
) -> None:
    """Write the `size` bytes of an object to an open file, and feed them to `digest` in order.

    Raises:
        FormatError: the object is missing, or shorter. RadloadError: the store cannot be reached. OSError: of the file.
    """

    def part(start: int) -> bytes | memoryview:
        wanted = min(PART, size - start)
        data = store.read_range(name, start, wanted)
        if len(data) != wanted:
            raise FormatError(
                f"{store.url}/{name} has fewer bytes than the index says ({size}): upload it again from a copy"
            )
        return data

    running: deque[Future[bytes | memoryview]] = deque()
    starts = iter(range(0, size, PART))
    at = 0
    while at < size:
        while len(running) < _AHEAD and (start := next(starts, None)) is not None:
            running.append(pool.submit(part, start))
        data = running.popleft().result()
        if digest is not None:
            digest.update(data)
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], at + written)
        at += len(data)
