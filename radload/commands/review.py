"""`radload review`: see `radload.review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def review(
    shards: Annotated[
        Path, typer.Argument(help="What `radload pack --out` had; it need not exist.", show_default=False)
    ],
    src: Annotated[Path, typer.Option(help="What `radload pack --src` had.", show_default=False)],
    private: Annotated[
        Path | None, typer.Option(help="Private folder of the shards. [default: SHARDS.private]", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; 0: none but this one. [default: all cores]", show_default=False)
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which a file that yields nothing more is given up.")
    ] = 120.0,
) -> None:
    """Show the files that may hold burned-in text, group by group, and write decisions.toml to fill in."""
    from rich.console import Console
    from rich.text import Text

    from radload.review import review as run
    from radload.review.tables import print_groups

    reviewed = run(shards, src, private, workers, timeout)
    console = Console()
    print_groups(reviewed.sections, console)
    console.print(Text(f"pictures: {reviewed.folder / 'index.html'}", overflow="fold"))
    console.print(Text(f"decide:   {reviewed.folder / 'decisions.toml'}", overflow="fold"))
