"""`pack`, the command: on this machine, or on the workers of a Dask scheduler."""

from __future__ import annotations

from rich.console import Console

from radload.pack.flow import pack_by
from radload.pack.options import PackOptions
from radload.pack.summary import PackSummary


def pack(options: PackOptions, console: Console | None = None) -> PackSummary:
    """Pack a folder of images into shards (docs/format.md). Progress goes to `console` where that is a terminal.

    What is stopped, by Ctrl-C or by a failure, goes on where it was when the same call is made again; the same shards come out.
    A data set that is finished is left alone; `append` adds to one.

    Raises:
        UsageError: an option, folder or table that cannot be used; nothing has been written then.
        RadloadError: packing had to stop.
        Stopped: on Ctrl-C.
    """
    if options.scheduler is None:
        return pack_by(options, console, None)
    from radload.pack.cluster import reach, write_shards_on_cluster  # Dask, where it is asked for

    return pack_by(options, console, write_shards_on_cluster, reach)
