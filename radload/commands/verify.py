"""`radload verify`: see `radload.verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radload.commands.pack import INTERRUPTED


def verify(
    shards: Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)],
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at structure and sizes alone: reads tar headers and the index.")
    ] = False,
    levels: Annotated[
        bool,
        typer.Option("--levels", help="Decode all resolution levels of every sample, not of one per shape and shard."),
    ] = False,
    version: Annotated[
        str | None,
        typer.Option(
            help="Version to look at (`radload versions`), or all. [default: the current one]", show_default=False
        ),
    ] = None,
    repair: Annotated[
        str | None,
        typer.Option(
            help="drop: make a version without bad samples. repack: write damaged shards anew from --src; needs the private folder.",
            show_default=False,
        ),
    ] = None,
    src: Annotated[
        Path | None, typer.Option(help="For repack: the folder that was packed.", show_default=False)
    ] = None,
    private: Annotated[
        Path | None,
        typer.Option(help="For repack: private folder of the shards. [default: SHARDS.private]", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="For repack: the file that pack had by --labels.", show_default=False)
    ] = None,
    splits: Annotated[
        Path | None, typer.Option(help="For repack: the file that pack had by --splits.", show_default=False)
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option(help="For repack: the file that pack had by --decisions.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; 0: none but this one. [default: all cores]", show_default=False)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="For repack: seconds after which a file that yields nothing more is given up.")
    ] = 120.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but problems.")] = False,
) -> None:
    """Check every byte of a data set against its index. Exit code 0: it is whole, 1: it is not, 2: nothing could be checked."""
    from radload.verify.command import run

    given = {"--labels": labels, "--splits": splits, "--decisions": decisions}
    files = {name: path for name, path in given.items() if path is not None}
    try:
        whole = run(
            shards,
            quick=quick,
            levels=levels,
            version=version,
            repair=repair,
            workers=workers,
            source=src,
            private=private,
            files=files,
            timeout=timeout,
            quiet=quiet,
        )
    except KeyboardInterrupt:
        typer.echo("radload: stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not whole:
        raise typer.Exit(1)
