"""`radload audit`: see `radload.audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def audit(
    shards: Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)],
    other: Annotated[
        Path | None,
        typer.Argument(help="A second data set: what do the two share? (pretraining and test set)", show_default=False),
    ] = None,
    private: Annotated[
        list[Path] | None,
        typer.Option(help="Private folder, once per data set. [default: SHARDS.private, if there]", show_default=False),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write all findings to this file, for machines.", show_default=False)
    ] = None,
) -> None:
    """Prove that nothing leaks between splits, or between two data sets. Exit code 0: the proof holds, 1: it fails, 2: no audit."""
    from radload.audit.command import run

    if not run(shards, other, private or [], json):
        raise typer.Exit(1)
