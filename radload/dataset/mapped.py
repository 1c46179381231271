"""Files that are used for as long as a data set is open: small ones copied into memory, large ones mapped and watched.

A mapped file that is cut kills whoever touches the lost pages (SIGBUS), one that is overwritten shows other values. So what
is small is copied, checked, and can do neither. What is large is mapped, once for all ranks of a machine, and `check` says
before each batch is made, and again before it is believed, whether somebody has changed the file.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from radload.errors import FormatError

COPIED = 16 << 20  # bytes of a file up to which it is copied: reading it, and its checksum, cost milliseconds
_PIECE = 4 << 20

Buffer = bytes | mmap.mmap


@dataclass(slots=True)
class _Watched:
    path: Path
    descriptor: int
    size: int
    time: int  # of the last modification, in ns
    crc: int | None


class OpenFiles:
    """Copies and mappings of files. Safe to share between threads.

    Args:
        scattered: single entries of them will be read, far from each other: a touch of a mapped file then reads one page. By default it
            reads what the device's read-ahead says, up to megabytes: 5 GB of a 13 GB index for the first three batches of 256, 3 MB so.
    """

    def __init__(self, scattered: bool = False) -> None:
        self._scattered = scattered
        self._watched: list[_Watched] = []
        self._lock = Lock()

    def read(self, path: Path, size: int | None = None, crc: int | None = None, in_order: bool = False) -> Buffer:
        """The content of a file, copied or mapped; with its length and CRC-32C where they are known. in_order: all of it will be read.

        Raises:
            FormatError: it is missing, cannot be read, or is not what `size` and `crc` say (`crc`: where it is copied).
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise FormatError(f"{path} cannot be opened ({error.strerror}): {_REMEDY}") from None
        keep = False
        try:
            status = os.fstat(descriptor)
            if size is not None and status.st_size != size:
                raise FormatError(f"{path} has {status.st_size} bytes instead of {size}: it is damaged; {_REMEDY}")
            if status.st_size <= COPIED:
                content = _copy(descriptor, status.st_size)
                if len(content) != status.st_size or (crc is not None and google_crc32c.value(content) != crc):
                    raise FormatError(f"{path} has a wrong checksum (CRC-32C): it is damaged; {_REMEDY}")
                return content
            mapped = mmap.mmap(descriptor, status.st_size, mmap.MAP_SHARED, mmap.PROT_READ)
            if self._scattered and not in_order:
                mapped.madvise(mmap.MADV_RANDOM)
            with self._lock:
                self._watched.append(_Watched(path, descriptor, status.st_size, status.st_mtime_ns, crc))
            keep = True
            return mapped
        except (OSError, ValueError) as error:
            raise FormatError(f"{path} cannot be read ({error}): {_REMEDY}") from None
        finally:
            if not keep:
                os.close(descriptor)

    def array(
        self,
        path: Path,
        dtype: np.dtype[Any],
        size: int | None = None,
        crc: int | None = None,
        in_order: bool = False,
    ) -> NDArray[Any]:
        """The content of a file of fixed-width records: (n,) of `dtype`, read-only. Raises FormatError as `read`."""
        content = self.read(path, size, crc, in_order)
        if len(content) % dtype.itemsize:
            raise FormatError(f"{path} does not hold whole records of {dtype.itemsize} bytes: it is damaged; {_REMEDY}")
        return np.frombuffer(content, dtype) if len(content) else np.zeros(0, dtype)

    def check(self) -> None:
        """Look whether the mapped files are what they were: a call of the system per file.

        A file that was written, but holds what it held (a `touch`, a restore), is read once to compare its checksum.

        Raises:
            FormatError: one was cut, lengthened or overwritten.
        """
        for file in self._watched:
            status = os.fstat(file.descriptor)
            if (status.st_size, status.st_mtime_ns) == (file.size, file.time):
                continue
            if status.st_size == file.size and file.crc is not None and _crc(file.descriptor) == file.crc:
                file.time = status.st_mtime_ns
                continue
            raise FormatError(
                f"{file.path} was changed while it was in use ({status.st_size} bytes, {file.size} before): {_REMEDY}, "
                "and go on from the last state"
            )

    def __del__(self) -> None:
        for file in self._watched:
            os.close(file.descriptor)


_REMEDY = "restore it from a copy, or make it again with the command that wrote it"


def _copy(descriptor: int, size: int) -> bytes:
    """Up to `size` bytes from the start of a file."""
    content = bytearray()
    while len(content) < size and (piece := os.pread(descriptor, size - len(content), len(content))):
        content += piece
    return bytes(content)


def _crc(descriptor: int) -> int:
    """CRC-32C of a whole file, read in pieces and never through the mapping."""
    crc, offset = 0, 0
    while piece := os.pread(descriptor, _PIECE, offset):
        crc = google_crc32c.extend(crc, piece)
        offset += len(piece)
    return crc
