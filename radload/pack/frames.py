"""The frames of one file as a shard job planned them: each once, decoded or refused. One bad file never stops a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from radload.pack.codes import (
    CHANGED_FILE,
    DECODER_CRASHED,
    INTERNAL_ERROR,
    MISSING_FRAME,
    OUT_OF_MEMORY,
    TIMEOUT,
    UNREADABLE,
)
from radload.pack.plan import ShardJob
from radload.sources import Header, NotAnImage, Refused, Slice, read
from radload.sources.dicom_codestreams import Ahead

_COST_A_WORKER: Final = {
    DECODER_CRASHED: "a worker process ended while it read this file, twice",
    TIMEOUT: "no frame of this file came out within the time allowed",
}


def planned_frames(
    job: ShardJob, row: int, header: Header, chosen: Iterable[int] | None = None, ahead: Ahead | None = None
) -> Iterator[tuple[int, Slice | Refused]]:
    """Yield each frame that `header` announces: its slice, or why there is none; those that never come at the end.

    Args:
        row: the file's catalog row; one in `job.skip` has cost a worker and is not read again.
        chosen: the frames to yield, None for all; what lies behind the last of them is not decoded.
        ahead: see `sources.read`.
    """
    missing = dict.fromkeys(range(header.frames) if chosen is None else chosen)
    reason = Refused(MISSING_FRAME, "the header announces more frames than the file yields")
    if row in job.skip:
        reason = Refused(job.skip[row], _COST_A_WORKER[job.skip[row]])
    else:
        try:
            _check_seen(job, header)
            for item in read(Path(header.source), header, job.root, job.axis, ahead):
                _check_seen(job, header)  # also behind the read: it may have been written meanwhile
                frame, outcome = (item.frame, item) if isinstance(item, Slice) else item
                if frame in missing:  # what a header does not announce, or nobody chose, has no key
                    del missing[frame]
                    yield frame, outcome
                    if not missing:
                        break
        except Refused as refused:
            reason = refused
        except NotAnImage:
            reason = Refused("bad-header", "the file is no longer the image that it was when it was scanned")
        except MemoryError:
            reason = Refused(OUT_OF_MEMORY, "reading the file takes more memory than a worker may have")
        except OSError as error:
            reason = Refused(UNREADABLE, error.strerror or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - one file never stops a run; only the type is kept, the text may hold a path
            reason = Refused(INTERNAL_ERROR, type(error).__name__)
    for frame in missing:
        yield frame, reason


def _check_seen(job: ShardJob, header: Header) -> None:
    """Refuse a file that was written after the walk: it may show another patient than the header that was scanned."""
    for source in (header.source, *header.parts):
        if source in job.seen:
            status = os.stat(f"{job.root}/{source}")  # noqa: PTH116 - Path objects cost more than the call
            if (status.st_size, status.st_mtime_ns) != job.seen[source]:
                raise Refused(CHANGED_FILE, "the file was changed after it had been scanned")
