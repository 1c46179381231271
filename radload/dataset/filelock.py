"""Locks on bytes of a file that end with their holder, however it ends: open file description locks (fcntl(2)).

They belong to a descriptor, so closing another one of the same file does not drop them, as POSIX locks would be. Threads that
share a descriptor share its locks.
"""

from __future__ import annotations

import errno
import fcntl
import struct
import time

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence (0: from the start), start, length, pid (must be 0)
_PAUSE = 0.0002  # seconds between tries


def acquire(descriptor: int, start: int, *, shared: bool = False, patience: float = 0.0) -> bool:
    """Lock byte `start` of a file, for `patience` seconds at most; True where that succeeded.

    Raises:
        OSError: the file system has no such locks.
    """
    limit = time.monotonic() + patience
    request = struct.pack(_FLOCK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, 0, start, 1, 0)
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            if time.monotonic() >= limit:
                return False
            time.sleep(_PAUSE)
        else:
            return True


def release(descriptor: int, start: int) -> None:
    """Give byte `start` up again."""
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_UNLCK, 0, start, 1, 0))
