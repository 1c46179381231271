"""`radload cohort`: see `radload.cohort`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def cohort(
    shards: Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder for the page.")] = Path("cohort"),
    labels: Annotated[str | None, typer.Option(help="Label set to count.", show_default=False)] = None,
    private: Annotated[
        Path | None,
        typer.Option(help="Private folder: reasons for exclusion. [default: SHARDS.private]", show_default=False),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Show counts of fewer than 5 patients too.")] = False,
) -> None:
    """Write a cohort page: flow from files to patients, Table 1, classes by scanner; Markdown, CSV and PNG."""
    import radload
    from radload.cohort import describe, write_page

    with radload.open(shards, labels) as dataset:
        found = describe(dataset, private, exact)
    for path in write_page(found, out):
        typer.echo(path)
    for warning in (*found.notes, *found.scanners.warnings):
        typer.echo(f"warning: {warning}")
