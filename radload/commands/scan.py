"""`radload scan`: see `radload.pack.scan_command`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def scan(
    src: Annotated[
        Path, typer.Option(help="Folder with DICOM, NIfTI, PNG or JPEG files, at any depth.", show_default=False)
    ],
    private: Annotated[
        Path, typer.Option(help="Folder for the catalog: the private folder of the shards to be packed.")
    ] = Path("shards.private"),
    axis: Annotated[str, typer.Option(help="Along which NIfTI volumes are cut: last, 0, 1 or 2.")] = "last",
    workers: Annotated[
        int | None, typer.Option(help="Processes; 0: none but this one. [default: all cores]", show_default=False)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which a header that is still being read is given up.")
    ] = 120.0,
    memory: Annotated[
        float, typer.Option(help="GiB that a process may take; a file that needs more is rejected.")
    ] = 2.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but failures.")] = False,
) -> None:
    """Write the catalog of a folder, one row per file, for queries and for pack. Run again to go on after a stop, or to update it."""
    from rich.console import Console

    from radload.pack.scan_command import ScanOptions, print_scan, scan_folder

    try:
        options = ScanOptions(src, private, axis, workers, timeout, memory)
        summary = scan_folder(options, None if quiet else Console(stderr=True))
    except KeyboardInterrupt:
        typer.echo("radload: stopped; run the same command again to go on", err=True)
        raise typer.Exit(130) from None
    if not quiet:
        print_scan(summary, Console())
