"""`radload inspect`: see `radload.inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    shards: Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Where the contact sheet goes, a .png file.")] = Path("contact.png"),
    labels: Annotated[str | None, typer.Option(help="Label set to show.", show_default=False)] = None,
) -> None:
    """Print the tables of a data set and write a contact sheet of its images."""
    from radload.inspect.command import inspect as run

    run(shards, out, labels)
