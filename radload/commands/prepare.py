"""`radload prepare`: see `radload.inference`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def prepare(
    files: Annotated[
        list[Path], typer.Argument(help="DICOM, NIfTI, PNG or JPEG files, or a folder.", show_default=False)
    ],
    recipe: Annotated[
        Path, typer.Option(help="Folder of a run, its backbone.json, or a checkpoint.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="x.npy: all frames (frames, channels, height, width); x.png: one, to look at.", show_default=False
        ),
    ],
    statistics: Annotated[
        str | None,
        typer.Option(
            help="Of the series: p005=3,p995=870; or given: those of the files given. [default: of the files, checked]",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[int, typer.Option(help="Which frame a PNG shows.")] = 0,
    decisions: Annotated[
        Path | None, typer.Option(help="The decisions.toml of the pack, where it had one.", show_default=False)
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Kind of file that a pack leaves out (docs/rejects.md).", show_default=False),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which a file that yields nothing more is given up.")
    ] = 120.0,
) -> None:
    """Make from files, without shards, the pixels that a network was trained on."""
    from radload.inference.write import read_statistics, write

    write(out, list(files), recipe, frame, read_statistics(statistics), include or (), decisions, timeout)
    typer.echo(f"wrote {out}")
