"""The frames of one file as a shard job planned them: each once, decoded or refused. One bad file never stops a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from radload.pack.codes import DECODER_CRASHED, INTERNAL_ERROR, MISSING_FRAME, OUT_OF_MEMORY, TIMEOUT, UNREADABLE
from radload.pack.plan import ShardJob
from radload.sources import Header, NotAnImage, Refused, Slice, read

_COST_A_WORKER: Final = {
    DECODER_CRASHED: "a worker process ended while it read this file, twice",
    TIMEOUT: "no frame of this file came out within the time allowed",
}


def planned_frames(job: ShardJob, row: int, header: Header) -> Iterator[tuple[int, Slice | Refused]]:
    """Yield each frame that `header` announces: its slice, or why there is none; those that never come at the end.

    Args:
        row: the file's catalog row; one in `job.skip` has cost a worker and is not read again.
    """
    missing = dict.fromkeys(range(header.frames))
    reason = Refused(MISSING_FRAME, "the header announces more frames than the file yields")
    if row in job.skip:
        reason = Refused(job.skip[row], _COST_A_WORKER[job.skip[row]])
    else:
        try:
            for item in read(Path(header.source), header, job.root, job.axis):
                frame, outcome = (item.frame, item) if isinstance(item, Slice) else item
                if frame in missing:  # what a header does not announce has no key
                    del missing[frame]
                    yield frame, outcome
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
