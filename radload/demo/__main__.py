"""`python -m radload.demo --out demo`: the whole path from DICOM files to a trained network, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from radload.demo.ledger import NAME, Ledger
from radload.demo.run import Options, run
from radload.errors import RadloadError


def main(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of the phantoms and of the training.")] = 0,
    remove: Annotated[bool, typer.Option("--remove", help="Only delete what an earlier demo made in --out.")] = False,
) -> None:
    """Make DICOM files, pack them, look at them, train on them, and write report.html."""
    console = Console()
    try:
        if not remove:
            run(Options(out, seed), console)
        elif (out / NAME).is_file():
            for name in Ledger(out).remove():
                console.print(Text(f"{name} was not made by the demo and stays"))
    except RadloadError as error:
        typer.echo(f"radload: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
