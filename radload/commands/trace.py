"""`radload trace`: see `radload.pack.trace`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def trace(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ROW|KEY]...",
            help="Keys (12 digits), rows of the index (fewer digits), or reject:N, rows of rejects.parquet.",
            show_default=False,
        ),
    ] = None,
    shards: Annotated[Path, typer.Option(help="Folder that `radload pack --out` wrote.")] = Path("shards"),
    private: Annotated[
        Path | None, typer.Option(help="Private folder of the shards. [default: SHARDS.private]", show_default=False)
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File with a key or row per line, or a CSV file with a column key.", show_default=False),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="Pattern of paths below the source, such as '*/CT/*': samples and rejects.", show_default=False
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write a CSV file (mode 0600) instead of printing.", show_default=False)
    ] = None,
) -> None:
    """Say which file and whose image a sample is, and why a file was not packed. Needs the private folder; what it prints is private."""
    from radload.errors import UsageError
    from radload.pack.trace import read_keys, write_csv
    from radload.pack.trace import trace as run

    asked = [*(targets or []), *(read_keys(keys) if keys is not None else [])]
    if not asked and source is None:
        raise UsageError("say what to trace: keys or rows, --keys FILE, or --source PATTERN")
    found = run(shards, asked, private, source)
    if csv is not None:
        write_csv(csv, found, shards)
        return
    for number, one in enumerate(found):
        lines = [f"{name + ':':11}{value}" for name in one.__slots__ if (value := getattr(one, name)) is not None]
        typer.echo("\n".join(["", *lines] if number else lines))
