"""A whole object to a file: parts of it fetched at once, each written where it belongs as it comes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait

from radload.codecs import checksum
from radload.errors import FormatError
from radload.remote.store import Store

PART = 32 << 20  # bytes of a request; a connection gives some 50 MB/s, so a shard of 134 MB comes over four
PARTS_AT_ONCE = 32  # requests of one process for whole objects; of each a chunk of 1 MiB is in memory


def download(
    store: Store, name: str, size: int, descriptor: int, pool: ThreadPoolExecutor, crc: int | None = None
) -> None:
    """Write the `size` bytes of an object to an open file.

    Args:
        crc: their CRC-32C, if it is to be checked.

    Raises:
        FormatError: the object is missing, shorter, or has another CRC-32C; some of it may be in the file then.
        RadloadError: the store cannot be reached. OSError: of the file.
    """

    def part(start: int) -> int:
        found, at, end = 0, start, min(size, start + PART)
        for chunk in store.stream(name, start, end - start):
            if crc is not None:
                found = checksum.extend(found, chunk)
            written = 0
            while written < len(chunk):
                written += os.pwrite(descriptor, chunk[written:], at + written)
            at += len(chunk)
        if at < end:
            raise FormatError(
                f"{store.url}/{name} has fewer bytes than the index says ({size}): upload it again from a copy"
            )
        return found

    starts = range(0, size, PART)
    running = [pool.submit(part, start) for start in starts]
    try:
        whole = 0
        for start, future in zip(starts, running, strict=True):
            whole = checksum.combine(whole, future.result(), min(PART, size - start))
    finally:
        for future in running:
            future.cancel()
        wait(running)  # nobody writes to the descriptor once it is closed, or another file's
    if crc is not None and whole != crc:
        raise FormatError(f"{store.url}/{name} has a wrong checksum (CRC-32C): upload it again from a copy")
