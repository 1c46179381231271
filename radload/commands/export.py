"""`radload export`: see `radload.export` and docs/versions.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    shards: Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)],
    to: Annotated[Path, typer.Option(help="Folder of the new data set; must not exist yet.", show_default=False)],
    where: Annotated[
        str | None,
        typer.Option(
            help="Export what this is true for: \"modality = 'CT' and split = 'train'\" (columns of the index).",
            show_default=False,
        ),
    ] = None,
    new_pseudonyms: Annotated[
        bool, typer.Option("--new-pseudonyms", help="Other pseudonyms, made with a key that nobody keeps.")
    ] = False,
    drop_geometry: Annotated[
        bool, typer.Option("--drop-geometry", help="Leave out where slices lie: positions, orientations, distances.")
    ] = False,
    version: Annotated[
        str | None, typer.Option(help="Of the data set, by number. [default: the current one]", show_default=False)
    ] = None,
    private: Annotated[
        Path | None,
        typer.Option(help="Private folder, where the export is noted. [default: SHARDS.private]", show_default=False),
    ] = None,
) -> None:
    """Write a part of a data set as a new one that may go to a partner: new keys, no private folder."""
    from radload.export import ExportOptions
    from radload.export import export as run

    done = run(ExportOptions(shards, to, where, new_pseudonyms, drop_geometry, version, private))
    typer.echo(
        f"{done.samples:,} samples, {done.series:,} series, {done.patients:,} patients in {done.shards:,} shards: {to}"
    )
    if not done.noted:
        typer.echo("note: there is no private folder here, so nobody is told of this export when a patient withdraws")
    if not new_pseudonyms:
        typer.echo("note: pseudonyms are those of the data set; --new-pseudonyms makes others")
