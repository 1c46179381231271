"""`radload versions`, `radload forget`, `radload compact`: see `radload.versions` and docs/versions.md."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_Shards = Annotated[Path, typer.Argument(help="Folder that `radload pack --out` wrote.", show_default=False)]
_Private = Annotated[
    Path | None, typer.Option(help="Private folder of the shards. [default: SHARDS.private]", show_default=False)
]


def versions(shards: _Shards) -> None:
    """List the versions of a data set."""
    from rich.console import Console

    from radload.versions.listing import print_versions

    print_versions(shards, Console())


def forget(
    shards: _Shards,
    patient_file: Annotated[
        Path,
        typer.Option(help="Text file, one patient a line: number as in the source, or pseudonym.", show_default=False),
    ],
    private: _Private = None,
) -> None:
    """Leave patients who withdrew out of the next version, and of every later pack; versions that hold them are no longer opened."""
    from radload.versions import forget as run

    done = run(shards, patient_file, private)
    typer.echo(
        f"{done.samples:,} samples are left out; {done.patients:,} patients are on the list; the current version is {done.version}"
    )
    if done.held:
        held = ", ".join(map(str, done.held))
        typer.echo(f"versions that hold or held them, and are not opened: {held}; runs that use one must be stopped")
        typer.echo(
            "their bytes are still in the shards: `radload compact` removes them; copies of the shards elsewhere are yours to find"
        )
    if done.exports:
        typer.echo(f"their images were exported to: {', '.join(done.exports)}")
    if done.copies:
        typer.echo(
            f"note: {done.copies:,} samples of other patients have the same pixels as one of theirs: one person under two numbers?"
        )


def compact(
    shards: _Shards,
    private: _Private = None,
    cache: Annotated[
        list[Path] | None,
        typer.Option(help="Folder that was given to Loader(cache=); may be repeated.", show_default=False),
    ] = None,
) -> None:
    """Remove the bytes of patients who withdrew from shards, index, labels, the private folder and caches."""
    from radload.versions import compact as run

    done = run(shards, private, tuple(cache or ()))
    if not done.removed:
        left = f"{done.caches:,} caches are gone" if done.caches else "nothing is left to remove"
        typer.echo(f"{left}; the current version is {done.version}")
        return
    removed = ", ".join(map(str, done.removed))
    typer.echo(
        f"{done.samples:,} samples are gone, {done.shards:,} shards were written anew; the current version is {done.version}, "
        f"versions {removed} are gone" + (f", and {done.caches:,} caches" if done.caches else "")
    )
